"""Bad input to `report`, `advise` and `plan`: clear words, the right exit code, nothing half-written."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest
from made_up import DATA, runs

from finescale.cli import main

HOSTILE = (
    "<script>alert(1)</script>",
    "../../up",
    "[bold red]t[/]",
    "a,b\n'\"; DROP TABLE runs; --",
    "翻译",
    "摘要",
)
PLAN = ("--target", "model_params=1e10,finetune_examples=1e6", "--budget")


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs a command on a frame; gives its exit code, what it said on both streams, and the folder."""

    def asked(command: str, frame: pl.DataFrame, *flags: str) -> tuple[int, str, str]:
        table = tmp_path / "runs.parquet"
        frame.write_parquet(table)
        monkeypatch.setattr(sys, "argv", ["finescale", command, str(table), *flags])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, " ".join(out.split()), " ".join(err.split())

    return asked


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_one_method_is_answered_alone_and_said_to_have_no_crossovers(ask, tmp_path: Path) -> None:
    frame = runs(("lora",))
    code, out, _ = ask("advise", frame, "--crossovers", "--bootstrap", "20")
    assert code == 0
    assert "Only one candidate" in out
    assert "No crossovers: one method only." in out
    code, out, _ = ask("report", frame, "--bootstrap", "20")
    assert code == 0
    page = (tmp_path / "runs-report" / "index.html").read_text()
    assert "Crossovers need two methods or more." in page
    assert not [name for name in written(tmp_path) if "figure-5" in name or "table-5" in name]
    assert ask("plan", frame, *PLAN, "1e17")[0] == 0


def test_one_model_and_one_data_size_are_answered_by_what_was_observed_without_a_law(
    ask, tmp_path: Path
) -> None:
    frame = runs(sizes=(1e8,), data=(1000,))
    code, out, _ = ask("advise", frame)
    assert (code, "LoRA for 1,000 examples" in out) == (0, True)
    code, _, err = ask("fit", frame, "--law", "power")
    assert (code, "too few settings" in err, "wanted: at least" in err) == (1, True, True)
    assert ask("report", frame, "--bootstrap", "20")[0] == 0
    page = (tmp_path / "runs-report" / "index.html").read_text()
    assert "By the forecast: " in page
    assert "LoRA for 1,000 examples" in page
    assert "Figure 2 needs runs at two values of model size or more." in page


def test_one_model_with_several_data_sizes_has_curves_and_nothing_to_say_of_other_models(ask) -> None:
    frame = runs(sizes=(1e8,))
    assert ask("advise", frame, "--bootstrap", "20")[0] == 0
    code, _, err = ask("advise", frame, "--model-params", "7e9", "--bootstrap", "20")
    assert (code, "these records say nothing about a model of 7B parameters" in err) == (1, True)


def test_diverged_runs_alone_end_with_their_number_and_a_page_that_lists_them(ask, tmp_path: Path) -> None:
    lost = [pl.lit("diverged").alias("status"), pl.lit(None, dtype=pl.Float64).alias("test_loss")]
    frame = runs(error="the loss became nan at step 31").with_columns(lost)
    for command, flags, words in (
        ("advise", (), "no finished run of a tuned model: nothing can be advised"),
        ("plan", (*PLAN, "1e17"), "no finished run to plan from"),
        ("fit", (), "no finished run: nothing can be fitted"),
        ("compare", ("--backtest",), "no finished run: nothing can be fitted"),
        ("predict", ("--at", "model_params=1e9,finetune_examples=1e4"), "nothing to forecast from"),
        ("report", (), "no finished run of a tuned model: no law can be fitted"),
    ):
        code, _, err = ask(command, frame, *flags)
        assert (code, words in err) == (1, True), err
    assert f"{frame.height} rows" in err
    page = (tmp_path / "runs-report" / "index.html").read_text()
    assert page.count("the loss became nan at step 31") >= 1
    assert not [name for name in written(tmp_path) if ".part" in name]


def test_a_report_over_a_file_is_refused_before_any_work(ask, tmp_path: Path) -> None:
    frame = runs(("lora",), sizes=(1e8,), seeds=1)
    code, out, err = ask("report", frame, "--out", str(tmp_path / "runs.parquet"))
    assert (code, out) == (2, "")
    assert "wanted: a folder" in err
    assert pl.read_parquet(tmp_path / "runs.parquet").equals(frame)


def test_hostile_task_names_stay_names(ask, tmp_path: Path) -> None:
    parts = [
        runs(("full", "lora"), sizes=(1e8, 8e8), seeds=1).with_columns(pl.lit(t).alias("task"))
        for t in HOSTILE
    ]
    frame = pl.concat(parts)
    code, out, _ = ask("advise", frame, "--bootstrap", "20")
    assert code == 0
    assert all(" ".join(name.split()) in out for name in HOSTILE)
    code, _, err = ask("plan", frame, *PLAN, "1e17")
    assert (code, "which task?" in err, HOSTILE[0] in err) == (2, True, True)
    assert ask("report", frame, "--bootstrap", "0")[0] == 0
    names = written(tmp_path) - {"runs.parquet"}
    assert all(name.startswith("runs-report/") for name in names)
    assert sum("figure-1-" in name and name.endswith(".svg") for name in names) == len(HOSTILE)
    page = (tmp_path / "runs-report" / "index.html").read_text()
    assert "<script>alert(1)" not in page
    assert page.count("<script>") == 1


def test_targets_and_budgets_out_of_reach_name_what_would_be_in_reach(ask, tmp_path: Path) -> None:
    for command, flags, words in (
        (
            "advise",
            ("--target-loss", "0.2"),
            ("is out of reach: the floor of every law is above it", "floors: "),
        ),
        ("advise", ("--budget", "10"), ("the budget buys no run", "wanted: at least")),
        (
            "plan",
            (*PLAN, "10", "--method", "lora"),
            ("the budget is too small for any run", "the cheapest run"),
        ),
    ):
        code, out, err = ask(command, runs(seeds=1, data=(DATA[0], *DATA[-3:])), *flags)
        assert code == 1, err
        assert all(part in err for part in words), err
        assert out == ""
    assert written(tmp_path) == {"runs.parquet"}


def test_a_plan_that_fails_writes_no_study_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Path(__file__).parents[2] / "studies" / "nano.yaml"
    flags = [
        "--target",
        "model_params=3e6,finetune_examples=8192",
        "--budget",
        "10",
        "--tokens-per-example",
        "246",
    ]
    monkeypatch.setenv("FINESCALE_RESULTS", str(tmp_path / "none"))
    command = ["finescale", "plan", str(study), *flags, "--out", str(tmp_path / "next.yaml")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "the budget is too small for any run" in capsys.readouterr().err
    assert written(tmp_path) == set()
