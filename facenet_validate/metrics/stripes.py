"""All pairs of a stripe of rows with all rows, in blocks: partial results that add up.

Blocks of the Gram matrix in float32 choose candidates. Wherever rounding may decide (at the edge of
a bin, at the threshold, or for a pair that is kept) the distance is measured again in float64. So
every count and every weight is that of float64 distances, whatever the size of a block.
Counts are integers, and weights are whole multiples of a power of two: they add up in any order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.limits import Limits
from facenet_validate.metrics.partials import Measured, Partial, affordable
from facenet_validate.metrics.rows import Comparisons
from facenet_validate.metrics.verification import cross_distances

_STRIPE = 8192  # rows at most; each stripe reads all rows once
_PIECES = 32

_ROWS, _COLUMNS = 1024, 2048  # a block takes 8 MB and stays in a processor's cache


def stripes_of(images: int, *, most: int = _STRIPE) -> list[range]:
    """Cut a set into stripes: about 32 where that leaves 1,024 rows or more, to share them.

    Parameters
    ----------
    images : int
    most : int
        Rows of a stripe at most. A larger set has more stripes.

    Examples
    --------
    >>> [len(stripes_of(images)) for images in (900, 20_000, 100_000, 1_000_000)]
    [1, 20, 25, 123]
    >>> stripes_of(5, most=2)
    [range(0, 2), range(2, 4), range(4, 5)]
    """
    rows = min(most, -(-images // (_PIECES * _ROWS)) * _ROWS)
    return [range(start, min(start + rows, images)) for start in range(0, images, max(rows, 1))]


def stripe(pairs: Comparisons, limits: Limits, rows: range) -> Partial:
    """Compare some templates with all probes; with one engine, each pair once.

    Parameters
    ----------
    pairs : Comparisons
    limits : Limits
        What is kept.
    rows : range
        Of the templates.

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
    >>> found = stripe(pairs, Pilot.of(pairs).limits((0.5,), threshold=20.0), range(1))
    >>> found.kept.distances.tolist(), found.accepts.tolist()
    ([1.0, 16.0, 36.0], [2, 2, 0])
    """
    start, stop = rows.start, rows.stop
    sums = _Sums(pairs, limits)
    templates = pairs.templates.block(start, stop)
    factor = _factor(templates, limits.middle, probe=False)
    probes = pairs.templates if pairs.probes is None else pairs.probes
    left, right = pairs.genuine_of(start, stop)
    space = np.empty((_ROWS, _COLUMNS), np.float32)
    for begin in range(start if pairs.probes is None else 0, pairs.images, _COLUMNS):
        end = min(begin + _COLUMNS, pairs.images)
        columns = probes.block(begin, end)
        other = _factor(columns, limits.middle, probe=True)
        here = (right >= begin) & (right < end)
        sums.add_genuine(
            cross_distances(templates, columns, left[here] - start, right[here] - begin),
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
            sums.add(block, templates[part], columns[first - begin :], top, first)
        sums.trim()
    return sums.partial()


def _factor(rows: NDArray[np.float32], middle: float, *, probe: bool) -> NDArray[np.float32]:
    """Return (x, −h, 1) or (x, 1, −h) with h = ‖x‖²/2 − middle.

    Their product is 2·middle − distance/2.
    """
    dimensions = rows.shape[1]
    factor = np.empty((len(rows), dimensions + 2), np.float32)
    factor[:, :dimensions] = rows
    factor[:, dimensions + (not probe)] = 1
    halves = np.einsum("ij,ij->i", rows, rows, dtype=np.float64) / 2
    factor[:, dimensions + probe] = middle - halves
    return factor


def _places(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return what `numpy.flatnonzero` does, in half of its time where one in fifty is true."""
    flat = mask.reshape(-1)
    if flat.size % 8:
        return np.flatnonzero(flat)
    eights = flat.view(np.uint64)
    some = np.flatnonzero(eights != 0)
    place = np.flatnonzero(eights.take(some).view(np.bool_))
    return (some.take(place >> 3) << 3) + (place & 7)


class _Sums:
    """What a stripe has found so far."""

    def __init__(self, pairs: Comparisons, limits: Limits) -> None:
        self.pairs, self.limits = pairs, limits
        self.of = pairs.people.of_image
        self.images = pairs.people.images[self.of].astype(np.float64)
        people = len(pairs.people.images)
        lowest = float(np.finfo(np.float32).min)
        cut = np.float32(max(2 * limits.middle - limits.reach / 2 - limits.margin, lowest))
        self.cut = np.nextafter(cut, np.float32(-np.inf))
        self.kept_bins = limits.kept
        self.unit = 2.0**limits.bits / pairs.ways
        self.counts = np.zeros(limits.bins + 1, np.int64)
        self.weights = np.zeros(limits.bins + 1, np.int64)
        # Of a row a mark; the last is for pairs beyond all marks.
        self.of_person = np.zeros((len(limits.marks) + 1, people), np.int64)
        self.accepts = np.zeros(people, np.int64)
        self.accepted = 0
        self.kept: list[Measured] = []
        self.genuine: list[Measured] = []
        # Where the row of the first mark begins below which a bin lies.
        bins = np.arange(limits.bins + 1)
        self.first_of_mark = np.searchsorted(limits.marks, bins, side="right") * people

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
        limits, (height, width) = self.limits, block.shape
        flat = _places(block > self.cut)
        left = flat // width
        right = flat - left * width
        lefts, rights = slice(top, top + height), slice(begin, begin + width)
        people = self.of[lefts].take(left), self.of[rights].take(right)
        impostor = people[0] != people[1]
        if self.pairs.probes is None and begin < top + height:
            impostor &= right + begin > left + top
        if not impostor.all():
            flat, left, right = flat[impostor], left[impostor], right[impostor]
            people = people[0][impostor], people[1][impostor]
        distances = 4 * limits.middle - 2 * block.take(flat).astype(np.float64)
        unsure = self._unsure(distances)
        distances[unsure] = cross_distances(rows, columns, left[unsure], right[unsure])
        weights = self.images[lefts].take(left)
        weights *= self.images[rights].take(right)
        weights = np.rint(np.divide(self.unit, weights, out=weights)).astype(np.int64)
        if limits.threshold is not None:
            self._accept(distances < limits.threshold, people, weights)
        # Whatever lies beyond the bins goes into one more, which is dropped at the end.
        bins = np.minimum(distances * (1 / limits.width), limits.bins).astype(np.intp)
        self.counts += np.bincount(bins, minlength=limits.bins + 1)
        np.add.at(self.weights, bins, weights)
        place = self.first_of_mark.take(bins)
        for side in people:
            np.add.at(self.of_person.reshape(-1), place + side, weights)
        close = np.flatnonzero(bins < self.kept_bins)
        self.kept.append(Measured.of(distances[close], left[close] + top, right[close] + begin))

    def _unsure(self, distances: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return where float32 does not decide, or the distance itself is wanted."""
        limits = self.limits
        error = 2 * limits.margin
        scaled = distances * (1 / limits.width)
        unsure = np.abs(scaled - np.rint(scaled)) <= error / limits.width
        unsure |= distances <= self.kept_bins * limits.width + error
        if limits.threshold is not None:
            unsure |= np.abs(distances - limits.threshold) <= error
        return np.flatnonzero(unsure)

    def _accept(
        self,
        accepted: NDArray[np.bool_],
        people: tuple[NDArray[np.intp], NDArray[np.intp]],
        weights: NDArray[np.int64],
    ) -> None:
        for side in people:
            np.add.at(self.accepts, side[accepted], 1)
        self.accepted += int(weights[accepted].sum())

    def trim(self) -> None:
        """Drop whole bins of what is kept one by one, if it is too much."""
        if sum(map(len, self.kept)) > self.limits.most_kept:
            self.kept_bins = min(self.kept_bins, affordable(self.counts, self.limits))
            limit = self.kept_bins * self.limits.width
            self.kept = [part.below(limit) for part in self.kept]

    def partial(self) -> Partial:
        self.trim()
        return Partial(
            Measured.joined(self.genuine),
            Measured.joined(self.kept),
            self.kept_bins,
            self.counts[:-1],
            self.weights[:-1],
            np.cumsum(self.of_person[:-1], axis=0),
            self.accepts,
            self.accepted,
        )
