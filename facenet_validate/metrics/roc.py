"""The exact ROC of a set of pairs, and what is read from it.

A pair is *genuine* when both faces are of one person, else an *impostor* pair. It is accepted when
its distance is **below** the threshold, strictly. Thresholds lie midway between neighbouring
distances, so the strictness only decides the two ends: the smallest distance itself accepts
nothing, the number after the largest accepts everything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from facenet_validate.metrics.arrays import Booleans, Floats, check_scores


@dataclass(frozen=True)
class TarAtFar:
    """The true-accept rate where at most a given share of impostor pairs is accepted.

    Attributes
    ----------
    target : float
        The false-accept rate asked for.
    far : float
        The one achieved: at most ``target``, in steps of one impostor pair.
    tar : float
        Share of genuine pairs accepted at ``threshold``.
    interval : tuple of float
        Clopper-Pearson 95 % interval of ``tar``, the threshold taken as given.
    threshold : float
        Pairs with a distance below it are accepted.
    """

    target: float
    far: float
    tar: float
    interval: tuple[float, float]
    threshold: float


@dataclass(frozen=True, eq=False)
class RocCurve:
    """The corners of an exact ROC: straight lines between them lose nothing.

    Attributes
    ----------
    thresholds : (C,) float64 array
        Ascending.
    far, tar : (C,) float64 array
        Shares of impostor and of genuine pairs accepted, from (0, 0) to (1, 1): the ROC.
    """

    thresholds: NDArray[np.float64]
    far: NDArray[np.float64]
    tar: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Roc:
    """The exact ROC of pairs with K distinct distances; entry k accepts the k smallest of them.

    Attributes
    ----------
    thresholds : (K+1,) float64 array
        Ascending, in the unit of the distances; accept when ``distance < threshold``.
    genuine, impostor : (K+1,) int64 array
        Genuine and impostor pairs accepted at each threshold; the last entry holds all of them.

    Examples
    --------
    >>> roc = Roc.from_pairs(
    ...     np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([True, True, False, True, False])
    ... )
    >>> roc.genuine.tolist(), roc.impostor.tolist()
    ([0, 1, 2, 2, 3, 3], [0, 0, 0, 1, 1, 2])
    >>> roc.best_threshold(), round(roc.auc(), 3), round(roc.eer(), 3)
    (2.5, 0.833, 0.333)
    >>> point = roc.tar_at_far(0.5)
    >>> point.tar, point.far, point.threshold
    (1.0, 0.5, 4.5)
    """

    thresholds: NDArray[np.float64]
    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]

    @classmethod
    def from_pairs(cls, distances: Floats, same: Booleans) -> Roc:
        """Count the pairs; raises ValueError as :func:`~.arrays.check_scores`.

        Parameters
        ----------
        distances : (P,) float array
            Lower means more alike.
        same : (P,) bool array
            True for genuine pairs.
        """
        check_scores(distances, same)
        order = np.argsort(distances)
        return cls.from_sorted(distances[order].astype(np.float64), same[order])

    @classmethod
    def from_sorted(cls, distances: NDArray[np.float64], same: Booleans) -> Roc:
        """Count pairs that are checked and in ascending order already."""
        last = np.append(np.flatnonzero(distances[1:] > distances[:-1]), len(distances) - 1)
        distinct = distances[last]
        accepted = np.concatenate([[0], last + 1])
        genuine = np.concatenate([[0], np.cumsum(same, dtype=np.int64)[last]])
        below, above = distinct[:-1], distinct[1:]
        middle = below / 2 + above / 2
        # Between two neighbouring floats the midpoint rounds to one of them; only the upper
        # still accepts the lower.
        middle = np.where(middle > below, middle, above)
        ends = distinct[0], np.nextafter(distinct[-1], np.inf)
        thresholds = np.concatenate([[ends[0]], middle, [ends[1]]])
        return cls(thresholds, genuine, accepted - genuine)

    def best_threshold(self) -> float:
        """Return the lowest threshold with the most right decisions.

        Every decision that a threshold can make is tried. There is no grid of steps.
        """
        # The rejected impostors differ from −impostor by a constant; argmax takes the first.
        return float(self.thresholds[np.argmax(self.genuine - self.impostor)])

    def auc(self) -> float:
        """Return the Mann-Whitney statistic: the chance that a genuine pair is the closer one.

        Ties count half; whole numbers until the one division.
        """
        # An impostor distance loses to the genuine ones below it and to half of its equals.
        doubled = np.sum(np.diff(self.impostor) * (self.genuine[1:] + self.genuine[:-1]))
        return int(doubled) / (2 * int(self.genuine[-1]) * int(self.impostor[-1]))

    def eer(self) -> float:
        """Return the equal-error rate, as :func:`equal_error_rate`."""
        return equal_error_rate(self.impostor / self.impostor[-1], self.genuine / self.genuine[-1])

    def curve(self) -> RocCurve:
        """Return the corners of the ROC; points on a straight line between them are left out."""
        genuine, impostor = np.diff(self.genuine), np.diff(self.impostor)
        # Whole numbers, so that a corner is a corner exactly.
        turns = genuine[1:] * impostor[:-1] != genuine[:-1] * impostor[1:]
        kept = np.concatenate([[True], turns, [True]])
        return RocCurve(
            thresholds=self.thresholds[kept],
            far=self.impostor[kept] / self.impostor[-1],
            tar=self.genuine[kept] / self.genuine[-1],
        )

    def tar_at_far(self, target: float) -> TarAtFar:
        """Take the largest threshold that accepts at most ⌊target · impostors⌋ impostor pairs."""
        # The tiny summand keeps 0.29 · 100 from becoming 28.
        allowed = math.floor(target * int(self.impostor[-1]) + 1e-9)
        k = int(np.searchsorted(self.impostor, allowed, side="right")) - 1
        hits, trials = int(self.genuine[k]), int(self.genuine[-1])
        return TarAtFar(
            target=target,
            far=float(self.impostor[k] / self.impostor[-1]),
            tar=hits / trials,
            interval=_clopper_pearson(hits, trials),
            threshold=float(self.thresholds[k]),
        )


def equal_error_rate(far: NDArray[np.float64], tar: NDArray[np.float64]) -> float:
    """Return FAR where it equals the share of genuine pairs rejected, 1 − TAR.

    The ROC is taken as straight between its points.

    Parameters
    ----------
    far, tar : (C,) float64 array
        The ROC, ascending from (0, 0) to (1, 1).

    Returns
    -------
    float

    Examples
    --------
    >>> equal_error_rate(np.array([0, 0.25, 1]), np.array([0, 0.75, 1]))
    0.25
    """
    gap = far - (1 - tar)
    after = int(np.searchsorted(gap, 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    return float(far[before] + share * (far[after] - far[before]))


def _clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a binomial share (Clopper & Pearson, 1934)."""
    low = betaincinv(hits, trials - hits + 1, 0.025) if hits else 0.0
    high = betaincinv(hits + 1, trials - hits, 0.975) if hits < trials else 1.0
    return float(low), float(high)
