"""Runs of MLflow: a tracking server, a local store of files (``mlruns``) or of SQLite; read by its client."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.sources.kind import Kind, Tree, is_sqlite, needs, sqlite_tables, table_of, told_apart

_TABLES = {"experiments", "runs", "latest_metrics", "params"}
_META = "meta.yaml"
_PAGE = 1000
_SERVER = re.compile(r"(?P<uri>https?://[^#]+?)/?(?:#/experiments/(?P<experiment>\d+).*)?")


def read_store(source: Path | str, places: Sequence[Path]) -> RawTable:
    """The runs of a store, each with its parameters, tags and the last value of each metric.

    Args:
        source: A folder or file with a store; or the address of a server, with an experiment's page or not.
        places: The stores below the folder.

    Raises:
        UsageError: The package is not installed; a store that it cannot read; no run.
    """
    experiment = None
    if places:
        uris = [_uri(place) for place in places]
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
    else:
        text, folder = str(source), None
        found = _SERVER.fullmatch(text)
        uris, experiment = [found["uri"] if found else text], found["experiment"] if found else None
    rows: list[dict[str, Any]] = []
    for uri in uris:
        rows += _runs(uri, experiment)
    if not rows:
        raise UsageError("no run in this store of MLflow", wanted="runs that logged", where=str(source))
    rows = told_apart(rows, "mlflow_experiment")
    return RawTable(table_of(rows), str(source), 1, folder, (f"{source} holds {len(rows)} runs of MLflow.",))


def _runs(uri: str, experiment: str | None) -> list[dict[str, Any]]:
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # plain files are read where they are
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # a server that is not there is told soon
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - an extra
    except ImportError:
        raise needs("mlflow (or mlflow-skinny)", "mlflow", "a store of MLflow") from None
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    try:
        client = MlflowClient(tracking_uri=uri)
        known = {one.experiment_id: one.name for one in _pages(client.search_experiments)}
        asked = [experiment] if experiment else list(known)
        runs = _pages(lambda **page: client.search_runs(asked, **page)) if asked else []
    except Exception as error:  # whatever the store, its driver or the network says
        raise UsageError(
            "MLflow cannot read this store", got=(str(error).splitlines() or [type(error).__name__])[0],
            where=uri,
        ) from None  # fmt: skip
    return [_row(run, known.get(run.info.experiment_id, run.info.experiment_id)) for run in runs]


def _pages(search: Any) -> list[Any]:
    found: list[Any] = []
    token = None
    while True:
        page = search(max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _row(run: Any, experiment: str) -> dict[str, Any]:
    """One run under the names that ``search_runs`` gives its columns."""
    row = {"run_id": run.info.run_id, "run_name": run.info.run_name, "status": run.info.status}
    row |= {"mlflow_experiment": experiment}
    row |= {f"params.{name}": value for name, value in run.data.params.items()}
    row |= {f"metrics.{name}": value for name, value in run.data.metrics.items()}
    return row | {
        f"tags.{name}": value for name, value in run.data.tags.items() if not name.startswith("mlflow.")
    }


def _uri(place: Path) -> str:
    absolute = place.absolute()
    return absolute.as_uri() if place.is_dir() else f"sqlite:///{absolute}"


def _stores(tree: Tree) -> list[Path]:
    """Stores of files (a run has ``meta.yaml``, ``metrics`` and ``params``), and databases."""
    found = {
        place.parent.parent
        for place, files in tree.folders.items()
        if _META in files and {place / "metrics", place / "params"} & tree.folders.keys()
    }
    return sorted(found) + [file for file, tables in tree.databases.items() if tables >= _TABLES]


KIND = Kind(
    name="mlflow",
    title="runs of MLflow",
    places=_stores,
    read=read_store,
    is_file=lambda file: is_sqlite(file) and sqlite_tables(file) >= _TABLES,
    is_address=lambda text: (
        re.match(r"(https?|sqlite|postgresql|mysql|databricks)\b.*:", text) is not None
        and "wandb.ai" not in text
    ),
)
