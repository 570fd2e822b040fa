"""From a study, of a file or of Python, to what the runner drives: plan, a look at the data, folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from finescale.errors import UsageError
from finescale.spec.places import COPY, LEDGER, ORIGIN
from finescale.spec.study import PretrainStudy, Study
from finescale.study.example_check import check_examples, needs_check
from finescale.study.filesystem import REMEDIES
from finescale.study.ledger import Ledger
from finescale.study.model_check import check_models
from finescale.study.plan import EXECUTE, FinetunePlan, PretrainPlan, StudyPlan
from finescale.study.tracking import check_trackers

TRAINING_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "safetensors")
WRITTEN = ("runs", "tokens", "tracking", "report")
"""Folders inside the study's that are written to."""


def open_plan(
    spec: Study | PretrainStudy,
    folder: Path,
    *,
    text: Path | None = None,
    execute: str = EXECUTE,
    shown: bool = False,
    retune: bool = False,
) -> StudyPlan:
    """A study's plan; refuses what could not run.

    Args:
        spec: The study.
        folder: Its folder; it need not exist.
        text: Folder with the pretraining text (`kind: pretrain`).
        execute: `module:function` that executes a finetuning run.
        shown: The plan is only shown: neither weights nor data of the hub are opened, unless the study has
            begun in the folder; only contents tell which of its runs are done.
        retune: Check the chosen learning rates at the study's corners.

    Raises:
        UsageError: Libraries, models, methods or data that are not there or not what they say; `where` is the
            study's field.
    """
    if not shown:
        check_training_libraries()
        check_trackers(spec.tracking)
    if isinstance(spec, Study):
        if text is not None:
            raise UsageError(
                "--text is for pretraining studies", wanted="kind: pretrain", got="kind: finetune"
            )
        from finescale.study.resolve import resolver  # noqa: PLC0415 - opens tasks and models

        contents = not shown or (folder / LEDGER).is_file()
        _check_retune(spec, retune)
        return FinetunePlan(spec, resolver(spec, contents), folder.absolute(), execute, retune=retune)
    if retune:
        raise UsageError(
            "--retune is for finetuning studies",
            wanted="kind: finetune",
            got="kind: pretrain",
            where="--retune",
        )
    if text is None and not shown:
        raise UsageError(
            "a pretraining study needs its text",
            wanted="--text FOLDER",
            got="no --text",
            remedy="give the folder with " + ", ".join(f"{language}.parquet" for language in spec.languages),
        )
    from finescale.study.resolve import pretrain_runs  # noqa: PLC0415

    runs = pretrain_runs(spec, text)
    return PretrainPlan(spec.name, runs, folder.absolute(), text or Path(), retries=spec.retries)


def _check_retune(spec: Study, retune: bool) -> None:
    """Refuses to check rates of which none was swept."""
    if retune and not any(len(spec.candidates(method)) > 1 for method in spec.methods()):
        raise UsageError(
            "no learning rate of this study is swept",
            wanted="several rates in learning_rates, whose choice can be checked",
            got="one rate for every method",
            remedy="state several rates and a sweep, or run without --retune",
            where="--retune",
        )


def data_notes(spec: Study | PretrainStudy, *, shown: bool = False) -> tuple[str, ...]:
    """What to know about a study's data; what is on the hub is not opened where it is only `shown`."""
    if isinstance(spec, PretrainStudy):
        return ()
    from finescale.tasks.catalog import open_task  # noqa: PLC0415
    from finescale.tasks.published import on_hub  # noqa: PLC0415

    from_hub = on_hub(spec.task)
    if (from_hub and shown) or (isinstance(spec.task, str) and not from_hub):
        return ()
    return open_task(spec.task, spec.version).notes  # pyright: ignore[reportArgumentType] - frozen, so it has a hash


def check_contents(
    spec: Study, plan: FinetunePlan, folder: Path, say: Callable[[str], None], *, left: bool = False
) -> None:
    """Looks at the models, methods and examples of a study that brings its own, and tells what it found.

    Args:
        spec: The study.
        plan: Its plan.
        folder: The study's folder; what was found is remembered there where it exists.
        say: Prints a sentence.
        left: Only those of runs that are not finished.

    Raises:
        UsageError: One of them is not what it says.
    """
    runs = plan.runs()
    if left:
        with Ledger(folder / LEDGER) as ledger:
            finished = ledger.statuses().keys()
        runs = [item for item in runs if item.run.fingerprint() not in finished]
    if runs and needs_check(spec):
        check_models(runs, folder if folder.is_dir() else None, say)
        check_examples(runs, say)


def check_training_libraries() -> None:
    """Refuses to run where only the analysis is installed."""
    missing = [name for name in TRAINING_LIBRARIES if find_spec(name) is None]
    if missing:
        raise UsageError(
            "the libraries that train are not installed",
            wanted=", ".join(TRAINING_LIBRARIES),
            got=f"no {', '.join(missing)}",
            remedy='pip install "finescale[train]" (from a checkout: pip install ".[train]")',
        )


def make_folder(folder: Path, name: str, text: bytes, base: Path | None = None) -> None:
    """The study's folder with a copy of its file, unless the folder is another study's.

    Args:
        folder: The folder.
        name: The study's name.
        text: The study as YAML.
        base: The folder to which the paths in it are relative; None: they are absolute.

    Raises:
        UsageError: It is another study's, cannot be written, or has a link out of it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / LEDGER).exists():
            with Ledger(folder / LEDGER) as ledger:
                ledger.belongs_to(name)
        _refuse_links(folder)
        kept = {COPY: text} | ({ORIGIN: f"{base.absolute()}\n".encode()} if base is not None else {})
        for file, data in kept.items():
            copy = folder / file
            if not (copy.exists() and copy.read_bytes() == data):
                aside = folder / f".{file}.{os.getpid()}"
                aside.write_bytes(data)
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
