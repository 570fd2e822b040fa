"""Every task: bundled and published ones by name, others from files or a data set of the hub."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from finescale.errors import UsageError, unknown
from finescale.spec.run import FINGERPRINT_VERSION, TaskSpec, Version
from finescale.tasks.local import local_task
from finescale.tasks.published import PUBLISHED
from finescale.tasks.rows import READERS
from finescale.tasks.summarization import mini_summarization
from finescale.tasks.task import Task
from finescale.tasks.translation import mini_translation

TASKS: dict[str, Callable[[str], Task]] = {
    "mini-en-de": lambda name: mini_translation("de", name),
    "mini-en-zh": lambda name: mini_translation("zh", name),
    "mini-summarization": mini_summarization,
}


@lru_cache(maxsize=4)
def open_task(task: str | TaskSpec, version: Version = FINGERPRINT_VERSION) -> Task:
    """Opens a task; a published one or a data set of the hub is downloaded where it is not in the cache.

    Args:
        task: One of `TASKS` or `PUBLISHED`, or a task of one's own.
        version: Of the study: what its examples mean.

    Raises:
        UsageError: No such task, or data that cannot be found or used.
    """
    try:
        spec = TaskSpec(name=task) if isinstance(task, str) else task
    except ValidationError:  # a name that no task has
        raise _unknown(str(task)) from None
    if spec.train is not None and spec.dataset is None:
        return local_task(spec, version)
    if spec.dataset is not None or spec.name in PUBLISHED:
        from finescale.tasks.hub_tasks import hub_task, published_task  # noqa: PLC0415 - loads datasets

        opened = published_task(spec) if spec.dataset is None else hub_task(spec, version)
        return replace(opened, version=version)
    if spec.name in TASKS:
        return replace(TASKS[spec.name](spec.name), version=version)
    raise _unknown(spec.name)


def _unknown(name: str) -> UsageError:
    if Path(name).suffix.lower() in READERS:
        return UsageError(
            f"{name!r} is a file, not the name of a task",
            wanted="one of " + ", ".join((*TASKS, *PUBLISHED)) + ", or a mapping with the task's files",
            got=repr(name),
            remedy=f"task: {{name: my-data, train: {name}, source: COLUMN, target: COLUMN}}",
            where="task",
        )
    return unknown("task", name, (*TASKS, *PUBLISHED), "task")
