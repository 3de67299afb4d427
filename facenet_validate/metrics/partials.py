"""What the comparison of some stripes found: partial results that add up exactly.

Counts are integers, and weights whole multiples of a power of two: they add up in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.limits import Limits


@dataclass(frozen=True, eq=False)
class Measured:
    """Comparisons one by one, in the order of template and probe.

    Attributes
    ----------
    distances : (M,) float64 array
        Squared L2.
    left, right : (M,) int32 arrays
        Rows of the template and of the probe.

    Examples
    --------
    >>> found = Measured.of(np.array([4.0, 1.0]), np.array([2, 0]), np.array([3, 1]))
    >>> found.distances.tolist(), found.below(2.0).left.tolist()
    ([1.0, 4.0], [0])
    """

    distances: NDArray[np.float64]
    left: NDArray[np.int32]
    right: NDArray[np.int32]

    @classmethod
    def of(
        cls,
        distances: NDArray[np.float64],
        left: NDArray[np.integer],
        right: NDArray[np.integer],
    ) -> Measured:
        """Put comparisons into order."""
        key = (left.astype(np.int64) << 32) | right
        if not (np.diff(key) > 0).all():
            order = np.argsort(key)
            distances, left, right = distances[order], left[order], right[order]
        return cls(distances, left.astype(np.int32), right.astype(np.int32))

    @classmethod
    def joined(cls, parts: Iterable[Measured]) -> Measured:
        """Put several together."""
        parts = list(parts)
        return cls.of(
            np.concatenate([np.empty(0), *(part.distances for part in parts)]),
            np.concatenate([np.empty(0, np.int32), *(part.left for part in parts)]),
            np.concatenate([np.empty(0, np.int32), *(part.right for part in parts)]),
        )

    def __len__(self) -> int:
        return len(self.distances)

    def below(self, limit: float) -> Measured:
        """Return the comparisons below a distance."""
        near = self.distances < limit
        if near.all():
            return self
        return Measured(self.distances[near], self.left[near], self.right[near])


@dataclass(frozen=True, eq=False)
class Partial:
    """What some stripes found.

    Attributes
    ----------
    genuine : Measured
        Every genuine comparison.
    kept : Measured
        Every impostor below ``kept_bins`` bins.
    kept_bins : int
    counts : (bins,) int64 array
        Impostors in each bin.
    weights : (bins,) int64 array
        Their weight, in multiples of 2^−bits.
    of_person : (marks, I) int64 array
        Weight of each person's impostors below each mark, in multiples of 2^−bits.
    accepts : (I,) int64 array
        Impostors of each person below the threshold.
    accepted : int
        Their weight, in multiples of 2^−bits.
    """

    genuine: Measured
    kept: Measured
    kept_bins: int
    counts: NDArray[np.int64]
    weights: NDArray[np.int64]
    of_person: NDArray[np.int64]
    accepts: NDArray[np.int64]
    accepted: int


def add(partials: Iterable[Partial], limits: Limits) -> Partial:
    """Add partial results. The sum does not depend on their order, nor on how they are grouped.

    Of the pairs that are kept one by one, whole bins are dropped from the last one on until at most
    ``limits.most_kept`` are left. Counts and weights of these bins stay.

    Parameters
    ----------
    partials : iterable of Partial
        At least one. They are taken one at a time.
    limits : Limits
        Under which all of them were found.

    Returns
    -------
    Partial

    Examples
    --------
    >>> from facenet_validate.metrics.limits import Pilot
    >>> from facenet_validate.metrics.rows import ArrayRows, Comparisons
    >>> from facenet_validate.metrics.stripes import stripe
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [4.0], [6.0]]))
    >>> pairs = Comparisons.of(rows, np.array([0, 1, 1, 2]))
    >>> limits = Pilot.of(pairs).limits((0.5,), threshold=None)
    >>> found = add((stripe(pairs, limits, rows) for rows in (range(2), range(2, 4))), limits)
    >>> found.kept.distances.tolist(), found.genuine.distances.tolist()
    ([1.0, 16.0, 36.0, 25.0, 4.0], [9.0])
    """
    partials = iter(partials)
    first = next(partials)
    counts, weights = first.counts.copy(), first.weights.copy()
    of_person, accepts = first.of_person.copy(), first.accepts.copy()
    accepted, kept_bins = first.accepted, first.kept_bins
    genuine, kept = [first.genuine], [first.kept]
    for partial in partials:
        counts += partial.counts
        weights += partial.weights
        of_person += partial.of_person
        accepts += partial.accepts
        accepted += partial.accepted
        genuine.append(partial.genuine)
        kept_bins = min(kept_bins, partial.kept_bins, affordable(counts, limits))
        kept.append(partial.kept)
        if sum(map(len, kept)) > limits.most_kept:
            kept = [part.below(kept_bins * limits.width) for part in kept]
    return Partial(
        Measured.joined(genuine),
        Measured.joined(part.below(kept_bins * limits.width) for part in kept),
        kept_bins,
        counts,
        weights,
        of_person,
        accepts,
        accepted,
    )


def affordable(counts: NDArray[np.int64], limits: Limits) -> int:
    """Return in how many bins all pairs may be kept one by one; ``counts`` are those of the bins.

    Examples
    --------
    >>> limits = Limits(1.0, 3, True, 3, 5, (1,), None, bits=40, middle=0.0, margin=0.0)
    >>> affordable(np.array([2, 3, 4]), limits)
    2
    """
    return int(np.searchsorted(np.cumsum(counts), limits.most_kept, side="right"))
