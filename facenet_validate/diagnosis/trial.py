"""The faces that experiments on the input see, and the reference's answers to changed ones."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.causes import together
from facenet_validate.diagnosis.diagnosis import Cause, Finding
from facenet_validate.diagnosis.imitations import Imitation, applied
from facenet_validate.diagnosis.rule import distance, judged, unit

FACES = 24
"""Faces of a trial: half of them to choose and to fit, half to judge."""

FEW = 6
"""Faces on which every fault is looked at first."""


@dataclass(frozen=True, eq=False)
class Trial:
    """Faults of the input, imitated on the reference.

    Rows are compared by direction, since a fault of the input leaves their norms. The faces to
    choose by and those to judge by are different ones.
    """

    case: Case
    _answers: dict[tuple[tuple[Imitation, ...], tuple[int, ...]], NDArray[np.float32]] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if len(self.case.batch) < 4:
            raise ValueError("experiments on the input need four faces or more")

    @property
    def _rows(self) -> NDArray[np.intp]:
        count = len(self.case.batch)
        return np.linspace(0, count - 1, min(FACES, count)).astype(np.intp)

    @property
    def choosing(self) -> NDArray[np.intp]:
        """Rows to choose and to fit by."""
        return self._rows[::2]

    @property
    def few(self) -> NDArray[np.intp]:
        """Some of them."""
        return self.choosing[:: max(1, len(self.choosing) // FEW)][:FEW]

    @property
    def judging(self) -> NDArray[np.intp]:
        """Rows to judge by."""
        return self._rows[1::2]

    def answer(
        self, imitations: tuple[Imitation, ...], rows: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return the reference's embeddings of changed faces."""
        key = (imitations, tuple(rows.tolist()))
        if key not in self._answers:
            changed = applied(imitations, self.case.batch[rows])
            self._answers[key] = self.case.reference.run(changed)
        return self._answers[key]

    def left(self, imitations: tuple[Imitation, ...]) -> float:
        """Return the share of the difference that faults leave on a few faces."""
        rows = self.few
        found = unit(self.case.found[rows])
        before = distance(found, self.case.expected[rows])
        after = distance(found, self.answer(imitations, rows))
        return after / before if before > 0 else np.inf

    def finding(
        self, imitations: tuple[Imitation, ...], *, rows: NDArray[np.intp] | None = None
    ) -> Finding:
        """Return what faults explain, on the faces to judge by."""
        rows = self.judging if rows is None else rows
        return judged(
            cause_of(imitations),
            unit(self.case.found[rows]),
            self.case.expected[rows],
            self.answer(imitations, rows),
            self.case.engine.info.precision,
            "; ".join(one.detail for one in imitations if one.detail),
        )


def cause_of(imitations: tuple[Imitation, ...]) -> Cause:
    """Return the cause that several faults are together."""
    named = [one.cause for one in imitations if one.cause.name]
    cause = named[0]
    for one in named[1:]:
        cause = together(cause, one)
    return cause
