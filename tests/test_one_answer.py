"""One hold-out rule, one base setting and one noise of a run: every command means the same by them."""

from pathlib import Path

import polars as pl
import pytest

import finescale as fs
from finescale.advice.candidates import candidates
from finescale.errors import UsageError
from finescale.planning.measured import most_seen, run_noise
from finescale.records.held_out import held_out
from finescale.records.records import Records, read_records
from finescale.records.settings import setting_columns
from finescale.report.evidence import describe, gather
from finescale.study.plan import held_out as held_out_of_a_study

NANO = Path(__file__).parent.parent / "examples" / "nano_full.parquet"
RULES = (
    None,
    False,
    "largest",
    "model_params == max(model_params)",
    "finetune_examples >= max(finetune_examples)",
    "pet_size == max(pet_size)",
    "pretrain_tokens < 1e6 or finetune_examples > 3000",
    "method == 'lora' and finetune_examples >= 1000",
    "finetune_examples in [128, 800, 6400]",
    "model_params >= 1e9 or finetune_examples == min(finetune_examples)",
)


def surface(size: float, data: float, rank: float = 4.0) -> float:
    return 30 * size**-0.2 * data**-0.1 * rank**-0.01 + 0.6


def two_methods() -> pl.DataFrame:
    """A grid without tasks, held-out marks or pretraining; ranks and prompt lengths are no common scale."""
    rows = [
        {
            "method": method,
            "model_params": size,
            "pretrain_tokens": 1e9,
            "pet_size": pet,
            "finetune_examples": data,
            "seed": seed,
            "test_loss": surface(size, data, pet) + 0.002 * ((7 * seed + round(data)) % 5 - 2),
        }
        for method, pets, sizes in (
            ("lora", (2.0, 4.0, 8.0), (100.0, 200.0, 400.0, 1600.0, 3200.0, 6400.0)),
            ("prompt", (20.0, 100.0), (50.0, 100.0, 200.0, 400.0, 800.0)),
        )
        for size in (1e8, 2e8, 4e8)
        for pet in pets
        for data in sizes
        for seed in (0, 1)
    ]
    return pl.DataFrame(rows)


def unlike_bases() -> pl.DataFrame:
    """Full tuning was mostly run on one model, prompt tuning on another."""
    plan = {
        "full": {1e8: 3, 4e8: 1, 1.6e9: 1},
        "prompt": {1e8: 1, 4e8: 2, 1.6e9: 1},
    }
    rows = [
        {
            "task": "t",
            "method": method,
            "model_params": size,
            "pretrain_tokens": tokens,
            "pet_size": None if method == "full" else 16.0,
            "finetune_examples": data,
            "seed": seed,
            "test_loss": surface(size, data) - 0.01 * (tokens / 1e9) + 0.003 * seed,
        }
        for method, sizes in plan.items()
        for size, seeds in sizes.items()
        for tokens in (1e9, 2e9, 4e9)
        for data in (128.0, 256.0, 512.0, 1000.0, 2000.0, 4000.0)
        for seed in range(seeds)
    ]
    return pl.DataFrame(rows)


TABLES = {
    "nano": lambda: read_records(pl.read_parquet(NANO).filter(pl.col("method") != "full")),
    "two methods": lambda: read_records(two_methods()),
    "unlike bases": lambda: read_records(unlike_bases()),
}
FACTORS = {
    "nano": ("model_params", "pretrain_tokens", "pet_size"),
    "two methods": ("model_params", "pet_size"),
    "unlike bases": ("model_params", "pretrain_tokens"),
}
"""What each table varies beside the data; the rules take turns, so that every factor meets several."""


def keys_of(rows: pl.DataFrame) -> set[tuple[object, ...]]:
    """The settings of a table, by the columns that identify one."""
    columns = [name for name in setting_columns(rows) if name not in ("task", "model_params_nonembedding")]
    return set(rows.select(columns).rows())


def marked(
    records: Records, rule: str | bool | None
) -> tuple[set[tuple[object, ...]], set[tuple[object, ...]]]:
    """The tuned settings that the rule holds out, and the others."""
    frame = records.frame.with_columns(held_out(records.frame, rule))
    frame = frame.filter((pl.col("method") != "none") & (pl.col("finetune_examples") > 0))
    return keys_of(frame.filter("held_out")), keys_of(frame.filter(~pl.col("held_out")))


def assert_held_out(laws: fs.Fits, held: set[tuple[object, ...]], seen: set[tuple[object, ...]]) -> None:
    """Whether the laws' points are marked as the table's rows are."""
    assert len(laws)
    for law in laws:
        assert law.points is not None
        assert keys_of(law.points.filter("held_out")) <= held
        assert keys_of(law.points.filter(~pl.col("held_out"))) <= seen


@pytest.mark.parametrize("rule", ["largest", "pet_size == max(pet_size)"])
def test_a_joint_fit_holds_out_the_same_runs(rule: str) -> None:
    records = TABLES["nano"]()
    laws = fs.joint_fit(records, hold_out=rule, bootstrap=0)
    assert {law.factors[0] for law in laws} == set(FACTORS["nano"])
    assert_held_out(laws, *marked(records, rule))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("rule", RULES)
def test_fit_compare_backtest_report_and_a_study_hold_out_the_same_runs(
    table: str, rule: str | bool | None
) -> None:
    records = TABLES[table]()
    factor = FACTORS[table][RULES.index(rule) % len(FACTORS[table])]
    held, seen = marked(records, rule)
    assert rule is not False or not held

    fitted = fs.fit(records, factors=factor, hold_out=rule, bootstrap=0)
    assert_held_out(fitted, held, seen)

    (task,) = describe(records, hold_out=rule).tasks
    assert keys_of(task.settings.filter("held_out")) == held
    assert keys_of(task.settings.filter(~pl.col("held_out"))) == seen
    found = {(law.by.get("method"), law.factors): (law.n_fitted, law.n_held_out) for law in fitted}

    if held:
        compared = fs.compare(records, ["multiplicative"], factors=factor, hold_out=rule).table
        counted = {
            (row["method"], (row["factor"],)): (row["n_fitted"], row["n_held_out"])
            for row in compared.iter_rows(named=True)
        }
        assert counted == found
    assert not keys_of(fs.backtest(records, ["loglinear"], hold_out=rule, hide=(1,)).cells) & held

    if isinstance(rule, str):
        planned = records.frame.drop("held_out", strict=False)
        of_study = pl.Series(held_out_of_a_study(planned.to_dicts(), rule))
        assert of_study.to_list() == held_out(records.frame, rule).to_list()


def test_every_command_refuses_a_rule_over_an_unknown_column() -> None:
    records, rule = read_records(two_methods()), "pet_siz == 4"
    for call in (fs.fit, fs.joint_fit, fs.compare, fs.backtest, gather):
        with pytest.raises(UsageError, match="unknown column `pet_siz`"):
            call(records, hold_out=rule)
    with pytest.raises(UsageError, match=r"hold_out: unknown column `pet_siz`"):
        held_out_of_a_study(records.frame.to_dicts(), rule)


@pytest.mark.parametrize("given", [{}, {"model_params": 4e8, "pretrain_tokens": 1e9}])
def test_fit_report_advice_and_plan_have_one_base_setting(given: dict[str, float]) -> None:
    records = read_records(unlike_bases())
    expected = {"model_params": 1e8, "pretrain_tokens": 4e9, "pet_size.prompt": 16.0} | given
    for law in fs.fit(records, base=given, bootstrap=0):
        assert law.base.items() <= {**expected, "pet_size": 16.0}.items()
        assert law.factors[0] not in law.base
    (task,) = describe(records, base=given).tasks
    assert task.base == expected
    joint = fs.joint_fit(records, base=given, bootstrap=0)
    for method in ("full", "prompt"):
        law = joint.only(method=method, factor="pretrain_tokens")
        assert law.base["model_params"] == expected["model_params"]
        assert task.at_base(method, free="pretrain_tokens").height == law.n_fitted == 18
    found = candidates(records, base=given, bootstrap=0)
    assert found.base == expected
    if not given:
        assert most_seen(records, None)[2] == expected


def test_report_and_plan_have_one_noise_of_a_run() -> None:
    records = read_records(two_methods())
    noise = describe(records).tasks[0].noise["lora"]
    planned, notes = run_noise(records, "unnamed", ["lora"], None)
    assert planned == pytest.approx(noise.sd)
    assert f"from {noise.freedom} repeated runs" in notes[0]


def test_compare_is_the_pages_table_6() -> None:
    records = read_records(pl.read_parquet(NANO).filter(pl.col("method") == "lora"))
    page = gather(records, bootstrap=0).tasks[0]
    compared = fs.compare(records).table
    assert compared.height == 6
    for row in compared.iter_rows(named=True):
        law = page.tested_law(row["law"], row["method"], row["factor"])
        assert law is not None
        assert (row["delta_e"], row["delta_h"]) == pytest.approx((law.delta_e, law.delta_h), rel=1e-9)


def test_where_nothing_is_held_out_the_page_tests_the_laws_as_compare_does() -> None:
    records = read_records(unlike_bases().filter((pl.col("method") == "full") & (pl.col("seed") == 0)))
    page = gather(records, bootstrap=0).tasks[0]
    compared = fs.compare(records).table
    for row in compared.iter_rows(named=True):
        law = page.tested_law(row["law"], row["method"], row["factor"])
        assert law is not None
        assert law.n_held_out == row["n_held_out"] > 0
        assert row["delta_h"] == pytest.approx(law.delta_h, rel=1e-9)
    assert not any(law.n_held_out for law in page.laws["multiplicative"])


def test_a_model_that_is_held_out_whole_keeps_out_the_largest_size_of_its_own_curve() -> None:
    records = read_records(two_methods().filter(pl.col("pet_size").is_in([4.0, 100.0])))
    fits = fs.fit(records, "power", hold_out="model_params >= 4e8", bootstrap=0)
    counts = {(law.by["method"], law.by["model_params"]): (law.n_fitted, law.n_held_out) for law in fits}
    assert counts["lora", 4e8] == (5, 1)
    assert counts["lora", 1e8] == (6, 0)
    page = gather(records, hold_out="model_params >= 4e8", bootstrap=0).tasks[0].curves["power"]
    assert {
        (law.by["method"], law.by["model_params"]): (law.n_fitted, law.n_held_out) for law in page
    } == counts
