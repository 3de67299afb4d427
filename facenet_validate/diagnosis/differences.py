"""How far the tensors of an operator are apart: sums over all faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facenet_validate.diagnosis.emulation import Values

LIMIT = 200.0
"""Decibels that stand for no noise at all, and with a minus for values that are not finite."""


@dataclass
class Difference:
    """What a tensor of an engine has in common with the model's, summed batch by batch."""

    _signal: float = 0.0
    _power: float = 0.0
    _product: float = 0.0
    _noise: float = 0.0
    _finite: bool = True

    def add(self, wanted: Values, found: Values) -> None:
        """Add a batch: the model's values, and the engine's in the model's unit."""
        if wanted.shape != found.shape or not np.isfinite(found).all():
            self._finite = False
            return
        model, engine = wanted.ravel(), found.ravel()
        self._signal += float(model @ model)
        self._power += float(engine @ engine)
        self._product += float(model @ engine)
        gap = model - engine
        self._noise += float(gap @ gap)

    @property
    def sqnr(self) -> float:
        """10 log10 of the model's power over the difference's, in dB."""
        if not self._finite:
            return -LIMIT
        if self._noise <= 0 or self._signal <= 0:
            return LIMIT if self._noise <= 0 else -LIMIT
        return float(np.clip(10 * np.log10(self._signal / self._noise), -LIMIT, LIMIT))

    @property
    def cosine(self) -> float:
        """The cosine of the two, all faces as one vector; 0 where one of them is zero."""
        powers = self._signal * self._power
        return self._product / powers**0.5 if self._finite and powers > 0 else 0.0
