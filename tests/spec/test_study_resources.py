from __future__ import annotations

from pathlib import Path

import pytest
from example import TEXT, plan

from finescale.errors import UsageError
from finescale.spec.file import parse_study
from finescale.spec.resources import Resources
from finescale.spec.study import Study

SMALL = {"CPU": 4.0, "GPU": 0.0, "memory": 8e9}
LARGE = {"CPU": 16.0, "GPU": 4.0, "memory": 64e9}


@pytest.mark.parametrize(
    ("needed", "nodes", "slots"),
    [
        (Resources(), [SMALL, SMALL], 8),
        (
            Resources(cpus=3),
            [SMALL, LARGE],
            4,
        ),  # one GPU each where there are any: the small node is left out
        (Resources(cpus=3, gpus=0), [SMALL, LARGE], 1 + 5),
        (Resources(gpus=0.5), [LARGE], 8),
        (Resources(gpus=0, memory=10**10), [SMALL, LARGE], 6),
        (Resources(gpus=1, workers=3), [LARGE, LARGE], 2),
        (Resources(gpus=8), [LARGE], 0),
        (Resources(cpus=0.1), [{"CPU": 0.3}], 3),
    ],
)
def test_how_many_runs_nodes_hold(needed: Resources, nodes: list, slots: int) -> None:
    assert needed.slots(nodes) == slots


def test_resources_enter_no_fingerprint_and_reach_the_jobs(tmp_path: Path) -> None:
    plain = plan(tmp_path, "instant")
    asked = plan(tmp_path, "instant", TEXT + "resources: {full: {gpus: 2}, lora: {memory: 2.0e9}}\n")
    assert [task.entry for task in plain.tasks()] == [task.entry for task in asked.tasks()]
    by_method = {task.job.arguments[0].run.method.name: task.job.resources for task in asked.tasks()}
    assert by_method == {"full": Resources(gpus=2), "lora": Resources(memory=2 * 10**9)}
    assert asked.needs() == [Resources(gpus=2), Resources(memory=2 * 10**9)]
    assert plain.needs() == [Resources()]


def test_one_kind_of_resources_is_for_every_method() -> None:
    study = parse_study(TEXT + "resources: {cpus: 2, workers: 2}\n")
    assert isinstance(study, Study)
    assert study.resources == Resources(cpus=2, workers=2)
    assert Resources(cpus=2, gpus=0.5, workers=2).words() == "2 workers with 2 CPUs + 0.5 GPUs each"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{cpus: 0}", r"line 14, resources.cpus.*\n  wanted: a number above 0.0\n  got: 0"),
        ("{gpu: 1, cpus: 1}", r"line 14, resources.gpu: unknown key 'gpu'\n[\s\S]*did you mean 'gpus'"),
        ("{loar: {gpus: 1}}", r"line 14, resources.loar: unknown key 'loar'"),
        ("{lora: {gpus: many}}", r"line 14, resources.lora.gpus.*\n  wanted: a number\n  got: 'many'"),
    ],
)
def test_wrong_resources_are_told_with_line_and_field(line: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_study(TEXT + f"resources: {line}\n")
