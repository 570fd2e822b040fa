"""An executor that calls jobs in this process: for what is told of studies, not of worker processes."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

from finescale.executors.local import Job, Result
from finescale.executors.worker import find_function


class InlineExecutor:
    """Calls a job as soon as it is submitted, and gives its result back when asked."""

    def __init__(self) -> None:
        self.finished: list[Result] = []

    def free(self) -> int:
        return 0 if self.finished else 1

    def submit(self, job: Job) -> None:
        try:
            result = Result(job.run, find_function(job.function)(*job.arguments))
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
            result = Result(job.run, error=told, traceback=traceback.format_exc())
        self.finished.append(result)

    def wait(self, seconds: float) -> list[Result]:
        del seconds
        results, self.finished = self.finished, []
        return results

    def progress(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None:
        self.finished.clear()
