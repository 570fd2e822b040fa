"""The files and folders that a study file names."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from finescale.errors import UsageError


def resolve_path(folder: Path, stated: str, where: str) -> Path:
    """The absolute path of what a study file states relative to its folder; it need not exist.

    Args:
        folder: The study file's folder.
        stated: What the study says; an absolute path and `~` mean what they say.
        where: The field, for the error.

    Raises:
        UsageError: No file can have such a name.
    """
    try:
        path = (folder.absolute() / Path(stated).expanduser()).resolve()
        path.exists()  # a name that the file system cannot hold raises here, and nowhere later
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            "not a valid path",
            wanted="a path, relative to the study file",
            got=f"{stated[:120]!r} ({getattr(error, 'strerror', None) or error})",
            where=where,
        ) from None
    return path


def exists(stated: str | Path) -> bool:
    """Whether the path exists; False for a name that the file system cannot hold."""
    try:
        return Path(stated).exists()
    except (OSError, ValueError):
        return False


def is_inside(stated: str) -> bool:
    """Whether a relative path stays in the folder that it is relative to, as far as its text tells."""
    return not (stated.startswith(("/", "~", "\\")) or ".." in PurePosixPath(stated.replace("\\", "/")).parts)
