"""Where a study's results are: under `FINESCALE_RESULTS`, in `results` here, or beside the study file."""

from __future__ import annotations

import os
from pathlib import Path

from finescale.errors import UsageError

VARIABLE = "FINESCALE_RESULTS"
"""Environment variable: the folder that holds the folders of all studies."""
RESULTS = "results"
COPY = "study.yaml"
"""The copy of the study file in a study's folder."""
ORIGIN = "study.origin"
"""Beside the copy: the folder of the study file, to which the paths in it are relative."""
LEDGER = "ledger.sqlite"
STUDY_FILES = (".yaml", ".yml")


def study_folder(name: str, study_file: Path | None = None) -> Path:
    """The folder of a study's results, where nobody names one.

    Args:
        name: The study's name.
        study_file: Its file; None for a study that has none.

    Returns:
        A folder that holds this study already: under `FINESCALE_RESULTS` where that is set; else
        `results/NAME` in the current folder, beside the study file, or beside the file's folder. Where there
        is none yet, the first of these, in which the study will begin.

    Raises:
        UsageError: Several folders hold a study of this name, and not just one of them ran this file last.

    Example:
        >>> str(study_folder("nano", Path("studies/nano.yaml")))
        'results/nano'
    """
    root = os.environ.get(VARIABLE)
    if root:
        return Path(root).expanduser() / name
    here = Path(RESULTS) / name
    beside = [] if study_file is None else [*study_file.absolute().parents][:2]
    places = {place.resolve(): place for place in [*(folder / RESULTS / name for folder in beside), here]}
    begun = [place for place in places.values() if (place / LEDGER).is_file()]
    if len(begun) > 1 and study_file is not None:
        begun = [place for place in begun if _ran_last(study_file, place)] or begun
    if len(begun) > 1:
        raise UsageError(
            f"several folders hold a study {name!r}",
            wanted="one folder",
            got=", ".join(map(str, begun)),
            remedy="name the folder that you mean, or remove the other",
            where=str(study_file or name),
        )
    return begun[0] if begun else here


def base_folder(study_file: Path) -> Path:
    """The folder to which a study's paths are relative: its file's, of a copy that of the file copied."""
    if study_file.name == COPY:
        try:
            origin = Path((study_file.parent / ORIGIN).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError):
            return study_file.parent
        if origin.is_absolute() and origin.is_dir():
            return origin
    return study_file.parent


def _ran_last(study_file: Path, folder: Path) -> bool:
    """Whether the study in a folder was last run from a file with this content."""
    try:
        return (folder / COPY).read_bytes() == study_file.read_bytes()
    except OSError:
        return False
