"""Sums of weighted pairs by distance, as a whole and by identity, and the jackknife over these."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-9
"""Largest error of a sum of weights. The sums are made in extended precision."""


@dataclass(frozen=True, eq=False)
class Accepted:
    """The pairs below a distance.

    Attributes
    ----------
    pairs : int
    weight : float
    by_identity : (I,) float64 array
        Weight of each identity's pairs.
    last : float
        The largest distance among them; −∞ if there is none.
    """

    pairs: int
    weight: float
    by_identity: NDArray[np.float64]
    last: float


@dataclass(frozen=True, eq=False)
class Tally:
    """Weighted pairs in the order of their distances.

    Attributes
    ----------
    distances : (M,) float64 array
        Ascending.
    weights : (M,) float64 array
    members : tuple of (M,) intp arrays
        The identities of each pair: one for genuine pairs, two for impostors.
    sums : (M+1,) float64 array
        Weight of the first 0, 1, … pairs.

    Examples
    --------
    >>> tally = Tally.of(
    ...     np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.5, 1.0, 1.0, 2.0]), np.array([0, 1, 0, 1])
    ... )
    >>> tally.sums.tolist()
    [0.0, 0.5, 1.5, 2.5, 4.5]
    >>> tally.count(2.5), tally.by_identity(3, identities=2).tolist(), tally.first_beyond(1.0)
    (3, [1.5, 1.0], 2.0)
    >>> tally.accepted(2.5, identities=2).weight
    2.5
    """

    distances: NDArray[np.float64]
    weights: NDArray[np.float64]
    members: tuple[NDArray[np.intp], ...]
    sums: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        distances: NDArray[np.float64],
        weights: NDArray[np.float64],
        *members: NDArray[np.intp],
    ) -> Tally:
        """Sum pairs that are in ascending order."""
        running = np.cumsum(weights, dtype=np.longdouble).astype(np.float64)
        return cls(distances, weights, members, np.concatenate([[0.0], running]))

    def count(self, limit: float) -> int:
        """Return how many pairs lie below a distance."""
        return int(np.searchsorted(self.distances, limit))

    def accepted(self, limit: float, identities: int) -> Accepted:
        """Return the pairs below a distance."""
        count = self.count(limit)
        last = float(self.distances[count - 1]) if count else -math.inf
        return Accepted(count, float(self.sums[count]), self.by_identity(count, identities), last)

    def by_identity(self, count: int, identities: int) -> NDArray[np.float64]:
        """Return, for each identity, the weight of its pairs among the first ``count`` pairs."""
        total = np.zeros(identities)
        for of in self.members:
            total += np.bincount(of[:count], self.weights[:count], identities)
        return total

    def first_beyond(self, weight: float) -> float:
        """Return the smallest distance at which the pairs accepted weigh more than ``weight``.

        Infinity if all pairs weigh no more.
        """
        # Tied pairs share a distance: the first pair that is too much gives it.
        at = int(np.searchsorted(self.sums[1:], weight + ROUNDING, side="right"))
        return float(self.distances[at]) if at < len(self.distances) else math.inf


def jackknife_error(left_out: NDArray[np.float64]) -> float:
    """Return the standard error from the estimates without each identity, (I,).

    Examples
    --------
    >>> round(jackknife_error(np.array([0.8, 0.9, 1.0])), 3)
    0.115
    """
    deviations = left_out - left_out.mean()
    count = len(left_out)
    return math.sqrt((count - 1) / count * float(deviations @ deviations))
