"""The errors that a user can cause: what was wanted, what came, and what to do."""

from finescale.printable import printable


class FinescaleError(Exception):
    """A problem to be told in words, without a traceback.

    Attributes:
        problem, wanted, got, remedy, where: The parts of the message, as given.
        exit_code: The process's exit code where the command line reports the error.
    """

    exit_code = 1

    def __init__(
        self, problem: str, *, wanted: str = "", got: str = "", remedy: str = "", where: str = ""
    ) -> None:
        """Builds the message; what would do something to a terminal is replaced in it.

        Args:
            problem: One sentence: what is wrong.
            wanted: What would have been right.
            got: What came instead.
            remedy: What the user can do.
            where: File, line (or row) and field, e.g. ``study.yaml, line 7, grids[0].vary``.
        """
        self.problem, self.wanted, self.got, self.remedy, self.where = problem, wanted, got, remedy, where
        lines = [f"{where}: {problem}" if where else problem]
        lines += [
            f"  {label}: {text}"
            for label, text in (("wanted", wanted), ("got", got), ("remedy", remedy))
            if text
        ]
        super().__init__(printable("\n".join(lines)))


class UsageError(FinescaleError, ValueError):
    """Wrong input: a file, a field, a flag (exit code 2)."""

    exit_code = 2


class DataError(FinescaleError, ValueError):
    """Valid input that does not allow the answer: too few runs, nothing left to fit (exit code 1)."""

    exit_code = 1
