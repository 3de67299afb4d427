"""What one pass over all pairs keeps, and down to which distance: settled by a pilot.

The pilot compares a seeded sample of the images. It estimates distances only. Nothing that is
reported rests on it: what is kept is exact, and a pass that kept too little is made again.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.points import SLOPE_REACH
from facenet_validate.metrics.rows import Comparisons, Rows

MOST_KEPT = 2**23
"""Impostor pairs that are kept one by one: 2.2 % of 27,000 images' pairs, about 1 GB at the end."""

SLACK = 1.1
"""How much further than the targets need a pass reaches, since the pilot estimates."""

_SAMPLE = 4096
_SEED = 20180408
_BLOCK = 4096
_MARGINS = 64  # a bin is so many times as wide as the float32 distance may be wrong
_MOST_BINS = 2**14
_MOST = 2.0**120


@dataclass(frozen=True, eq=False)
class Surveyed:
    """What one reading of all rows tells.

    Attributes
    ----------
    digest : str
        SHA-256 of the embeddings, in hexadecimal digits.
    least, most : float
        The smallest and the largest ‖x‖²/2.
    sample : (S, D) float32 array
        The rows of the sample.
    """

    digest: str
    least: float
    most: float
    sample: NDArray[np.float32]


def survey(rows: Rows, sampled: NDArray[np.intp]) -> Surveyed:
    """Read all rows once.

    Parameters
    ----------
    rows : Rows
    sampled : (S,) intp array
        Rows to return, ascending.

    Returns
    -------
    Surveyed

    Raises
    ------
    ValueError
        If an embedding is NaN or infinite, or so long that float32 cannot hold its square.

    Examples
    --------
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> found = survey(ArrayRows(np.array([[0.0], [2.0], [4.0]])), np.array([0, 2]))
    >>> found.least, found.most, found.sample.tolist()
    (0.0, 8.0, [[0.0], [4.0]])
    """
    count, dimensions = rows.shape
    digest = hashlib.sha256(f"{count} {dimensions}".encode())
    sample = np.empty((len(sampled), dimensions), np.float32)
    least, most = math.inf, 0.0
    for start in range(0, count, _BLOCK):
        block = np.ascontiguousarray(rows.block(start, min(start + _BLOCK, count)))
        halves = np.einsum("ij,ij->i", block, block, dtype=np.float64) / 2
        if not np.isfinite(halves).all():
            raise ValueError(
                f"embedding {start + int(np.argmin(np.isfinite(halves)))} holds NaN or infinity"
            )
        least, most = min(least, float(halves.min())), max(most, float(halves.max()))
        digest.update(block.data)
        first, last = np.searchsorted(sampled, [start, start + len(block)])
        sample[first:last] = block[sampled[first:last] - start]
    if most > _MOST:
        raise ValueError(
            f"an embedding is {math.sqrt(2 * most):.3g} long: expected at most "
            f"{math.sqrt(2 * _MOST):.3g}, since products are made in float32"
        )
    return Surveyed(digest.hexdigest(), least, most, sample)


@dataclass(frozen=True, eq=False)
class Limits:
    """What a pass over all pairs keeps. Distances are squared L2.

    Attributes
    ----------
    width : float
        Of a bin: a power of two, so that an edge is an exact number.
    bins : int
        Impostor pairs below ``bins * width`` are counted in bins.
    whole : bool
        Whether no pair lies beyond the bins.
    kept : int
        Impostor pairs in the first so many bins are kept one by one.
    most_kept : int
        Largest number of pairs that is kept one by one. Whole bins are dropped beyond it.
    marks : tuple of int
        Edges, as numbers of bins, below which weights are summed by person.
    threshold : float, optional
        Distance below which impostor pairs are counted by person.
    bits : int
        Weights are summed as whole multiples of 2^−bits, which add up in any order.
    middle : float
        Taken from every ‖x‖²/2 before a product, so that its rounding error is smaller. The product
        is 2·middle − distance/2.
    margin : float
        How far a float32 product is from this at most.
    """

    width: float
    bins: int
    whole: bool
    kept: int
    most_kept: int
    marks: tuple[int, ...]
    threshold: float | None
    bits: int
    middle: float
    margin: float

    @property
    def reach(self) -> float:
        """Every impostor pair below this distance is looked at."""
        return max(self.bins * self.width, self.threshold or -math.inf)


@dataclass(frozen=True, eq=False)
class Pilot:
    """The closest impostor pairs of a sample.

    Attributes
    ----------
    pairs : Comparisons
    least, most : float
        The smallest and the largest ‖x‖²/2 of all images.
    distances : (M,) float64 array
        Of the sample's impostor pairs, ascending.
    shares : (M,) float64 array
        The share of the impostors, by weight, up to and with each.
    digest : str
        Of all that the figures rest on: embeddings and people.

    Examples
    --------
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [4.0], [6.0]]))
    >>> pilot = Pilot.of(Comparisons.of(rows, np.array([0, 1, 1, 2])))
    >>> pilot.distances.tolist(), pilot.distance(0.5)
    ([1.0, 4.0, 16.0, 25.0, 36.0], 16.0)
    >>> limits = pilot.limits((0.1,), threshold=None)
    >>> limits.kept * limits.width >= 4.0, limits.whole
    (True, False)
    """

    pairs: Comparisons
    least: float
    most: float
    distances: NDArray[np.float64]
    shares: NDArray[np.float64]
    digest: str

    @classmethod
    def of(cls, pairs: Comparisons) -> Pilot:
        """Read all rows, and compare the sample's.

        Raises
        ------
        ValueError
            If an embedding is NaN or infinite.
        """
        count, people = pairs.images, pairs.people
        sampled = np.arange(count)
        if count > _SAMPLE:
            chosen = np.random.default_rng(_SEED).choice(count, _SAMPLE, replace=False)
            sampled = np.sort(chosen)
        sides = [survey(pairs.templates, sampled)]
        if pairs.probes is not None:
            sides.append(survey(pairs.probes, sampled))
        of = people.of_image[sampled]
        impostor = of[:, None] != of[None, :]
        if pairs.probes is None:
            impostor &= np.tri(len(of), k=-1, dtype=np.bool_)
        first, second = sides[0].sample, sides[-1].sample
        halves = [np.einsum("ij,ij->i", side, side) / 2 for side in (first, second)]
        closeness = first @ second.T - halves[0][:, None] - halves[1][None, :]
        inverse = (1 / people.images[of]).astype(np.float32)
        weights = (inverse[:, None] * inverse[None, :])[impostor]
        distances = -2 * closeness[impostor]
        order = np.argsort(distances, kind="stable")
        running = np.cumsum(weights[order], dtype=np.float64)
        digest = hashlib.sha256(np.ascontiguousarray(people.of_image, np.int64).data)
        for side in sides:
            digest.update(side.digest.encode())
        return cls(
            pairs,
            min(side.least for side in sides),
            max(side.most for side in sides),
            np.maximum(distances[order].astype(np.float64), 0.0),
            running / running[-1] if len(running) else running,
            digest.hexdigest(),
        )

    def distance(self, share: float) -> float:
        """Estimate the distance below which a share of the impostors lies, by weight."""
        at = int(np.searchsorted(self.shares, share))
        return float(self.distances[at]) if at < len(self.distances) else math.inf

    def limits(
        self,
        targets: tuple[float, ...],
        threshold: float | None,
        *,
        further: float = 1.0,
        most_kept: int = MOST_KEPT,
    ) -> Limits:
        """Settle what a pass keeps for false-accept rates, and for a threshold.

        Parameters
        ----------
        targets : tuple of float
        threshold : float, optional
        further : float
            How many times further than usual the pass reaches.
        most_kept : int
        """
        # Whatever the order of summation: see `Blocks.of`. The absolute values of the terms sum up
        # to ‖x‖‖y‖ and what is left of both ‖x‖²/2 at most.
        terms = (self.pairs.templates.shape[1] + 6) * 2.0**-24
        margin = terms / (1 - terms) * (2 * self.most + self.most - self.least)
        farthest = 8 * self.most  # (‖x‖ + ‖y‖)² at most
        share = SLACK * SLOPE_REACH * max(targets) * further
        top = self.distance(share) if share < 1 else math.inf
        top = min(top + 2 * margin, farthest)
        width = _power_of_two(max(_MARGINS * 2 * margin, top / _MOST_BINS, 2.0**-500))
        whole = top == farthest
        bins = math.floor(top / width) + 1
        impostors = self.pairs.total - self.pairs.genuine_total
        place = int(len(self.distances) * min(most_kept / max(impostors, 1), 1.0))
        kept = bins
        if place < len(self.distances):
            kept = min(bins, math.floor(self.distances[place] / width) + 1)
        aims = [min(self.distance(target), top) for target in targets]
        marks = sorted({min(max(round(aim / width), 1), bins) for aim in aims})
        pairs = self.pairs.people.pairs
        return Limits(
            width=width,
            bins=bins,
            whole=whole,
            kept=kept,
            most_kept=most_kept,
            marks=tuple(marks),
            threshold=threshold,
            bits=min(40, 61 - max(pairs, 1).bit_length()),
            middle=self.least / 2 + self.most / 2,
            margin=margin,
        )


def _power_of_two(least: float) -> float:
    """Return the smallest power of two that is at least a number."""
    fraction, exponent = math.frexp(least)
    return math.ldexp(1.0, exponent - (fraction == 0.5))
