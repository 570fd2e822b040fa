"""Studies of Optuna in a storage: a row a trial, as ``trials_dataframe`` has them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.sources.kind import Kind, begins, is_sqlite, needs, sqlite_tables, table_of, told_apart

_TABLES = {"studies", "trials", "trial_params"}
_JOURNAL = re.compile(rb'\{"op_code": ?0, ?"worker_id"')


def read_storage(source: Path | str, places: Sequence[Path]) -> RawTable:
    """The trials of every study of a storage.

    Args:
        source: A folder or file with storages; or a storage's address (``sqlite:///trials.db``).
        places: The storages' files.

    Raises:
        UsageError: The package is not installed; a storage that it cannot read; no trial.
    """
    rows: list[dict[str, Any]] = []
    for place in places or (str(source),):
        rows += _trials(place)
    if not rows:
        raise UsageError("no trial in this storage of Optuna", wanted="trials that ran", where=str(source))
    many = len({row["optuna_study"] for row in rows})
    folder = (Path(source) if Path(source).is_dir() else Path(source).parent) if places else None
    note = f"{source} holds {len(rows)} trials of Optuna, of {many} studies."
    return RawTable(table_of(told_apart(rows, "optuna_study")), str(source), 1, folder, (note,))


def _trials(place: Path | str) -> list[dict[str, Any]]:
    try:
        import optuna  # noqa: PLC0415 - an extra
    except ImportError:
        raise needs("optuna", "optuna", "a storage of Optuna") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage: Any = place
        if isinstance(place, Path) and is_sqlite(place):
            storage = f"sqlite:///{place.absolute()}"
        elif isinstance(place, Path):
            from optuna.storages import JournalStorage, journal  # noqa: PLC0415

            storage = JournalStorage(journal.JournalFileBackend(str(place)))
        studies = [
            optuna.load_study(study_name=name, storage=storage)
            for name in optuna.get_all_study_names(storage)
        ]
        return [_row(trial, study) for study in studies for trial in study.get_trials(deepcopy=False)]
    except Exception as error:  # whatever the storage or its driver says
        raise UsageError(
            "Optuna cannot read this storage",
            got=(str(error).splitlines() or [type(error).__name__])[0], where=str(place),
        ) from None  # fmt: skip


def _row(trial: Any, study: Any) -> dict[str, Any]:
    """One trial; a study of several objectives has ``values_0``, ``values_1`` ... or its metrics' names."""
    row = {"optuna_study": study.study_name, "number": trial.number, "state": trial.state.name}
    values = trial.values or []
    names = study.metric_names or (["value"] if len(study.directions) == 1 else None)
    names = names or [f"values_{at}" for at in range(len(study.directions))]
    row |= dict(zip(names, values, strict=False))
    row |= {f"params_{name}": value for name, value in trial.params.items()}
    return row | {
        f"user_attrs_{name}": value for name, value in trial.user_attrs.items()
        if isinstance(value, str | int | float | bool)
    }  # fmt: skip


KIND = Kind(
    name="optuna",
    title="studies of Optuna",
    places=lambda tree: (
        [file for file, tables in tree.databases.items() if tables >= _TABLES]
        + [file for file in tree.files(lambda name: name.endswith((".log", ".journal"))) if _is_journal(file)]
    ),
    read=read_storage,
    is_file=lambda file: (is_sqlite(file) and sqlite_tables(file) >= _TABLES) or _is_journal(file),
    is_address=lambda text: re.match(r"(sqlite|postgresql|mysql)\b.*://", text) is not None,
)


def _is_journal(file: Path) -> bool:
    return _JOURNAL.match(begins(file, 64)) is not None
