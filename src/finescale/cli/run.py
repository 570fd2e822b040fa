"""What `finescale run` and `finescale status` do. Loads no torch: worker processes do."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from finescale.errors import UsageError, printable
from finescale.executors.attempt_log import LEVELS
from finescale.executors.backends import check, open_executor
from finescale.executors.local import LocalExecutor, usable_cores
from finescale.spec.file import load_study, with_location
from finescale.spec.study import PretrainStudy, Study
from finescale.study.dry_run import GPU_FLOPS, dry_run_view
from finescale.study.example_check import check_examples, needs_check, truncation_warnings
from finescale.study.export import records_frame
from finescale.study.failures import failure_lines
from finescale.study.filesystem import REMEDIES
from finescale.study.ledger import Ledger
from finescale.study.model_check import check_models
from finescale.study.plan import EXECUTE, FinetunePlan, PretrainPlan, StudyPlan
from finescale.study.progress import Progress, TerminalProgress
from finescale.study.tracking import Tracking, check_trackers

if TYPE_CHECKING:
    from finescale.study.runner import Summary

RESULTS = Path("results")
COPY = "study.yaml"
"""The copy of the study file in the study's folder."""
TRAINING_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors")
WRITTEN = ("runs", "tokens", "tracking", "report")
"""Folders inside the study's that are written to."""
INTERRUPTED = 130


def run(
    study_file: Path,
    *,
    out: Path | None = None,
    workers: int | None = None,
    dry_run: bool = False,
    look: bool = False,
    probe: bool = False,
    text: Path | None = None,
    retry_failed: bool = False,
    retry_diverged: bool = False,
    executor: str = "local",
    address: str | None = None,
    gpu_flops: float = GPU_FLOPS,
    log_level: str = "info",
    quiet: bool = False,
    execute: str = EXECUTE,
    console: Console | None = None,
) -> int:
    """Runs what is missing of a study.

    Args:
        study_file: The study, or a study's folder: then the study in it goes on there.
        out: The study's folder (default: results/NAME).
        workers: Runs at a time at most (default: one a core, or what the cluster holds).
        dry_run: Only show what would run.
        look: Only look at base models, methods and examples: whether they are what they say.
        probe: Only show what would run and how long, measured on 20 steps of each kind of run.
        text: Folder with the pretraining text (`kind: pretrain`).
        retry_failed: Run failed runs again.
        retry_diverged: Run diverged runs again.
        executor: Where runs are executed: `local`, `ray` or `slurm`.
        address: The Ray cluster's address (default: this machine's, or a new one).
        gpu_flops: FLOP/s that one GPU sustains, for the dry run's GPU-hours.
        log_level: The lowest level of messages in the runs' logs: debug, info, warning or error.
        quiet: Print nothing but what went wrong.
        execute: `module:function` that executes a finetuning run.
        console: Where to print.

    Returns:
        The exit code: 0; 3 where some runs failed or diverged, 4 where none is done; 130 after Ctrl-C.
    """
    console = console or _console()
    meanwhile = Console(quiet=True) if quiet else console
    study_file, out = _file_of(study_file, out)
    spec = load_study(study_file)
    if workers is not None and workers < 1:
        raise UsageError("no workers", wanted="at least 1", got=str(workers), where="--workers")
    if not gpu_flops > 0:
        raise UsageError("no speed", wanted="FLOP/s above 0", got=str(gpu_flops), where="--gpu-flops")
    check(executor, address)
    if log_level not in LEVELS:
        wanted = ", ".join(LEVELS)
        raise UsageError("unknown level", wanted=f"one of {wanted}", got=log_level, where="--log-level")
    folder = out or RESULTS / spec.name
    try:
        if probe or not dry_run:
            _check_training_libraries()
            check_trackers(spec.tracking)
        plan = _plan(spec, folder.absolute(), text, execute, contents=probe or not dry_run)
    except UsageError as error:
        raise with_location(error, study_file) from None
    for note in _notes(spec, contents=probe or not dry_run):
        _say(meanwhile, note)
    if look:
        return _look_only(spec, plan, folder, study_file, console)
    if dry_run or probe:
        _show_plan(spec, plan, folder, gpu_flops, console)
        return _probe(console, plan, workers or usable_cores()) if probe else 0
    from finescale.study.runner import run_study  # noqa: PLC0415 - after the checks

    _make_folder(folder, spec.name, study_file)
    if isinstance(plan, FinetunePlan) and isinstance(spec, Study) and execute == EXECUTE:
        _look(spec, plan, folder, study_file, meanwhile)
    _retry(folder, retry_failed, retry_diverged, meanwhile)
    try:
        with _sigterm_like_ctrl_c():
            where, size, notes = open_executor(executor, plan, folder, address=address, workers=workers)
            for note in notes:
                _say(meanwhile, note)
            progress = _progress(spec, folder, meanwhile, size)
            summary = run_study(plan, folder, where, progress=progress, log_level=log_level)
    except KeyboardInterrupt:
        _say(console, "\nStopped. Everything finished is kept; the same command continues.", style="yellow")
        return INTERRUPTED
    _show_end(console, spec, folder, summary, quiet=quiet)
    return summary.exit_code


def _retry(folder: Path, failed: bool, diverged: bool, console: Console) -> None:
    """Makes failed or diverged runs pending again."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        if failed:
            _say(console, f"{ledger.retry('failed')} failed runs will be tried again")
        if diverged:
            _say(console, f"{ledger.retry('diverged')} diverged runs will be tried again")


def _show_end(
    console: Console, spec: Study | PretrainStudy, folder: Path, summary: Summary, *, quiet: bool
) -> None:
    """How many runs ended how, what was cut of their examples, and last what went wrong."""
    if quiet and not summary.exit_code:
        return
    words = ", ".join(f"{count} {status}" for status, count in sorted(summary.counts.items()))
    _say(console, f"{spec.name}: {words} ({summary.made} made now). Records: {folder / 'records.parquet'}")
    if isinstance(spec, Study):
        with Ledger(folder / "ledger.sqlite") as ledger:
            for sentence in truncation_warnings(records_frame(ledger), spec.version):
                _say(console, sentence)
    if summary.orphans:
        _say(
            console, f"{summary.orphans} finished runs are no longer in the study: finescale status {folder}"
        )
    for problem in summary.problems:
        _say(console, str(problem), style="red")
    for line in failure_lines(summary.failures, folder):
        _say(console, line, style=None if line.startswith(" ") else "red")


def _look(spec: Study, plan: FinetunePlan, folder: Path, study_file: Path, console: Console) -> None:
    """Tells what the examples of a study's own data and models are like, where runs are still to be made."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        finished = ledger.statuses().keys()
    left = [item for item in plan.runs() if item.run.fingerprint() not in finished]
    if left and needs_check(spec):
        try:
            check_models(left, folder, partial(_say, console))
            check_examples(left, partial(_say, console))
        except UsageError as error:
            raise with_location(error, study_file) from None


def _progress(spec: Study | PretrainStudy, folder: Path, console: Console, workers: int) -> Progress:
    """What shows the progress, and tells the study's trackers."""
    shown = TerminalProgress(console, workers)
    if not spec.tracking:
        return shown
    return Tracking(shown, spec.tracking, spec.name, folder, partial(_say, console))


def _show_plan(
    spec: Study | PretrainStudy, plan: StudyPlan, folder: Path, gpu_flops: float, console: Console
) -> None:
    """Shows what would run, and its cost."""
    for part in dry_run_view(spec, plan, folder, gpu_flops):
        console.print(part) if isinstance(part, Table) else _say(console, part)


def _look_only(
    spec: Study | PretrainStudy, plan: StudyPlan, folder: Path, study_file: Path, console: Console
) -> int:
    """Looks at the models, methods and examples of all runs, and runs none."""
    if isinstance(spec, Study) and isinstance(plan, FinetunePlan) and needs_check(spec):
        try:
            check_models(plan.runs(), folder if folder.is_dir() else None, partial(_say, console))
            check_examples(plan.runs(), partial(_say, console))
        except UsageError as error:
            raise with_location(error, study_file) from None
    _say(console, f"{spec.name}: models, methods and examples are what they say. Nothing was run.")
    return 0


def _probe(console: Console, plan: StudyPlan, workers: int) -> int:
    """Measures what each kind of run takes on this machine."""
    if not isinstance(plan, FinetunePlan):
        raise UsageError("--probe is for finetuning studies", wanted="kind: finetune", got="kind: pretrain")
    from finescale.study.probe import measure, show  # noqa: PLC0415

    runs = plan.runs()
    try:
        with _sigterm_like_ctrl_c():
            costs, failed = measure(runs, LocalExecutor(workers), console)
    except KeyboardInterrupt:
        _say(console, "\nStopped. Nothing was written.", style="yellow")
        return INTERRUPTED
    show(console, runs, costs, failed, workers)
    return 0


def status(
    target: Path,
    *,
    export: Path | None = None,
    as_json: bool = False,
    watch: bool = False,
    logs: str | None = None,
    console: Console | None = None,
) -> int:
    """Shows how a study stands.

    Args:
        target: A study file, or a study's folder.
        export: Write the records to this .parquet or .csv file.
        as_json: Print JSON.
        watch: Show it anew until the study is complete.
        logs: Show every attempt at this run instead: a fingerprint or its beginning.
        console: Where to print.

    Returns:
        The exit code 0.
    """
    from finescale.study.status import show_logs, show_status  # noqa: PLC0415 - not needed to run

    folder, console = _folder_of(target, to_come=watch), console or _console()
    if logs is not None:
        show_logs(folder, console, logs)
    else:
        show_status(folder, console, export=export, as_json=as_json, watch=watch)
    return 0


def _file_of(target: Path, out: Path | None) -> tuple[Path, Path | None]:
    """The study's file, and the folder that was named with or by it."""
    if not target.is_dir():
        return target, out
    if not (target / COPY).is_file():
        raise UsageError(
            "no study in this folder",
            wanted=COPY,
            got="no such file",
            remedy="name the study file",
            where=str(target),
        )
    return target / COPY, out or target


def _folder_of(target: Path, *, to_come: bool = False) -> Path:
    """The study's folder; one that a driver has yet to make is taken at its word where it is `to_come`."""
    if target.is_dir():
        return target
    if not target.exists() and target.suffix not in (".yaml", ".yml"):
        if to_come:
            return target
        raise UsageError(
            "no such study",
            wanted="a study file (YAML) or a study's folder",
            remedy="folders of studies are under results/ by default",
            where=str(target),
        )
    return RESULTS / load_study(target).name


def _notes(spec: Study | PretrainStudy, *, contents: bool) -> tuple[str, ...]:
    """What to know about a study's data; what is on the hub is not opened to be shown."""
    if isinstance(spec, PretrainStudy):
        return ()
    from finescale.tasks.catalog import open_task  # noqa: PLC0415
    from finescale.tasks.published import on_hub  # noqa: PLC0415

    from_hub = on_hub(spec.task)
    if (from_hub and not contents) or (isinstance(spec.task, str) and not from_hub):
        return ()
    return open_task(spec.task, spec.version).notes  # pyright: ignore[reportArgumentType] - frozen, so it has a hash


def _plan(
    spec: Study | PretrainStudy, folder: Path, text: Path | None, execute: str, *, contents: bool = True
) -> StudyPlan:
    if isinstance(spec, Study):
        if text is not None:
            raise UsageError(
                "--text is for pretraining studies", wanted="kind: pretrain", got="kind: finetune"
            )
        from finescale.study.resolve import resolver  # noqa: PLC0415

        return FinetunePlan(spec, resolver(spec, contents), folder, execute)
    if text is None and contents:
        raise UsageError(
            "a pretraining study needs its text",
            wanted="--text FOLDER",
            got="no --text",
            remedy="give the folder with " + ", ".join(f"{language}.parquet" for language in spec.languages),
        )
    from finescale.study.resolve import pretrain_runs  # noqa: PLC0415

    return PretrainPlan(spec.name, pretrain_runs(spec, text), folder, text or Path(), retries=spec.retries)


def _check_training_libraries() -> None:
    """Refuses to run where only the analysis is installed."""
    missing = [name for name in TRAINING_LIBRARIES if find_spec(name) is None]
    if missing:
        raise UsageError(
            "the libraries that train are not installed",
            wanted=", ".join(TRAINING_LIBRARIES),
            got=f"no {', '.join(missing)}",
            remedy='pip install "finescale[train]" (from a checkout: pip install ".[train]")',
        )


def _make_folder(folder: Path, name: str, study_file: Path) -> None:
    """The study's folder with a copy of its file, unless the folder is another study's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ledger_file = folder / "ledger.sqlite"
        if ledger_file.exists():
            with Ledger(ledger_file) as ledger:
                ledger.belongs_to(name)
        _refuse_links(folder)
        copy = folder / COPY
        if not (copy.exists() and copy.samefile(study_file)):
            aside = folder / f".study.yaml.{os.getpid()}"
            aside.write_bytes(study_file.read_bytes())
            aside.replace(copy)
    except OSError as error:
        raise UsageError(
            "the study's folder cannot be used",
            wanted="a folder that can be written",
            got=str(error),
            remedy=" or ".join(filter(None, (REMEDIES.get(error.errno or 0), "give another one with --out"))),
            where=str(folder),
        ) from None


def _refuse_links(folder: Path) -> None:
    """Refuses links inside the study's folder that would take what runs write out of it."""
    inside = [folder / name for name in WRITTEN]
    runs = folder / "runs"
    if runs.is_dir():
        inside += [Path(entry.path) for entry in os.scandir(runs) if entry.is_symlink()]
    for path in inside:
        if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
            raise UsageError(
                "a link out of the study's folder",
                wanted="a folder of its own, or none",
                got=f"a link to {path.resolve()}",
                remedy="remove the link; to write elsewhere move the whole folder, and name it with --out",
                where=str(path),
            )


@contextmanager
def _sigterm_like_ctrl_c() -> Iterator[None]:
    """A polite end of the process stops the workers and keeps what is finished, as Ctrl-C does."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _console() -> Console:
    """The terminal; where output is piped, lines are wide enough for the tables."""
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, 120))


def _say(console: Console, text: str, style: str | None = None) -> None:
    """Prints prose as it is: no markup or control characters in names, no line breaks where it is piped."""
    console.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)
