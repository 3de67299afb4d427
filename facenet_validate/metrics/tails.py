"""Impostors of a large set: the closest ones one by one, the others in bins.

A threshold among the pairs that are kept one by one is exact. Beyond them it is an edge of a bin.
FAR and TAR are exact there too; FAR is below the one asked for by at most what a bin holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.limits import Limits
from facenet_validate.metrics.partials import Measured, Partial
from facenet_validate.metrics.rows import Comparisons
from facenet_validate.metrics.tally import ROUNDING, Accepted, Tally


def genuine_tally(genuine: Measured, pairs: Comparisons) -> Tally:
    """Return all genuine comparisons in ascending order; those of a person weigh 1 together.

    Examples
    --------
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> pairs = Comparisons.of(ArrayRows(np.array([[0.0], [1.0], [4.0]])), np.array([0, 0, 0]))
    >>> found = Measured.of(np.array([1.0, 16.0, 9.0]), np.array([0, 0, 1]), np.array([1, 2, 2]))
    >>> genuine_tally(found, pairs).weights.round(3).tolist()
    [0.333, 0.333, 0.333]
    """
    people = pairs.people
    # By person, then by rows; ties keep this order, which is that of `People.genuine`.
    by_person = np.argsort(people.of_image[genuine.left], kind="stable")
    by_distance = np.argsort(genuine.distances[by_person], kind="stable")
    order = by_person[by_distance]
    of = people.of_image[genuine.left[order]]
    weights = 2 / (people.images[of] * (people.images[of] - 1)) / pairs.ways
    return Tally.of(genuine.distances[order], weights, of)


@dataclass(frozen=True, eq=False)
class Tail:
    """The closest impostors of a set.

    Attributes
    ----------
    exact : Tally
        Impostors one by one.
    exact_below : float
        Every impostor below this distance is among them. Infinite if all impostors are.
    width : float
        Of a bin.
    edges : (bins+1,) float64 array
        Weight of the impostors below each edge; those of two people weigh 1 together.
    counts : (bins+1,) int64 array
        How many there are.
    marks : (K,) float64 array
        Distances, ascending, for which ``of_person`` is known.
    of_person : (K, I) float64 array
        Weight of each person's impostors below each mark.
    whole : bool
        Whether the bins hold every impostor.

    Examples
    --------
    >>> from facenet_validate.metrics.limits import Pilot
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> from facenet_validate.metrics.stripes import stripe
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [4.0], [6.0]]))
    >>> pairs = Comparisons.of(rows, np.array([0, 1, 1, 2]))
    >>> limits = Pilot.of(pairs).limits((0.5,), threshold=None, most_kept=2)
    >>> tail = Tail.of(stripe(pairs, limits, range(4)), pairs, limits)
    >>> tail.exact.distances.tolist(), tail.exact_below, tail.reaches(2.0)
    ([1.0, 4.0], 16.0, True)
    >>> tail.first_beyond(0.5), tail.first_beyond(1.5)
    (4.0, 25.0)
    >>> tail.accepted(5.0, identities=3).by_identity.tolist()
    [0.5, 1.0, 0.5]
    """

    exact: Tally
    exact_below: float
    width: float
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    marks: NDArray[np.float64]
    of_person: NDArray[np.float64]
    whole: bool

    @classmethod
    def of(cls, found: Partial, pairs: Comparisons, limits: Limits) -> Tail:
        """Take what all stripes together found."""
        order = np.argsort(found.kept.distances, kind="stable")
        left, right = (side[order].astype(np.intp) for side in (found.kept.left, found.kept.right))
        of, everything = pairs.people.of_image, limits.whole and found.kept_bins == limits.bins
        unit = 2.0**-limits.bits
        return cls(
            exact=Tally.of(
                found.kept.distances[order],
                pairs.people.weights(left, right) / pairs.ways,
                of[left],
                of[right],
            ),
            exact_below=math.inf if everything else found.kept_bins * limits.width,
            width=limits.width,
            edges=np.concatenate([[0], np.cumsum(found.weights)]) * unit,
            counts=np.concatenate([[0], np.cumsum(found.counts)]),
            marks=np.array(limits.marks) * limits.width,
            of_person=found.of_person.astype(np.float64) * unit,
            whole=limits.whole,
        )

    def reaches(self, weight: float) -> bool:
        """Return whether the tail holds all impostors up to a weight."""
        return self.whole or bool(self.edges[-1] > weight + ROUNDING)

    def is_exact(self, limit: float) -> bool:
        """Return whether a distance from :meth:`first_beyond` is one of a pair, not an edge."""
        return limit < self.exact_below or math.isinf(self.exact_below)

    def first_beyond(self, weight: float) -> float:
        """Return the distance below which the impostors weigh at most ``weight``.

        The largest such distance, or the largest such edge beyond the pairs that are kept one by
        one. Infinite if all impostors weigh no more.
        """
        exact = self.exact.first_beyond(weight)
        if math.isfinite(exact) or math.isinf(self.exact_below):
            return exact
        within = int(np.searchsorted(self.edges, weight + ROUNDING, side="right")) - 1
        within = max(within, round(self.exact_below / self.width))
        if within == len(self.edges) - 1 and self.whole:
            return math.inf
        return within * self.width

    def accepted(self, limit: float, identities: int) -> Accepted:
        """Return the impostors below a distance that :meth:`first_beyond` gave.

        Beyond the pairs kept one by one, each person's share is that at the nearest mark.
        """
        if self.is_exact(limit):
            return self.exact.accepted(limit, identities)
        edge = len(self.edges) - 1 if math.isinf(limit) else round(limit / self.width)
        mark = int(np.argmin(np.abs(self.marks - edge * self.width)))
        there = self.edges[round(self.marks[mark] / self.width)]
        weight = float(self.edges[edge])
        by_person = self.of_person[mark] * (weight / there if there else 0.0)
        return Accepted(int(self.counts[edge]), weight, by_person, edge * self.width)
