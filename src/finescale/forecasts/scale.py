"""Where outcomes are averaged: logs of losses, log odds of bounded scores; lower is better throughout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.records.outcomes import Outcome

Array = np.ndarray[Any, Any]
_EDGE = 1e-4
"""A bounded score is kept so far inside its bounds, as a share of their distance."""
_TINY = 1e-12
_MOST = 690.0


@dataclass(frozen=True)
class OutcomeScale:
    """From an outcome's values to z, where lower is better, and back.

    Attributes:
        outcome: The outcome; its ``scale`` decides.
    """

    outcome: Outcome

    @property
    def kind(self) -> str:
        """``log``, ``logit`` or ``identity``."""
        return self.outcome.scale

    @property
    def name(self) -> str:
        """The scale in words."""
        return {"log": "log", "logit": "log odds", "identity": "the outcome's own scale"}[self.kind]

    def to_z(self, value: Any) -> Array:
        """Values to z; NaN stays NaN."""
        loss = self.to_loss(value)
        if self.kind == "log":
            return np.log(np.maximum(loss, _TINY))
        if self.kind == "logit":
            share = np.clip(loss / self._width, _EDGE, 1 - _EDGE)
            return np.log(share) - np.log1p(-share)
        return loss

    def from_z(self, z: Any) -> Array:
        """Z to values."""
        return self.from_loss(self.z_to_loss(z))

    def z_to_loss(self, z: Any) -> Array:
        """Z to what is lost: the loss itself, the distance from the best bound, or the negated score."""
        z = np.asarray(z, dtype=float)
        if self.kind == "log":
            return np.exp(np.clip(z, -_MOST, _MOST))
        if self.kind == "logit":
            return self._width / (1 + np.exp(np.clip(-z, -_MOST, _MOST)))
        return z

    def slope(self, z: Array) -> Array:
        """How fast z moves with what is lost, at z."""
        loss = self.z_to_loss(z)
        if self.kind == "log":
            return 1 / loss
        if self.kind == "logit":
            return self._width / np.maximum(loss * (self._width - loss), _TINY)
        return np.ones_like(loss)

    def to_loss(self, value: Any) -> Array:
        """Values to what is lost."""
        value = np.asarray(value, dtype=float)
        if self.kind != "logit":
            return value * self.outcome.sign
        return value - self.outcome.low if self.outcome.sign > 0 else self.outcome.high - value

    def from_loss(self, loss: Any) -> Array:
        """What is lost to values."""
        loss = np.asarray(loss, dtype=float)
        if self.kind != "logit":
            return loss * self.outcome.sign
        return self.outcome.low + loss if self.outcome.sign > 0 else self.outcome.high - loss

    @property
    def _width(self) -> float:
        return self.outcome.high - self.outcome.low
