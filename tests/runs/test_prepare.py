"""A run's method is made, or refused: never another one in its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from finescale.errors import UsageError
from finescale.runs.prepare import wrap
from finescale.spec.run import MethodSpec


def test_a_method_that_nobody_wraps_is_not_trained_as_full_tuning() -> None:
    spec: Any = SimpleNamespace(method=MethodSpec(name="unheard-of"), seed=0)
    with pytest.raises(UsageError, match="the method `unheard-of` cannot be made"):
        wrap(spec, cast(Any, SimpleNamespace(model=None)))
