"""`fs.Study`: a study of a file or of Python's values, with everything that the commands do to it."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr, ValidationError
from rich.console import Console, RenderableType

from finescale.errors import UsageError, printable
from finescale.executors.backends import check, open_executor
from finescale.executors.local import LocalExecutor
from finescale.executors.machine import usable_cores
from finescale.files import write_text
from finescale.front.deciding import until_decided as decider
from finescale.front.jupyter import NotebookProgress, in_notebook
from finescale.front.view import StudyView
from finescale.spec.file import in_our_words
from finescale.spec.file import load_study as read_study
from finescale.spec.places import LEDGER, base_folder, study_folder
from finescale.spec.python import file_values, study_text
from finescale.spec.study import PretrainStudy
from finescale.spec.study import Study as StudySpec
from finescale.spec.yaml import node_of
from finescale.study.dry_run import GPU_FLOPS, dry_run_view
from finescale.study.ledger import Ledger
from finescale.study.opening import check_contents, data_notes, make_folder, open_plan
from finescale.study.plan import EXECUTE, FinetunePlan
from finescale.study.progress import Progress, Silent, TerminalProgress
from finescale.study.tracking import Tracking

if TYPE_CHECKING:
    from finescale.advice.options import Advice
    from finescale.records.records import Records
    from finescale.study.runner import Summary


class Study(StudySpec):
    """A finetuning study (`kind: finetune`): the fields of a study file, and all that is done with one.

    Lists may be lists or tuples, numbers numpy's. Files and folders are taken relative to the current folder,
    those of a study file relative to it. Worker processes are started anew and import no script: none needs
    `if __name__ == "__main__"`, and studies may be made and run in functions, several in one process.

    Example:
        >>> study = fs.Study(
        ...     name="small",
        ...     task="mini-en-de",
        ...     test_examples=100,
        ...     base={"model": "nano-0.05m"},
        ...     grids=[{"vary": "model", "values": ["nano-0.05m"], "finetune_examples": {"full": [64, 128]}}],
        ...     learning_rates={"full": 0.01},
        ... )
        >>> study.dry_run()["runs"]
        3
        >>> shorter = fs.Study(**{**study.model_dump(by_alias=True), "name": "shorter", "seeds": [0]})
        >>> shorter.name
        'shorter'
    """

    _file: Path | None = PrivateAttr(default=None)
    _out: Path | None = PrivateAttr(default=None)

    def __init__(self, **fields: Any) -> None:
        """Checks the fields as `finescale run` checks a file's, with the same messages.

        Args:
            **fields: The fields of a study file.

        Raises:
            UsageError: A field that cannot be right; which, and what was wanted.
        """
        plain = file_values(fields)
        try:
            super().__init__(**plain)
        except ValidationError as error:
            raise in_our_words(error, node_of(plain), StudySpec, "fs.Study") from None
        placed = self.resolve_paths(Path.cwd())
        for name in ("task", "models", "evaluation"):
            object.__setattr__(self, name, getattr(placed, name))

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Reads a study file.

        Args:
            path: The file; what it names is taken relative to it.

        Raises:
            UsageError: It is missing or no valid finetuning study; the message names file, line and field.

        Example:
            >>> fs.Study.from_yaml("studies/nano.yaml").methods()
            ('full', 'lora', 'prompt')
        """
        found = read_study(path)
        if not isinstance(found, StudySpec):
            raise UsageError(
                "a pretraining study",
                wanted="kind: finetune",
                got="kind: pretrain",
                remedy="fs.load_study reads both kinds; finescale run runs both",
                where=f"{Path(path).name}, kind",
            )
        return cls._of(found, Path(path))

    @classmethod
    def _of(cls, found: StudySpec, file: Path) -> Self:
        fields = {name: getattr(found, name) for name in type(found).model_fields}
        made = cls.model_construct(found.model_fields_set, **fields)
        made._file = file.absolute()
        return made

    def to_yaml(self, path: str | Path | None = None) -> str:
        """The study as a file has it; `from_yaml` and `finescale run` read it.

        Args:
            path: Write it there, too.

        Returns:
            YAML; defaults are left out, paths are absolute.

        Example:
            >>> print(fs.load_study("studies/nano.yaml").to_yaml()[:26])
            kind: finetune
            version: 1
        """
        text = study_text(self)
        if path is not None:
            write_text(text, Path(path))
        return text

    @property
    def folder(self) -> Path:
        """Where its results are, or will be: `out` of the last `run`, else as every command finds it."""
        return self._out or study_folder(self.name, self._file)

    def dry_run(self, *, probe: bool = False, gpu_flops: float = GPU_FLOPS) -> StudyView:
        """What would run and what it would cost; nothing is written.

        Args:
            probe: Measure it: 20 steps of each kind of run on this machine.
            gpu_flops: FLOP/s that one GPU sustains.

        Returns:
            `runs`, `flops`, and with a probe `seconds` of one core; `print` shows what `--dry-run` shows.

        Raises:
            UsageError: Models, methods or data that are not there or not what they say.
        """
        plan = self._plan(shown=not probe)
        parts: list[RenderableType] = [*dry_run_view(self, plan, self.folder, gpu_flops)]
        from finescale.runs.expected import estimated_flops  # noqa: PLC0415

        runs = plan.runs()
        data: dict[str, Any] = {"runs": len(runs), "flops": sum(estimated_flops(item.run) for item in runs)}
        if probe:
            from finescale.study.probe import measure, show  # noqa: PLC0415

            workers = usable_cores()
            costs, failed = measure(runs, LocalExecutor(workers), Console(quiet=True, force_jupyter=False))
            told = Console(file=StringIO(), width=120, force_jupyter=False)
            data["seconds"] = show(told, runs, costs, failed, workers)
            parts.append(told.file.getvalue())  # type: ignore[attr-defined]
        return StudyView(f"{self.name}: {len(runs)} runs", data, parts)

    def run(
        self,
        *,
        workers: int | None = None,
        executor: str = "local",
        address: str | None = None,
        progress: bool | Progress = True,
        out: str | Path | None = None,
        retune: bool = False,
        until_decided: str | Mapping[str, float] | None = None,
        sure: float | None = None,
        execute: str = EXECUTE,
    ) -> Summary:
        """Runs what is missing of the study; called again, it goes on where it stopped.

        Args:
            workers: Runs at a time at most; default: one a core, or what the cluster holds.
            executor: Where runs are executed, as `--executor` of `finescale run`.
            address: The Ray cluster's address.
            progress: A bar in a notebook or terminal, lines elsewhere; False: nothing; an object: it is told.
            out: The study's folder; default: `folder`.
            retune: Check the swept learning rates at the study's corners, as `--retune`.
            until_decided: A question, e.g. ``{"finetune_examples": 50_000}``, with ``model_params`` for
                another model than the base: runs are made in the order expected to settle it at least cost,
                until the best method is known. The summary then has a `decision`, and what is `left`.
            sure: The probability at which it is known; default: 95%.
            execute: `module:function` that executes a run, for a trainer of one's own: it takes the planned
                run and the run's folder, and gives back the columns of its record.

        Returns:
            How the study stands: `counts` by status, runs `made` now, `failures`.

        Raises:
            UsageError: Something is not there or not what it says; before anything runs.
            KeyboardInterrupt: Ctrl-C, or the notebook's stop button: all that is finished is kept.
        """
        from finescale.study.runner import run_study  # noqa: PLC0415 - after the checks

        check(executor, address)
        if workers is not None and workers < 1:
            raise UsageError("no workers", wanted="at least 1", got=str(workers), where="workers")
        if out is not None:
            self._out = Path(out)
        folder, say = self.folder, _say if progress is True else _silent
        plan = self._plan(execute=execute, retune=retune)
        chooser = None
        if until_decided is not None:
            chooser = decider(self, plan, until_decided, sure=sure, say=say, where="until_decided")
        for note in data_notes(self):
            say(note)
        make_folder(folder, self.name, self._copy(), None if self._file is None else base_folder(self._file))
        if execute == EXECUTE:
            check_contents(self, plan, folder, say, left=True)
        where, size, notes = open_executor(executor, plan, folder, address=address, workers=workers)
        for note in notes:
            say(note)
        shown = _progress(progress, size)
        if self.tracking:
            shown = Tracking(shown, self.tracking, self.name, folder, say)
        try:
            summary = run_study(plan, folder, where, progress=shown, chooser=chooser)
        except KeyboardInterrupt:
            say("Stopped. Everything finished is kept; run() goes on.")
            raise
        for problem in summary.problems:
            say(str(problem))
        if chooser is None:
            return summary
        for words in chooser.words("run() without a question"):
            say(words)
        return chooser.summary(summary)

    def status(self) -> StudyView:
        """How the study stands: what `finescale status` prints, and its JSON by name.

        Raises:
            UsageError: It has not begun.
        """
        from finescale.study.state import study_state  # noqa: PLC0415
        from finescale.study.status import status_view  # noqa: PLC0415

        with Ledger(self.folder / LEDGER, create=False) as ledger:
            state = study_state(ledger, self.folder)
        words = f"{self.name}: {state['counts'].get('done', 0)} of {state['runs']} runs done"
        return StudyView(words, state, [*status_view(state)])

    def records(self, **options: Any) -> Records:
        """Its finished runs, for every function of the analysis.

        Args:
            **options: As `read_records` takes them, e.g. `score="exact_match"`.

        Raises:
            UsageError: It has not begun.
            DataError: No run is finished.
        """
        from finescale.records.records import read_records  # noqa: PLC0415

        if not (self.folder / LEDGER).exists():
            raise UsageError(
                "the study has not begun", wanted="its folder", remedy="study.run()", where=str(self.folder)
            )
        return read_records(self.folder, **options)

    def advise(self, **question: Any) -> Advice:
        """Which method is best, by its own runs.

        Args:
            **question: As `recommend` takes it: `examples=`, `model_params=`, `budget=`, `target_loss=`, ...

        Raises:
            DataError: Its runs do not allow an answer.
        """
        from finescale.advice.recommend import recommend  # noqa: PLC0415

        score = question.pop("score", None)
        return recommend(self.records(**({"score": score} if score else {})), **question)

    def report(self, out: str | Path | None = None, *, bootstrap: int = 1000, **options: Any) -> Path:
        """Writes the page of its runs, with figures and tables.

        Args:
            out: The folder to write to; default: `report` in the study's folder.
            bootstrap: Number of resamples.
            **options: As `records` takes them.

        Returns:
            The page.
        """
        from finescale.report.evidence import gather  # noqa: PLC0415
        from finescale.report.section import Source  # noqa: PLC0415
        from finescale.report.write import write_report  # noqa: PLC0415

        scores = self.folder / "scores.parquet"
        found = scores if scores.exists() else None
        evidence = gather(self.records(**options), scores=found, bootstrap=bootstrap)
        commands = (f"finescale report {self.folder}",)
        source = Source(self.name, commands, self._copy().decode(), self.hold_out or "")
        return write_report(evidence, source, Path(out) if out else self.folder / "report")

    def _plan(self, *, execute: str = EXECUTE, shown: bool = False, retune: bool = False) -> FinetunePlan:
        plan = open_plan(self, self.folder, execute=execute, shown=shown, retune=retune)
        assert isinstance(plan, FinetunePlan)
        return plan

    def _copy(self) -> bytes:
        """The text that the study's folder keeps: the file's as it is while it says this very study."""
        text = study_text(self)
        if self._file is not None and self._file.is_file():
            there = read_study(self._file)
            if isinstance(there, StudySpec) and study_text(there) == text:
                return self._file.read_bytes()
        return text.encode()


def load_study(path: str | Path) -> Study | PretrainStudy:
    """Reads a study file.

    Args:
        path: A YAML file.

    Returns:
        The study, validated; files and folders that it names are taken relative to it.

    Raises:
        UsageError: The file is missing or not a valid study; the message names file, line and field.

    Example:
        >>> fs.load_study("studies/nano.yaml").seeds
        (0,)
    """
    found = read_study(path)
    return Study._of(found, Path(path)) if isinstance(found, StudySpec) else found


def _progress(wanted: bool | Progress, workers: int) -> Progress:
    if wanted is False:
        return Silent()
    if wanted is not True:
        return wanted
    return NotebookProgress(workers) if in_notebook() else TerminalProgress(Console(), workers)


def _say(words: str) -> None:
    print(printable(words))


def _silent(words: str) -> None:
    del words
