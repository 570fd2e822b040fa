"""Long tables: the column that names the metric of a row is read, within settings and between tasks."""

from __future__ import annotations

import polars as pl
import pytest

import finescale as fs


def long(metrics: dict[str, str]) -> pl.DataFrame:
    """A table of tasks with one metric each."""
    rows = [
        {"task": task, "method": method, "finetune_examples": size, "metric": metric, "value": value}
        for task, metric in metrics.items()
        for method, lead in (("full", 0.0), ("lora", 0.01))
        for size, value in ((100, 0.5 + lead), (200, 0.4 + lead), (400, 0.45 + lead))
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("other", ["accuracy", "perplexity", "loss improvement", "our own"])
def test_metrics_of_two_kinds_in_two_tasks_are_asked_about(other: str) -> None:
    frame = long({"a": "eval_loss", "b": other})
    doubts = fs.read_records(frame, loss="value").reading.doubts
    assert f"which rows of `metric` count? --where 'metric=eval_loss' (or {other})" in doubts
    assert not fs.read_records(frame, loss="value", where="metric=eval_loss").reading.doubts


def test_metrics_of_one_kind_are_not_asked_about() -> None:
    for metrics in ({"a": "eval_loss", "b": "nll"}, {"a": "eval_loss", "b": "eval_loss"}):
        assert not fs.read_records(long(metrics), loss="value").reading.doubts
    frame = long({"a": "accuracy", "b": "f1"})
    assert not fs.read_records(frame, score="value", better="higher").reading.doubts


def test_a_metric_against_what_its_values_are_read_as_is_asked_about() -> None:
    (doubt,) = fs.read_records(long({"a": "accuracy"}), loss="value").reading.doubts
    assert doubt == ("is `value` the accuracy that `metric` says? --score 'value' --better higher (or lower)")
    frame = long({"a": "bits_per_byte"})
    (doubt,) = fs.read_records(frame, loss="value").reading.doubts
    assert doubt.endswith("--unit 'bpb', or --unit nats")
    assert not fs.read_records(frame, loss="value", unit="bpb").reading.doubts
    (doubt,) = fs.read_records(long({"a": "loss"}), score="value", better="higher").reading.doubts
    assert doubt.endswith("--loss 'value'")
