"""What `finescale run` and `finescale status` do. Loads no torch: worker processes do."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from finescale.cli import terminal
from finescale.cli.terminal import say
from finescale.errors import UsageError
from finescale.executors.attempt_log import LEVELS
from finescale.executors.backends import check, open_executor
from finescale.executors.local import LocalExecutor
from finescale.executors.machine import usable_cores
from finescale.front.deciding import UntilDecided
from finescale.front.deciding import until_decided as decider
from finescale.spec.file import load_study, with_location
from finescale.spec.places import COPY, STUDY_FILES, base_folder, study_folder
from finescale.spec.study import PretrainStudy, Study
from finescale.study.dry_run import GPU_FLOPS, dry_run_view
from finescale.study.example_check import truncation_warnings
from finescale.study.export import records_frame
from finescale.study.failures import failure_lines
from finescale.study.ledger import Ledger
from finescale.study.opening import check_contents, data_notes, make_folder, open_plan
from finescale.study.plan import EXECUTE, FinetunePlan, StudyPlan
from finescale.study.progress import Progress, TerminalProgress
from finescale.study.tracking import Tracking

if TYPE_CHECKING:
    from finescale.study.runner import Summary

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
    retune: bool = False,
    executor: str = "local",
    address: str | None = None,
    gpu_flops: float = GPU_FLOPS,
    log_level: str = "info",
    quiet: bool = False,
    until_decided: str | None = None,
    sure: float | None = None,
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
        probe: Only show what would run and how long, measured on a few steps of each kind of run.
        text: Folder with the pretraining text (`kind: pretrain`).
        retry_failed: Run failed runs again.
        retry_diverged: Run diverged runs again.
        retune: Check the chosen learning rates at the study's corners, and run what follows from that.
        executor: Where runs are executed, one of `executors.backends.EXECUTORS`.
        address: The Ray cluster's address (default: this machine's, or a new one).
        gpu_flops: FLOP/s that one GPU sustains, for the dry run's GPU-hours.
        log_level: The lowest level of messages in the runs' logs: debug, info, warning or error.
        quiet: Print nothing but what went wrong.
        until_decided: The question at whose answer the study stops (`front.deciding`).
        sure: The probability of being best at which it is answered.
        execute: `module:function` that executes a finetuning run.
        console: Where to print.

    Returns:
        The exit code: 0; 3 where some runs failed or diverged, 4 where none is done; 130 after Ctrl-C.
    """
    console = console or terminal.console()
    meanwhile = Console(quiet=True) if quiet else console
    go_on = shlex.join(["finescale", "run", str(study_file), *(["--out", str(out)] if out else [])])
    study_file, out = _file_of(study_file, out)
    spec = load_study(study_file)
    _check_options(workers, gpu_flops, log_level)
    check(executor, address)
    folder = out or study_folder(spec.name, study_file)
    if out is None and folder.is_absolute():  # found, not told
        say(meanwhile, f"{spec.name}: its results are in {folder}")
    shown = dry_run and not probe
    try:
        plan = open_plan(spec, folder, text=text, execute=execute, shown=shown, retune=retune)
    except UsageError as error:
        raise with_location(error, study_file) from None
    chooser = _chooser(spec, plan, until_decided, sure, meanwhile)
    for note in data_notes(spec, shown=shown):
        say(meanwhile, note)
    if look:
        _look(spec, plan, folder, study_file, console)
        say(console, f"{spec.name}: models, methods and examples are what they say. Nothing was run.")
        return 0
    if dry_run or probe:
        _show_plan(spec, plan, folder, gpu_flops, console)
        return _probe(console, plan, workers or usable_cores()) if probe else 0
    from finescale.study.runner import run_study  # noqa: PLC0415 - after the checks

    make_folder(folder, spec.name, study_file.read_bytes(), base_folder(study_file))
    if execute == EXECUTE:
        _look(spec, plan, folder, study_file, meanwhile, left=True)
    _retry(folder, retry_failed, retry_diverged, meanwhile)
    try:
        with _sigterm_like_ctrl_c():
            where, size, notes = open_executor(executor, plan, folder, address=address, workers=workers)
            for note in notes:
                say(meanwhile, note)
            progress = _progress(spec, folder, meanwhile, size)
            summary = run_study(plan, folder, where, progress=progress, log_level=log_level, chooser=chooser)
    except KeyboardInterrupt:
        say(console, "\nStopped. Everything finished is kept; the same command continues.", style="yellow")
        return INTERRUPTED
    _show_end(console, spec, folder, summary, quiet=quiet)
    for words in chooser.words(f"`{go_on}`") if chooser is not None else ():
        say(meanwhile, words)
    return summary.exit_code


def _check_options(workers: int | None, gpu_flops: float, log_level: str) -> None:
    """Refuses options that cannot be meant."""
    if workers is not None and workers < 1:
        raise UsageError("no workers", wanted="at least 1", got=str(workers), where="--workers")
    if not gpu_flops > 0:
        raise UsageError("no speed", wanted="FLOP/s above 0", got=str(gpu_flops), where="--gpu-flops")
    if log_level not in LEVELS:
        wanted = ", ".join(LEVELS)
        raise UsageError("unknown level", wanted=f"one of {wanted}", got=log_level, where="--log-level")


def _chooser(
    spec: Study | PretrainStudy, plan: StudyPlan, asked: str | None, sure: float | None, console: Console
) -> UntilDecided | None:
    """What chooses the runs until a question is decided; None where none is asked."""
    if asked is not None:
        return decider(spec, plan, asked, sure=sure, say=partial(say, console))
    if sure is not None:
        raise UsageError("a probability of nothing", wanted="--until-decided QUESTION", where="--sure")
    return None


def _retry(folder: Path, failed: bool, diverged: bool, console: Console) -> None:
    """Makes failed or diverged runs pending again."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        if failed:
            say(console, f"{ledger.retry('failed')} failed runs will be tried again")
        if diverged:
            say(console, f"{ledger.retry('diverged')} diverged runs will be tried again")


def _show_end(
    console: Console, spec: Study | PretrainStudy, folder: Path, summary: Summary, *, quiet: bool
) -> None:
    """How many runs ended how, what was cut of their examples, and last what went wrong."""
    if quiet and not summary.exit_code:
        return
    words = ", ".join(f"{count} {status}" for status, count in sorted(summary.counts.items()))
    say(console, f"{spec.name}: {words} ({summary.made} made now). Records: {folder / 'records.parquet'}")
    if isinstance(spec, Study):
        with Ledger(folder / "ledger.sqlite") as ledger:
            for sentence in truncation_warnings(records_frame(ledger), spec.version):
                say(console, sentence)
    if summary.orphans:
        say(console, f"{summary.orphans} finished runs are no longer in the study: finescale status {folder}")
    for problem in summary.problems:
        say(console, str(problem), style="red")
    for line in failure_lines(summary.failures, folder):
        say(console, line, style=None if line.startswith(" ") else "red")


def _progress(spec: Study | PretrainStudy, folder: Path, console: Console, workers: int) -> Progress:
    """What shows the progress, and tells the study's trackers."""
    shown = TerminalProgress(console, workers)
    if not spec.tracking:
        return shown
    return Tracking(shown, spec.tracking, spec.name, folder, partial(say, console))


def _show_plan(
    spec: Study | PretrainStudy, plan: StudyPlan, folder: Path, gpu_flops: float, console: Console
) -> None:
    """Shows what would run, and its cost."""
    for part in dry_run_view(spec, plan, folder, gpu_flops):
        console.print(part) if isinstance(part, Table) else say(console, part)


def _look(
    spec: Study | PretrainStudy,
    plan: StudyPlan,
    folder: Path,
    study_file: Path,
    console: Console,
    *,
    left: bool = False,
) -> None:
    """Looks at the models, methods and examples; an error is told with its line of the study file."""
    if isinstance(plan, FinetunePlan) and isinstance(spec, Study):
        try:
            check_contents(spec, plan, folder, partial(say, console), left=left)
        except UsageError as error:
            raise with_location(error, study_file) from None


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
        say(console, "\nStopped. Nothing was written.", style="yellow")
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

    folder, console = _folder_of(target, to_come=watch), console or terminal.console()
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
    if not target.exists() and target.suffix not in STUDY_FILES:
        if to_come:
            return target
        raise UsageError(
            "no such study",
            wanted="a study file (YAML) or a study's folder",
            remedy="folders of studies are under results/ by default",
            where=str(target),
        )
    return study_folder(load_study(target).name, target)


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
