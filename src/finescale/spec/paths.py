"""The files and folders that a study file names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from finescale.errors import UsageError


def rooted(folder: Path, stated: str, where: str) -> Path:
    """A file or folder of the user's, relative to the study file's folder; it need not exist.

    Args:
        folder: The study file's folder.
        stated: What the study says; an absolute path and `~` mean what they say.
        where: The field, for the error.

    Raises:
        UsageError: No file can have such a name.
    """
    try:
        path = (folder.absolute() / Path(stated).expanduser()).resolve()
        path.exists()  # what no file can be called is an error of the system, here and nowhere later
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            "no name of a file",
            wanted="a path, relative to the study file",
            got=f"{stated[:120]!r} ({getattr(error, 'strerror', None) or error})",
            where=where,
        ) from None
    return path


def exists(stated: str | Path) -> bool:
    """Whether a file or folder is called so; what no file can be called is none."""
    try:
        return Path(stated).exists()
    except (OSError, ValueError):
        return False


def is_inside(stated: str) -> bool:
    """Whether a relative path stays in the folder that it is relative to, as far as its text tells."""
    return not (stated.startswith(("/", "~", "\\")) or ".." in PurePosixPath(stated.replace("\\", "/")).parts)
