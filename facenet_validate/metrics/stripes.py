"""All pairs of a stripe of rows with all rows, in blocks: partial results that add up.

Blocks of the Gram matrix in float32 choose candidates. Wherever rounding may decide (at the edge of
a bin, at the threshold, or for a pair that is kept) the distance is measured again in float64. So
every count and every weight is that of float64 distances, whatever the size of a block.
Counts are integers, and weights are whole multiples of a power of two: they add up in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.limits import Limits
from facenet_validate.metrics.rows import Comparisons
from facenet_validate.metrics.verification import cross_distances

STRIPE = 8192
"""Rows in a stripe. Each stripe reads all rows once."""

_ROWS, _COLUMNS = 1024, 2048  # a block takes 8 MB and stays in a processor's cache


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
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [4.0], [6.0]]))
    >>> pairs = Comparisons.of(rows, np.array([0, 1, 1, 2]))
    >>> limits = Pilot.of(pairs).limits((0.5,), threshold=None)
    >>> found = add((stripe(pairs, start, start + 2, limits) for start in (0, 2)), limits)
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
        kept_bins = min(kept_bins, partial.kept_bins, _affordable(counts, limits))
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


def _affordable(counts: NDArray[np.int64], limits: Limits) -> int:
    """Return in how many bins all pairs may be kept one by one."""
    return int(np.searchsorted(np.cumsum(counts), limits.most_kept, side="right"))


def stripe(pairs: Comparisons, start: int, stop: int, limits: Limits) -> Partial:
    """Compare the templates ``start`` to ``stop`` with all probes; with one engine, each pair once.

    Parameters
    ----------
    pairs : Comparisons
    start, stop : int
        Rows of the templates.
    limits : Limits
        What is kept.

    Returns
    -------
    Partial
        A function of the arguments alone.

    Examples
    --------
    >>> from facenet_validate.metrics.limits import Pilot
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [4.0], [6.0]]))
    >>> pairs = Comparisons.of(rows, np.array([0, 1, 1, 2]))
    >>> found = stripe(pairs, 0, 1, Pilot.of(pairs).limits((0.5,), threshold=20.0))
    >>> found.kept.distances.tolist(), found.accepts.tolist()
    ([1.0, 16.0, 36.0], [2, 2, 0])
    """
    stop = min(stop, pairs.images)
    sums = _Sums(pairs, limits)
    rows = pairs.templates.block(start, stop)
    factor = _factor(rows, probe=False)
    probes = pairs.templates if pairs.probes is None else pairs.probes
    left, right = pairs.genuine_of(start, stop)
    space = np.empty((_ROWS, _COLUMNS), np.float32)
    for begin in range(start if pairs.probes is None else 0, pairs.images, _COLUMNS):
        end = min(begin + _COLUMNS, pairs.images)
        columns = probes.block(begin, end)
        other = _factor(columns, probe=True)
        here = (right >= begin) & (right < end)
        sums.add_genuine(
            cross_distances(rows, columns, left[here] - start, right[here] - begin),
            left[here],
            right[here],
        )
        for top in range(start, stop, _ROWS):
            # With one engine, pairs before the diagonal are compared the other way round.
            first = begin if pairs.probes is not None else max(begin, top)
            if first >= end:
                break
            bottom = min(top + _ROWS, stop)
            part = slice(top - start, bottom - start)
            block = space[: bottom - top, : end - first]
            np.matmul(factor[part], other[first - begin :].T, out=block)
            sums.add(block, rows[part], columns[first - begin :], top, first)
        sums.trim()
    return sums.partial()


def _factor(rows: NDArray[np.float32], *, probe: bool) -> NDArray[np.float32]:
    """Return (x, −h, 1) or (x, 1, −h) with h = ‖x‖²/2: their product is −distance/2."""
    dimensions = rows.shape[1]
    factor = np.empty((len(rows), dimensions + 2), np.float32)
    factor[:, :dimensions] = rows
    factor[:, dimensions + (not probe)] = 1
    halves = np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / 2
    factor[:, dimensions + probe] = -halves
    return factor


class _Sums:
    """What a stripe has found so far."""

    def __init__(self, pairs: Comparisons, limits: Limits) -> None:
        self.pairs, self.limits = pairs, limits
        self.of = pairs.people.of_image
        self.images = pairs.people.images[self.of].astype(np.float64)
        people = len(pairs.people.images)
        cut = np.float32(-limits.reach / 2 - limits.margin)
        self.cut = np.nextafter(cut, np.float32(-np.inf))
        self.kept_bins = limits.kept
        self.counts = np.zeros(limits.bins, np.int64)
        self.weights = np.zeros(limits.bins, np.int64)
        self.of_person = np.zeros((len(limits.marks), people), np.int64)
        self.accepts = np.zeros(people, np.int64)
        self.accepted = 0
        self.kept: list[Measured] = []
        self.genuine: list[Measured] = []
        # The first mark below which a bin lies.
        self.first_mark = np.searchsorted(limits.marks, np.arange(limits.bins), side="right")

    def add_genuine(
        self,
        distances: NDArray[np.float64],
        left: NDArray[np.intp],
        right: NDArray[np.intp],
    ) -> None:
        self.genuine.append(Measured.of(distances, left, right))

    def add(
        self,
        block: NDArray[np.float32],
        rows: NDArray[np.float32],
        columns: NDArray[np.float32],
        top: int,
        begin: int,
    ) -> None:
        """Add a block of the rows from ``top`` and the columns from ``begin``."""
        limits = self.limits
        flat = np.flatnonzero(block > self.cut)
        left = flat // block.shape[1]
        right = flat - left * block.shape[1]
        impostor = self.of.take(left + top) != self.of.take(right + begin)
        if self.pairs.probes is None and begin < top + len(block):
            impostor &= right + begin > left + top
        if not impostor.all():
            flat, left, right = flat[impostor], left[impostor], right[impostor]
        distances = -2.0 * block.take(flat).astype(np.float64)
        unsure = self._unsure(distances)
        distances[unsure] = cross_distances(rows, columns, left[unsure], right[unsure])
        left, right = left + top, right + begin
        weights = np.rint(
            2.0**limits.bits / (self.pairs.ways * self.images.take(left) * self.images.take(right))
        ).astype(np.int64)
        if limits.threshold is not None:
            self._accept(distances < limits.threshold, left, right, weights)
        bins = np.floor(distances / limits.width).astype(np.intp)
        near = bins < limits.bins
        if not near.all():
            bins, weights, distances = bins[near], weights[near], distances[near]
            left, right = left[near], right[near]
        self.counts += np.bincount(bins, minlength=limits.bins)
        np.add.at(self.weights, bins, weights)
        self._mark(self.first_mark.take(bins), left, right, weights)
        close = bins < self.kept_bins
        self.kept.append(Measured.of(distances[close], left[close], right[close]))

    def _unsure(self, distances: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return where float32 does not decide, or the distance itself is wanted."""
        limits = self.limits
        error = 2 * limits.margin
        edges = np.rint(distances / limits.width) * limits.width
        unsure = np.abs(distances - edges) <= error
        unsure |= distances <= self.kept_bins * limits.width + error
        if limits.threshold is not None:
            unsure |= np.abs(distances - limits.threshold) <= error
        return np.flatnonzero(unsure)

    def _accept(
        self,
        accepted: NDArray[np.bool_],
        left: NDArray[np.intp],
        right: NDArray[np.intp],
        weights: NDArray[np.int64],
    ) -> None:
        np.add.at(self.accepts, self.of[left[accepted]], 1)
        np.add.at(self.accepts, self.of[right[accepted]], 1)
        self.accepted += int(weights[accepted].sum())

    def _mark(
        self,
        mark: NDArray[np.intp],
        left: NDArray[np.intp],
        right: NDArray[np.intp],
        weights: NDArray[np.int64],
    ) -> None:
        marked = mark < len(self.of_person)
        place, weights = mark[marked] * self.of_person.shape[1], weights[marked]
        flat = self.of_person.reshape(-1)
        np.add.at(flat, place + self.of.take(left[marked]), weights)
        np.add.at(flat, place + self.of.take(right[marked]), weights)

    def trim(self) -> None:
        """Drop whole bins of what is kept one by one, if it is too much."""
        if sum(map(len, self.kept)) > self.limits.most_kept:
            self.kept_bins = min(self.kept_bins, _affordable(self.counts, self.limits))
            limit = self.kept_bins * self.limits.width
            self.kept = [part.below(limit) for part in self.kept]

    def partial(self) -> Partial:
        self.trim()
        return Partial(
            Measured.joined(self.genuine),
            Measured.joined(self.kept),
            self.kept_bins,
            self.counts,
            self.weights,
            np.cumsum(self.of_person, axis=0),
            self.accepts,
            self.accepted,
        )
