"""finescale: which finetuning method, which model size and how much data - with intervals."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_STUB = Path(__file__).with_name("__init__.pyi").read_text(encoding="utf-8")
_PUBLIC = {
    name: (module, original)
    for module, original, name in re.findall(r"^from (\S+) import (\w+) as (\w+)$", _STUB, re.MULTILINE)
}
"""Where each public name is defined. The stub is the one list of them: for editors and for `__getattr__`."""
__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604 - names that __getattr__ finds


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: `import finescale` loads nothing heavy."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'finescale' has no attribute '{name}'")
    module, original = _PUBLIC[name]
    return getattr(import_module(module), original)


def __dir__() -> list[str]:
    return __all__
