"""The faces that experiments on the input see, and the reference's answers to changed ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Finding
from facenet_validate.diagnosis.imitations import Faults, applied, cause_of, detail_of
from facenet_validate.diagnosis.rule import comparable, distance, judged, unit

FACES = 20
"""Faces of a trial: half of them to choose and to fit by, half to judge by."""

FEW = 4
"""Faces on which the better faults are chosen, and numbers are fitted."""

FIRST = 2
"""Some of them, on which every fault is looked at first."""

Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Trial:
    """Faults of the input, imitated on the reference.

    Rows are compared by direction, since a fault of the input leaves their norms. The faces to
    choose by and those to judge by are different ones.
    """

    case: Case

    def __post_init__(self) -> None:
        if len(self.case.batch) < 4:
            raise EngineError("experiments on the input need four faces or more")
        comparable(self.case)

    @cached_property
    def _rows(self) -> Indices:
        count = len(self.case.batch)
        return np.linspace(0, count - 1, min(FACES, count)).astype(np.intp)

    @cached_property
    def few(self) -> Indices:
        """Rows to choose and to fit by."""
        return self._rows[::2][:: max(1, len(self._rows) // (2 * FEW))][:FEW]

    @property
    def first(self) -> Indices:
        """Rows to look at every fault by."""
        return self.few[:FIRST]

    @cached_property
    def judging(self) -> Indices:
        """Rows to judge by."""
        return self._rows[1::2]

    def answers(self, faults: Faults, rows: Indices) -> NDArray[np.float32]:
        """Return the reference's embeddings of changed faces."""
        return self.case.answers(applied(faults, self.case.batch[rows]))

    def directions(self, faults: Faults, rows: Indices) -> NDArray[np.float64]:
        """Return the reference's embeddings of changed faces, of length 1."""
        return unit(self.answers(faults, rows))

    def left(self, faults: Faults, rows: Indices | None = None) -> float:
        """Return what faults leave on a few faces, as a share.

        Of the difference, or of what tells the engine's faces apart where that is less: where all
        faces lie together, an imitation is near to them long before it follows them.
        """
        rows = self.few if rows is None else rows
        found = unit(self.case.found[rows])
        spread = distance(found, np.broadcast_to(found.mean(axis=0), found.shape))
        before = min(spread, distance(found, self.directions((), rows)))
        after = distance(found, self.directions(faults, rows))
        return after / before if before > 0 else np.inf

    def finding(self, faults: Faults, *, rows: Indices | None = None) -> Finding:
        """Return what faults explain, on the faces to judge by or on others."""
        rows = self.judging if rows is None else rows
        return judged(
            cause_of(faults),
            unit(self.case.found[rows]),
            self.case.expected[rows],
            self.answers(faults, rows),
            self.case.engine.info.precision,
            detail_of(faults),
        )
