"""TAR at a false-accept rate, from weighted pairs, with the jackknife over identities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from facenet_validate.metrics.tally import Accepted, Tally, jackknife_error

SLOPE_REACH = 2.0
"""The ROC's slope is taken from half to twice the FAR."""

Z95_TWO_SIDED = float(ndtri(0.975))


class Accepting(Protocol):
    """Weighted impostor pairs that can be asked by distance: a :class:`Tally`, or more than one.

    Examples
    --------
    >>> pairs: Accepting = Tally.of(np.array([1.0, 2.0]), np.ones(2), np.array([0, 1]))
    >>> pairs.first_beyond(1.0), pairs.accepted(2.0, identities=2).pairs
    (2.0, 1)
    """

    def first_beyond(self, weight: float) -> float:
        """Return the distance below which the pairs weigh at most ``weight``."""
        ...

    def accepted(self, limit: float, identities: int) -> Accepted:
        """Return what lies below a distance."""
        ...


@dataclass(frozen=True, eq=False)
class AllPairsPoint:
    """TAR where at most a given share of impostor pairs is accepted; identities weigh the same.

    Attributes
    ----------
    target, far : float
        The false-accept rate asked for, and the one achieved.
    tar : float
        Mean share of an identity's genuine pairs accepted.
    threshold : float
        Squared L2; pairs with a smaller distance are accepted.
    standard_error : float
        Of ``tar``, by the jackknife over identities.
    interval : tuple of float
        95 %, normal, within 0 and 1.
    genuine_accepted, impostor_accepted : int
        Plain counts of image pairs accepted.
    left_out : (I,) float64 array
        ``tar`` without each identity in turn, with the change of threshold along the ROC's slope.
    """

    target: float
    far: float
    tar: float
    threshold: float
    standard_error: float
    interval: tuple[float, float]
    genuine_accepted: int
    impostor_accepted: int
    left_out: NDArray[np.float64]


def point_at(
    target: float, genuine: Tally, impostor: Accepting, several: NDArray[np.bool_]
) -> AllPairsPoint:
    """Return TAR at the largest threshold whose FAR is at most ``target``.

    Parameters
    ----------
    target : float
    genuine : Tally
        All genuine pairs; those of a person weigh 1 together.
    impostor : Accepting
        Impostor pairs, all of them up to a weight of twice the target; those of two people weigh 1
        together.
    several : (I,) bool array
        Which people have genuine pairs.

    Examples
    --------
    >>> genuine = Tally.of(np.array([1.0, 3.0]), np.ones(2), np.array([0, 1]))
    >>> impostor = Tally.of(
    ...     np.array([2.0, 4.0, 5.0]), np.ones(3), np.array([0, 0, 1]), np.array([1, 2, 2])
    ... )
    >>> found = point_at(0.4, genuine, impostor, np.array([True, True, False]))
    >>> found.tar, round(found.far, 3), found.threshold
    (1.0, 0.333, 3.5)
    """
    people, photographed = len(several), np.count_nonzero(several)
    pairs, pairs_without = people * (people - 1) / 2, (people - 1) * (people - 2) / 2
    limit = impostor.first_beyond(target * pairs)
    hits, misses = genuine.accepted(limit, people), impostor.accepted(limit, people)
    # Millions of weights that add up to all of them may add up to a little more.
    far, tar = misses.weight / pairs, min(float(hits.weight / photographed), 1.0)

    # Slope of TAR against log FAR; TAR is close to straight in it.
    ends = min(target * SLOPE_REACH, 1.0), target / SLOPE_REACH
    high, low = (
        genuine.sums[genuine.count(impostor.first_beyond(end * pairs))] / photographed
        for end in ends
    )
    slope = (high - low) / math.log(ends[0] / ends[1])
    far_without = (misses.weight - misses.by_identity) / pairs_without
    tar_without = (hits.weight - hits.by_identity) / (photographed - several)
    excess = far_without / far - 1 if far else np.zeros(people)
    left_out = tar_without - slope * excess

    error = jackknife_error(left_out)
    half = Z95_TWO_SIDED * error
    return AllPairsPoint(
        target=target,
        far=far,
        tar=tar,
        threshold=_between(max(hits.last, misses.last), limit),
        standard_error=error,
        interval=(max(tar - half, 0.0), min(tar + half, 1.0)),
        genuine_accepted=hits.pairs,
        impostor_accepted=misses.pairs,
        left_out=left_out,
    )


def _between(last: float, limit: float) -> float:
    """Return the threshold midway between the last distance accepted and the first not."""
    if math.isinf(last):
        last = limit
    if math.isinf(limit):
        return math.nextafter(last, math.inf)
    middle = last / 2 + limit / 2
    return middle if middle > last else limit
