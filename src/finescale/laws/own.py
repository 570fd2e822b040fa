"""A law of one's own on the command line: ``--law my_laws:NAME`` or ``--law path/my_laws.py:NAME``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from finescale.errors import UsageError, nearest
from finescale.laws.law import Law


def law_of(option: str) -> str | Law:
    """What ``--law`` means: a name as it is, or the law that the user's module or file defines.

    Args:
        option: A law's name, ``MODULE:NAME`` (found as Python finds modules, the current folder first) or
            ``FILE.py:NAME``. The module's code runs, as with ``python -m``.

    Raises:
        UsageError: No such file, module or name; code that fails; something that is no law.

    Example:
        >>> law_of("multiplicative")
        'multiplicative'
    """
    if ":" not in option:
        return option
    where, _, name = option.rpartition(":")
    flag = f"--law {option}"
    if not where or not name:
        raise UsageError(flag, wanted="MODULE:NAME or FILE.py:NAME", got=option)
    module = _from_file(Path(where), flag) if where.endswith(".py") else _from_module(where, flag)
    laws = {key: value for key, value in vars(module).items() if isinstance(value, Law)}
    if name in laws:
        return laws[name]
    if hasattr(module, name):
        raise UsageError(
            f"{flag}: `{name}` is not a law",
            wanted="a function under @finescale.law(linear=..., nonlinear=...)",
            got=type(getattr(module, name)).__name__,
        )
    have = ", ".join(laws) or "no law"
    raise UsageError(
        f"{flag}: no law `{name}`", wanted=f"one of {where}'s laws", got=have, remedy=nearest(name, laws)
    )


def _from_file(path: Path, flag: str) -> ModuleType:
    if not path.is_file():
        raise UsageError(flag, wanted="a Python file", got=f"no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _code_error(flag, error) from error
    return module


def _from_module(name: str, flag: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise _code_error(flag, error) from error
        wanted = "a module that Python finds from the current folder, or a file: FILE.py:NAME"
        raise UsageError(flag, wanted=wanted, got=f"no module {error.name}") from None
    except Exception as error:
        raise _code_error(flag, error) from error


def _code_error(flag: str, error: Exception) -> UsageError:
    """The error for code that does not run; an error of finescale's in it speaks for itself."""
    if isinstance(error, UsageError):
        return error.at(flag)
    return UsageError(flag, wanted="code that can be imported", got=f"{type(error).__name__}: {error}")
