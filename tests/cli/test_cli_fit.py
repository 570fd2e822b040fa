import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from finescale import cli
from finescale.errors import FinescaleError

runner = CliRunner()


def run(*arguments):
    """Runs the command line as ``main`` does: exit code, standard output, message."""
    result = runner.invoke(cli.app, [str(argument) for argument in arguments])
    error = result.exception
    if isinstance(error, FinescaleError):
        return error.exit_code, result.stdout, str(error)
    if error is not None and not isinstance(error, SystemExit):
        raise error
    return result.exit_code, result.stdout, result.output


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {
            "task": "t",
            "method": method,
            "model_params": x,
            "finetune_examples": d,
            "seed": seed,
            "test_loss": a * x**-0.2 * d**-b + 0.6 + rng.normal(0, 0.003),
        }
        for method, a, b in (("full", 90.0, 0.12), ("lora", 60.0, 0.08))
        for x in (1e8, 4e8, 1.6e9)
        for d in (100, 400, 1600, 6400, 25600)
        for seed in range(3)
    ]
    path = tmp_path / "runs.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def test_fit_shows_parameters_with_intervals(table):
    code, out, _ = run("fit", table, "--bootstrap", 40)
    assert code == 0
    for word in ("alpha", "beta", "90% intervals", "lora", "["):
        assert word in out


def test_fit_json_has_the_documented_fields_and_nothing_else_on_standard_output(table):
    code, out, _ = run("fit", table, "--bootstrap", 25, "--json", "-")
    assert code == 0
    data = json.loads(out)
    assert data["schema"] == 1
    first = data["fits"][0]
    documented = {
        "by",
        "factors",
        "law",
        "base",
        "parameters",
        "draws",
        "objective",
        "n_fitted",
        "n_held_out",
    }
    assert documented | {"delta_e", "delta_h", "status"} <= set(first)
    assert first["by"] == {"task": "t", "method": "full"}
    assert set(first["parameters"]["alpha"]) == {"value", "low", "high"}
    assert len(first["draws"]["alpha"]) == 25


def test_predict_answers_from_records_and_from_the_fits_alike(table, tmp_path):
    fits = tmp_path / "fits.json"
    assert run("fit", table, "--bootstrap", 25, "--json", fits)[0] == 0
    question = ("--at", "model_params=8e8,finetune_examples=1e4", "--json", "-")
    code, out, _ = run("predict", fits, *question)
    assert code == 0
    rows = json.loads(out)["predictions"]
    assert [row["by"]["method"] for row in rows] == ["full", "lora"]
    assert set(rows[0]) >= {"by", "law", "at", "value", "low", "high", "run_low", "run_high", "status"}
    assert rows[0]["run_low"] < rows[0]["low"] <= rows[0]["value"] <= rows[0]["high"] < rows[0]["run_high"]
    _, again, _ = run("predict", table, *question, "--bootstrap", 25, "--law", "multiplicative")
    assert json.loads(again)["predictions"][0]["value"] == rows[0]["value"]


def test_predict_without_a_law_is_a_forecast_with_its_members(table):
    question = ("--at", "model_params=8e8,finetune_examples=1e4", "--json", "-")
    code, out, _ = run("predict", table, *question)
    assert code == 0
    rows = json.loads(out)["predictions"]
    assert [row["by"]["method"] for row in rows] == ["full", "lora"]
    assert {row["law"] for row in rows} == {"forecast"}
    assert rows[0]["factors"] == ["model_params"]
    assert sum(member["weight"] for member in rows[0]["members"]) == pytest.approx(1)
    assert rows[0]["run_low"] < rows[0]["low"] < rows[0]["value"] < rows[0]["high"] < rows[0]["run_high"]
    assert run("predict", table, "--at", "finetune_examples=1e4", "--factor", "model_params")[0] == 2


def test_compare_and_backtest_end_in_tables(table):
    code, out, _ = run("compare", table, "--laws", "multiplicative,additive,power")
    assert code == 0
    assert "held out off by" in out
    code, out, _ = run("compare", table, "--backtest", "--laws", "multiplicative,power", "--json", "-")
    assert code == 0
    data = json.loads(out)
    assert {row["law"] for row in data["scores"]} == {"multiplicative", "power", "loglinear"}
    assert data["best"]["t"] == "multiplicative"


def test_law_auto_says_why(table):
    code, out, _ = run("fit", table, "--law", "auto", "--bootstrap", 10)
    assert code == 0
    assert "predicts hidden sizes of t best" in out or "no law beats the log-linear baseline" in out


def test_held_out_rule_base_and_columns_are_passed_on(table, tmp_path):
    frame = pl.read_csv(table).rename({"finetune_examples": "samples", "test_loss": "loss"})
    frame.write_csv(tmp_path / "foreign.csv")
    arguments = ("--column", "finetune_examples=samples", "--loss", "loss", "--hold-out", "samples>=25600")
    code, out, _ = run("fit", tmp_path / "foreign.csv", *arguments, "--bootstrap", 0, "--json", "-")
    assert code == 0
    assert json.loads(out)["fits"][0]["n_held_out"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("fit", "none.csv"), 2, ["none.csv", "no such file"]),
        (("fit", "{table}", "--law", "multiplicativ"), 2, ["did you mean `multiplicative`"]),
        (("fit", "{table}", "--factor", "size"), 2, ["no column `size`", "--column size=THEIRS"]),
        (("fit", "{table}", "--by", "task,metod"), 2, ["no column `metod`", "did you mean 'method'?"]),
        (("fit", "{table}", "--hold-out", "model_params >"), 2, ["not an expression"]),
        (
            ("fit", "{table}", "--hold-out", "model_params > 0"),
            1,
            ["too few settings", "15 more are held out"],
        ),
        (("fit", "{table}", "--base", "model_params"), 2, ["--base FACTOR=VALUE"]),
        (("fit", "{table}", "--residual", "square"), 2, ["raw or log"]),
        (("fit", "{table}", "--solver", "sgd"), 2, ["varpro or lbfgs"]),
        (("fit", "{table}", "--json", "/none/x.json"), 2, ["cannot write"]),
        (("predict", "{table}", "--at", "model_params=7X"), 2, ["not a number", "7X"]),
        (("predict", "{table}", "--at", "model_params=7e9", "--bootstrap", "0"), 1, ["no forecast answers"]),
        (
            ("predict", "{table}", "--at", "model_params=7e9", "--law", "power", "--bootstrap", "0"),
            1,
            ["no law answers"],
        ),
        (
            ("predict", "{table}", "--at", "finetune_examples=1e4", "--residual", "log"),
            2,
            ["--residual belongs to a law"],
        ),
        (("compare", "{table}", "--laws", "spline"), 2, ["no law is called `spline`"]),
    ],
)
def test_mistakes_end_in_words_and_an_exit_code(table, arguments, code, words):
    found, _, message = run(*(str(argument).format(table=table) for argument in arguments))
    assert found == code
    for word in words:
        assert word in message


def test_damaged_fit_json_is_told(tmp_path):
    path = tmp_path / "fits.json"
    for text, word in (
        ("{", "cannot be read as JSON"),
        ("[]", "not a table of fits"),
        ('{"fits": [{}]}', "not a fit"),
    ):
        path.write_text(text)
        code, _, message = run("predict", path, "--at", "model_params=1e9,finetune_examples=1e4")
        assert code == 2
        assert word in message


@pytest.mark.parametrize("command", ["fit", "compare", "predict", "advise", "plan", "report"])
def test_flags_are_the_documented_ones(command):
    documented = {
        "fit": "law factor by residual hold-out shared joint base bootstrap seed solver json",
        "compare": "laws backtest factor by residual hold-out base json",
        "predict": "at law factor by residual hold-out base via bootstrap seed json",
        "advise": "examples model-params budget target-loss target-score task crossovers price-per-hour "
        "flops-per-second tokens-per-example method-cost law base via bootstrap seed json",
        "plan": "target budget method values examples seeds noise bend check-share tokens-per-example "
        "price-per-hour flops-per-second method-cost task via seed out json",
        "report": "out scores law base via hold-out bootstrap seed figures",
    }
    reading = (
        "source scores column loss score better bounds unit where role map set sweep step decimal mapping"
    )
    from typer.main import get_command

    found = get_command(cli.app).commands[command].params  # type: ignore[attr-defined]
    flags = {option.removeprefix("--") for one in found for option in one.opts if option.startswith("--")}
    assert flags == set(f"{documented[command]} {reading}".split())
