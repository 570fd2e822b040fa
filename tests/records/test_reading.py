"""What reading a table says: roles, questions, what is missing, what is stated in flags and mapping files."""

from __future__ import annotations

import gzip
import io
import json
import shlex
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

import finescale as fs
from finescale import cli
from finescale.errors import FinescaleError, UsageError
from finescale.records.options import ReadingOptions, read_mapping
from finescale.records.records import read_records

GRID = [
    {
        "method": method,
        "finetune_examples": data,
        "seed": seed,
        "test_loss": round(base + data**-0.2 + seed / 1000, 4),
    }
    for method, base in (("full", 1.0), ("lora", 1.1))
    for data in (100, 400, 1600, 6400)
    for seed in range(2)
]
CLEAN = pl.DataFrame(GRID)


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})
    if isinstance(result.exception, FinescaleError):
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def crossed(**values: list[Any]) -> pl.DataFrame:
    """The grid, once for each value of another column; the loss is a little higher for each next one."""
    ((name, found),) = values.items()
    parts = [
        CLEAN.with_columns(pl.lit(value).alias(name), test_loss=pl.col("test_loss") + 0.01 * at)
        for at, value in enumerate(found)
    ]
    return pl.concat(parts)


def test_a_column_of_unknown_role_is_named_and_there_is_no_advice() -> None:
    frame = crossed(prompt_style=["plain", "chat"])
    records = read_records(frame)
    assert records.reading.roles["prompt_style"] == "unknown"
    assert any("`prompt_style` (plain, chat)" in note for note in records.notes)
    advice = fs.recommend(records, examples=6400, bootstrap=50)
    assert advice.sentence.startswith("No advice: what is the column `prompt_style`?")
    assert "--role 'prompt_style=hyperparameter'" in advice.sentence


@pytest.mark.parametrize(
    ("role", "rows", "tasks"),
    [("hyperparameter", 16, 0), ("setting", 32, 2), ("repeat", 32, 0), ("label", 32, 0)],
)
def test_a_role_that_is_stated_answers_the_question(role: str, rows: int, tasks: int) -> None:
    records = read_records(crossed(prompt_style=["plain", "chat"]), roles={"Prompt Style": role})
    assert len(records) == rows
    assert not records.reading.doubts
    if tasks:
        assert records.frame["task"].unique().sort().to_list() == ["prompt_style chat", "prompt_style plain"]


def test_columns_that_do_not_vary_inside_settings_ask_nothing() -> None:
    more = CLEAN.with_columns(
        host=pl.Series([f"n{at % 3}" for at in range(16)]),
        dataset_version=pl.lit("v2"),
        flavour=pl.col("method") + "-x",
        shuffle=pl.col("seed") * 7,
        speed=pl.Series([1.0 + at / 7 for at in range(16)]),
    )
    records = read_records(more)
    assert not records.reading.doubts
    assert records.reading.roles["speed"] == "outcome"
    assert {records.reading.roles[name] for name in ("host", "dataset_version", "flavour", "shuffle")} == {
        "label"
    }


def test_sweeps_can_be_averaged_or_refused() -> None:
    frame = crossed(batch_size=[16, 64])
    assert read_records(frame).frame["batch_size"].unique().to_list() == [16.0]
    every = read_records(frame, sweep="all")
    assert (len(every), len(every.reading.doubts)) == (32, 1)
    with pytest.raises(UsageError, match=r"differ in batch_size(.|\n)*--sweep best"):
        read_records(frame, sweep="refuse")
    assert len(read_records(CLEAN, sweep="refuse")) == 16


def test_the_dev_loss_chooses_the_candidate_where_there_is_one() -> None:
    frame = crossed(lr=[1e-4, 1e-3]).with_columns(dev_loss=3 - pl.col("test_loss"))
    records = read_records(frame)
    assert records.frame["learning_rate"].unique().to_list() == [1e-3]
    assert any("by dev_loss;" in note for note in records.notes)


def test_a_method_with_more_candidates_is_said_to_be_flattered() -> None:
    many = crossed(learning_rate=[1e-5, 1e-4, 1e-3]).filter(
        (pl.col("method") == "lora") | (pl.col("learning_rate") == 1e-4)
    )
    assert any("lora had 3 candidates" in note and "full 1" in note for note in read_records(many).notes)


def test_hyperparameters_that_differ_between_methods_are_said_but_not_learning_rates() -> None:
    frame = CLEAN.with_columns(
        epochs=pl.when(pl.col("method") == "full").then(3).otherwise(10),
        learning_rate=pl.when(pl.col("method") == "full").then(1e-5).otherwise(1e-4),
        lora_alpha=pl.when(pl.col("method") == "lora").then(16.0),
    )
    notes = [note for note in read_records(frame).notes if "differs between methods" in note]
    assert len(notes) == 1
    assert "full 3, lora 10" in notes[0]


def test_a_hyperparameter_that_follows_the_data_size_is_said() -> None:
    frame = CLEAN.with_columns(epochs=pl.when(pl.col("finetune_examples") < 1000).then(10).otherwise(3))
    (note,) = [note for note in read_records(frame).notes if "follows the data size" in note]
    assert "10 at 100 to 400; 3 at 1,600 to 6,400" in note
    mixed = CLEAN.with_columns(epochs=pl.when(pl.col("seed") == 0).then(10).otherwise(3))
    assert not any("follows" in note for note in read_records(mixed, sweep="all").notes)


def test_all_that_is_missing_is_told_with_a_command_that_works(tmp_path: Path) -> None:
    path = tmp_path / "my runs.csv"
    CLEAN.rename({"finetune_examples": "examples of ours", "test_loss": "final loss"}).write_csv(path)
    code, message = run("advise", path)
    assert code == 2
    assert "2 columns are missing" in message
    line = next(part for part in message.splitlines() if "remedy" in part).partition("names: ")[2]
    command = line.partition(", or ")[0]
    code, out = run(*shlex.split(command)[1:], "--bootstrap", 20)
    assert code == 0, out


@pytest.mark.parametrize(
    ("column", "flag"), [("eval_perplexity", "--loss eval_perplexity"), ("Accuracy", "--score Accuracy")]
)
def test_a_table_without_a_loss_is_told_what_else_it_has(column: str, flag: str, tmp_path: Path) -> None:
    CLEAN.rename({"test_loss": column}).write_csv(tmp_path / "runs.csv")
    code, message = run("advise", tmp_path / "runs.csv")
    assert code == 2
    assert f"{shlex.quote(str(tmp_path / 'runs.csv'))} {flag}" in message


def test_every_unreadable_setting_is_told_at_once(tmp_path: Path) -> None:
    rows = [f"{cell},1.5" for cell in ["1k", "2k", *[f"x{at}" for at in range(25)]]]
    (tmp_path / "t.csv").write_text("\n".join(["finetune_examples,test_loss", *rows]))
    with pytest.raises(UsageError) as error:
        read_records(tmp_path / "t.csv")
    message = str(error.value)
    assert "25 values that cannot be right" in message
    assert "row 4, column finetune_examples: 'x0'" in message
    assert "row 23" in message
    assert "row 24" not in message
    assert "and 5 more" in message


def test_bad_cells_in_rows_that_do_not_count_stop_nothing(tmp_path: Path) -> None:
    text = "finetune_examples,test_loss,status\n100,1.5,done\n?x,nope,failed\n200,1.4,done\n"
    (tmp_path / "t.csv").write_text(text)
    assert len(read_records(tmp_path / "t.csv")) == 2
    assert len(read_records(tmp_path / "t.csv", where="status == 'done'")) == 2


def test_where_keeps_rows_and_counts_the_others() -> None:
    records = read_records(CLEAN, where="finetune_examples >= 400 and method == 'lora'")
    assert (len(records), records.left_out) == (
        6, {"`finetune_examples >= 400 and method == 'lora'` not true (--where)": 10}
    )  # fmt: skip
    with pytest.raises(UsageError, match="did you mean `method`"):
        read_records(CLEAN, where="metod == 'lora'")


def test_constants_and_values_are_stated() -> None:
    frame = CLEAN.drop("method").with_columns(kind=pl.Series(["A", "b"] * 8)).rename({"kind": "Method"})
    records = read_records(
        frame, values={"method": {"a": "full", "B": "lora"}}, constants={"model_params": "7B"}
    )
    assert sorted(records.frame["method"].unique()) == ["full", "lora"]
    assert records.frame["model_params"].unique().to_list() == [7e9]
    with pytest.raises(UsageError, match=r"no such value(.|\n)*'A'"):
        read_records(frame, values={"method": {"z": "full"}})


FILE = """
loss = "eval/loss"
where = "State == 'finished'"
[columns]
finetune_examples = "N"
[map.method]
"Ours" = "lora"
"""


def test_a_mapping_file_beside_the_source_is_read_and_flags_go_before_it(tmp_path: Path) -> None:
    frame = CLEAN.rename({"finetune_examples": "N", "test_loss": "eval/loss"}).with_columns(
        method=pl.col("method").replace({"lora": "Ours"}),
        State=pl.Series(["finished"] * 15 + ["crashed"]),
        other=pl.col("eval/loss") + 1,
    )
    frame.write_csv(tmp_path / "runs.csv")
    (tmp_path / "finescale.toml").write_text(FILE)
    records = read_records(tmp_path / "runs.csv")
    assert (len(records), records.loss) == (15, "eval/loss")
    assert sorted(records.frame["method"].unique()) == ["full", "lora"]
    assert any("finescale.toml" in note for note in records.notes)
    assert read_records(tmp_path / "runs.csv", loss="other", unit="nats").loss == "other"
    code, out = run(
        "fit", tmp_path / "runs.csv", "--bootstrap", 10, "--factor", "finetune_examples", "--law", "power"
    )
    assert code == 0
    assert "finescale.toml" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lss = 'x'", "`lss` says nothing here"), ("[columns]\nx = [1]", "`columns.x`"),
        ("a = ", "not a mapping file"),
        ("sweep = 'worst'", "--sweep worst"), ("bounds = [1, 'a']", "`bounds`"), ("columns = 3", "no table"),
    ],
)  # fmt: skip
def test_a_mapping_file_that_cannot_be_right_is_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_mapping(tmp_path / "m.toml")
    with pytest.raises(UsageError, match="no mapping file"):
        read_records(CLEAN, mapping=tmp_path / "none.toml")


def test_options_make_the_command_line_that_they_came_from() -> None:
    line = [
        "--column", "finetune_examples=# N", "--role", "a=b=label", "--set", "task=t",
        "--map", "method:A=B=lora",
        "--score", "acc", "--better", "higher", "--bounds", "0,100", "--where", "a > 1", "--sweep", "all",
    ]  # fmt: skip
    found: list[ReadingOptions] = []
    app = cli.commands.typer.Typer()

    @app.command()
    @cli.reading.reads_tables
    def command(reading: ReadingOptions) -> None:
        found.append(reading)

    assert CliRunner().invoke(app, line).exit_code == 0
    assert sorted(found[0].flags()) == sorted(line)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--loss", "a", "--score", "b"], "both --loss and --score"),
        (["--map", "x=y"], "COLUMN:THEIRS=OURS"),
        (["--bounds", "1"], "LOW,HIGH"), (["--bounds", "3,2"], "LOW below HIGH"),
        (["--step", "first"], "last or best"),
        (["--decimal", "x=dot"], "point or comma"), (["--role", "method"], "COLUMN=ROLE"),
    ],
)  # fmt: skip
def test_reading_options_that_make_no_sense_are_refused(flags: list[str], words: str, tmp_path: Path) -> None:
    CLEAN.write_csv(tmp_path / "runs.csv")
    code, message = run("fit", tmp_path / "runs.csv", *flags)
    assert code == 2
    assert words in message


def test_what_a_file_is_is_told_by_its_content(tmp_path: Path) -> None:
    table = CLEAN.to_pandas()
    csv_text = table.to_csv(index=False)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("runs.csv", csv_text)
    nested = [
        {"config": {"method": row["method"], "seed": row["seed"]},
         "finetune_examples": row["finetune_examples"],
         "summary": {"test_loss": row["test_loss"]}}
        for row in GRID
    ]  # fmt: skip
    contents: dict[str, bytes] = {
        "bars": table.to_csv(index=False, sep="|").encode(), "utf16": csv_text.encode("utf-16"),
        "gzip": gzip.compress(csv_text.encode()), "zip": zipped.getvalue(),
        "columns": table.to_json().encode(),
        "records": table.to_json(orient="records").encode(), "split": table.to_json(orient="split").encode(),
        "lines": table.to_json(orient="records", lines=True).encode(), "nested": json.dumps(nested).encode(),
        "parquet": (CLEAN.write_parquet(tmp_path / "p"), (tmp_path / "p").read_bytes())[1],
    }  # fmt: skip
    for name, data in contents.items():
        (tmp_path / "runs.dat").write_bytes(data)
        read = read_records(tmp_path / "runs.dat").frame.select(CLEAN.columns)
        assert read.rows() == read_records(CLEAN).frame.rows(), name


def test_fitted_laws_are_no_table_but_for_predict(tmp_path: Path) -> None:
    CLEAN.write_csv(tmp_path / "runs.csv")
    law = ("--factor", "finetune_examples", "--law", "power", "--bootstrap", 10)
    assert run("fit", tmp_path / "runs.csv", *law, "--json", tmp_path / "fits")[0] == 0
    assert run("predict", tmp_path / "fits", "--at", "finetune_examples=50k")[0] == 0
    code, message = run("fit", tmp_path / "fits")
    assert code == 2
    assert "finescale predict takes it" in message


def test_pandas_frames_keep_their_named_index_and_repeated_columns_are_refused() -> None:
    frame = CLEAN.to_pandas()
    grouped = frame.groupby(["method", "finetune_examples"])[["test_loss"]].mean()
    assert read_records(grouped).frame.columns == ["method", "finetune_examples", "test_loss"]
    twice = pd.concat([frame, frame[["test_loss"]]], axis=1)
    with pytest.raises(UsageError, match="two columns are called `test_loss`"):
        read_records(twice)


def test_reading_is_shown_in_a_terminal_and_in_a_notebook() -> None:
    reading = read_records(crossed(lr=[1e-4, 1e-3])).reading
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(reading)
    for shown in (console.export_text(), reading._repr_html_()):
        for word in (
            "learning_rate",
            "lr",
            "hyperparameter",
            "another candidate of their sweep",
            "optimistic",
        ):
            assert word in shown


def test_what_reading_noticed_reaches_every_command_and_the_page(tmp_path: Path) -> None:
    rows = pl.concat([CLEAN.with_columns(model_params=pl.lit(size)) for size in (1e8, 4e8, 1.6e9)])
    frame = rows.with_columns(
        test_loss=pl.col("test_loss") + 30 * pl.col("model_params") ** -0.25,
        State=pl.Series(["finished"] * 47 + ["crashed"]),
    )
    frame.write_csv(tmp_path / "runs.csv")
    target = "model_params=1.6B,finetune_examples=50k"
    for command in (
        ("fit", "--bootstrap", 5), ("compare",), ("predict", "--at", target, "--bootstrap", 5),
        ("advise", "--bootstrap", 5),
        ("plan", "--method", "lora", "--target", target, "--budget", "1e20", "--tokens-per-example", 100),
        ("report", "--bootstrap", 5, "--out", tmp_path / "page"),
    ):  # fmt: skip
        code, out = run(command[0], tmp_path / "runs.csv", *command[1:])
        assert code == 0, out
        if command[0] != "report":
            assert "Left out 1 rows with status crashed" in out, command
    assert "Left out 1 rows with status crashed" in (tmp_path / "page" / "index.html").read_text()


def test_a_score_is_never_read_as_a_loss() -> None:
    frame = CLEAN.with_columns(accuracy=1 / (1 + pl.col("test_loss"))).drop("test_loss")
    assert fs.fit(frame, "power", loss="accuracy")[0].outcome.better == "higher"
    options = fs.recommend(read_records(frame, loss="accuracy"), bootstrap=20).options
    assert options[0].loss == max(option.loss for option in options)


@pytest.mark.parametrize("name", ["test_loss", "loss", "eval_nll", "perplexity"])
def test_a_loss_that_is_asked_for_as_a_score_is_a_loss_and_that_is_said(name: str) -> None:
    frame = CLEAN.rename({"test_loss": name} if name != "test_loss" else {})
    as_score, as_loss = read_records(frame, score=name), read_records(frame, loss=name)
    assert as_score.outcome == as_loss.outcome
    assert as_score.frame[as_score.loss].to_list() == as_loss.frame[as_loss.loss].to_list()
    assert f"`{name}` is a loss, so it is read as --loss {name}." in as_score.notes
