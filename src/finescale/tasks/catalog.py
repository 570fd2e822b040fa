"""Every task: the bundled ones by name, others from files."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from finescale.errors import UsageError
from finescale.spec import TaskSpec, unknown
from finescale.tasks.local import local_task
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
def open_task(task: str | TaskSpec) -> Task:
    """Opens a task.

    Args:
        task: One of `TASKS`, or files of one's own.

    Raises:
        UsageError: No such task, or files that cannot be used.
    """
    if isinstance(task, TaskSpec):
        return local_task(task)
    if task not in TASKS:
        if Path(task).suffix.lower() in READERS:
            raise UsageError(
                f"{task!r} is a file, not the name of a task",
                wanted="one of " + ", ".join(TASKS) + ", or a mapping with the task's files",
                got=repr(task),
                remedy=f"task: {{name: my-data, train: {task}, source: COLUMN, target: COLUMN}}",
                where="task",
            )
        raise unknown("task", task, TASKS, "task")
    return TASKS[task](task)
