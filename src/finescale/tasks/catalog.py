"""Every task by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from finescale.spec import unknown
from finescale.tasks.summarization import mini_summarization
from finescale.tasks.task import Task
from finescale.tasks.translation import mini_translation

TASKS: dict[str, Callable[[str], Task]] = {
    "mini-en-de": lambda name: mini_translation("de", name),
    "mini-en-zh": lambda name: mini_translation("zh", name),
    "mini-summarization": mini_summarization,
}


@lru_cache(maxsize=4)
def open_task(name: str) -> Task:
    """Opens a task.

    Args:
        name: One of `TASKS`.

    Raises:
        UsageError: No such task.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS, "task")
    return TASKS[name](name)
