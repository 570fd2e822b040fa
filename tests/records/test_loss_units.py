"""What the names of losses say of their units: converted where that is clear, else asked."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError
from finescale.records.loss_units import is_loss_name, unit_by_name

LOSSES = [2.0, 1.6, 1.3, 2.1, 1.5, 1.2]
LN2 = math.log(2)


def table(name: str, values: list[float] = LOSSES) -> pl.DataFrame:
    sizes = {"method": ["full"] * 3 + ["lora"] * 3, "finetune_examples": [100, 200, 400] * 2}
    return pl.DataFrame({**sizes, name: values})


def read(name: str, values: list[float] = LOSSES, unit: str | None = None) -> fs.Records:
    return fs.read_records(table(name, values), loss=name, unit=unit)


@pytest.mark.parametrize(
    "name",
    ["log_perplexity", "log_ppl", "log-perplexity", "ln PPL", "Eval PPL (log)", "logPPL", "ln(ppl)"],
)
def test_a_logarithm_of_a_perplexity_is_a_loss_in_nats(name: str) -> None:
    records = read(name)
    assert records.frame[records.loss].to_list() == LOSSES
    assert records.outcome.unit == "nats"
    assert any("is the logarithm of a perplexity" in note for note in records.notes)


@pytest.mark.parametrize(
    ("name", "factor", "unit"),
    [
        ("Test loss (bits/token)", LN2, "nats"), ("NLL [bits/char]", LN2, "nats per character"),
        ("Bits/Byte", LN2, "nats per byte"), ("NLL/char", 1, "nats per character"),
        ("loss (base-2)", LN2, "nats"), ("loss_base2", LN2, "nats"), ("log2_ppl", LN2, "nats"),
        ("log10 perplexity", math.log(10), "nats"), ("eval_nll_bits", LN2, "nats"),
        ("NLL per word", 1, "nats per word"), ("loss/sequence", 1, "nats per example"),
        ("log_loss", 1, "nats"), ("logloss", 1, "nats"), ("eval/loss", 1, "nats"),
        ("loss (4-bit)", 1, "nats"), ("reward_loss", 1, "nats"), ("-log_likelihood", 1, "nats"),
        ("logs/eval_loss", 1, "nats"),
        ("Test Loss (mean ± std)", 1, "nats"), ("loss mean (std)", 1, "nats"), ("loss_on_words", 1, "nats"),
        ("mixtral_8x7b_loss", 1, "nats"), ("loss (1e-3)", 1, "nats"), ("loss_x2", 1, "nats"),
        ("bert_x10_loss", 1, "nats"), ("loss_x10_seed1", 1, "nats"), ("loss (10^9 tokens)", 1, "nats"),
    ],
)  # fmt: skip
def test_a_loss_s_unit_in_its_name_is_converted(name: str, factor: float, unit: str) -> None:
    records = read(name)
    assert records.frame[records.loss].to_list() == pytest.approx([value * factor for value in LOSSES])
    assert (records.outcome.kind, records.outcome.better, records.outcome.unit) == ("loss", "lower", unit)
    assert bool(factor == 1) != any(f"`{name}` is in " in note for note in records.notes)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("Pplx.", "nats"), ("exp(loss)", "nats"), ("evalppl", "nats"), ("byte_perplexity", "nats per byte"),
        ("word_perplexity", "nats per word"), ("word_perplexity,none", "nats per word"),
    ],
)  # fmt: skip
def test_perplexities_are_of_what_their_name_says(name: str, unit: str) -> None:
    records = read(name, [math.exp(value) for value in LOSSES])
    assert records.frame[records.loss].to_list() == pytest.approx(LOSSES)
    assert records.outcome.unit == unit


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("log2_loss", "--unit bits"), ("log10_loss", "--unit 'base 10'"), ("log(eval_loss)", "--unit nats"),
        ("log_eval_loss", "--unit nats"), ("exp_loss", "--unit perplexity"), ("loss (log)", "--unit nats"),
    ],
)  # fmt: skip
def test_a_name_that_can_be_meant_in_two_ways_is_asked_about(name: str, answer: str) -> None:
    with pytest.raises(UsageError, match="can be meant in two ways") as told:
        read(name)
    assert answer in told.value.wanted
    unit = answer.removeprefix("--unit ").strip("'")
    assert read(name, unit=unit).outcome.unit == "nats"


@pytest.mark.parametrize(
    ("name", "factor", "unit"),
    [
        ("loss (x100)", "100", "nats"), ("eval_loss*1000", "1000", "nats"), ("loss [10^-3]", "10^-3", "nats"),
        ("bpb ×10⁻²", "10⁻²", "bpb"), ("perplexity_x100", "100", "perplexity"),
    ],
)  # fmt: skip
def test_a_loss_times_a_power_of_ten_is_asked_about(name: str, factor: str, unit: str) -> None:
    with pytest.raises(UsageError, match="can be meant in two ways") as told:
        read(name)
    wanted = f"numbers to be divided by {factor}, or multiplied by it (--column 'test_loss={name}*NUMBER'; "
    assert told.value.wanted == f"{wanted}--unit '{unit}': as it is)"
    raw = read(name, unit=unit)
    made = fs.read_records(table(name), columns={"test_loss": f"{name}*2"})
    plain = {"nats": LOSSES, "bpb": [value * LN2 for value in LOSSES], "perplexity": np.log(LOSSES).tolist()}
    assert raw.frame[raw.loss].to_list() == pytest.approx(plain[unit])
    twice = {
        "nats": 2 * np.array(LOSSES),
        "bpb": 2 * LN2 * np.array(LOSSES),
        "perplexity": np.log(2 * np.array(LOSSES)),
    }
    assert made.frame["test_loss"].to_list() == pytest.approx(twice[unit].tolist())


@pytest.mark.parametrize(
    "name",
    ["loss improvement", "loss reduction", "gain", "delta loss", "Δ loss", "perplexity drop", "neg_log_loss",
     "eval_loss_std", "perplexity gap"],
)  # fmt: skip
def test_a_change_or_a_spread_of_a_loss_is_none_until_it_is_said(name: str) -> None:
    assert not is_loss_name(name)
    with pytest.raises(UsageError, match="a change, a spread or an inverse") as told:
        read(name)
    assert f"--score '{name}' --better higher" in told.value.remedy
    assert fs.read_records(table(name), score=name, better="higher").outcome.better == "higher"
    assert read(name, unit="nats").outcome.better == "lower"


def test_a_loss_in_percent_is_refused() -> None:
    for name, unit in (("loss (%)", None), ("test_loss", "percent")):
        with pytest.raises(UsageError, match="a loss in percent"):
            read(name, unit=unit)


def test_units_of_the_command_line_are_read_with_a_slash_and_per_word() -> None:
    assert read("x", unit="bits/byte").outcome.unit == "nats per byte"
    assert read("x", unit="perplexity per word").outcome.unit == "nats per word"


def test_what_is_no_loss_has_no_unit() -> None:
    names = ("memory_bytes", "params", "accuracy", "dropout", "load_in_8_bit", "tokens")
    assert [unit_by_name(name) for name in names] == [None] * 6


@pytest.mark.parametrize("name", ["eval_ppl", "eval_bpb", "log2_loss", "loss improvement"])
def test_another_column_of_records_is_no_loss_in_nats_where_its_name_says_so(name: str) -> None:
    records = fs.read_records(table("test_loss").with_columns(pl.lit(3.0).alias(name)))
    with pytest.raises(UsageError, match="in another unit than nats, or says a change") as told:
        fs.fit(records, "power", loss=name)
    assert f"read_records(..., loss={name!r})" in told.value.remedy
