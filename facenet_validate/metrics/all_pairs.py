"""Every pair of a gallery: TAR at false-accept rates that 6,000 pairs cannot show.

Each identity weighs the same. Of LFW's genuine pairs one person supplies more than half, so that
plain counts say how well that person is recognised. Here

- TAR is the mean, over the identities with at least two images, of the share of the identity's
  genuine pairs that is accepted;
- FAR is the mean, over the pairs of two identities, of the share of their image pairs that is
  accepted.

The interval is a jackknife over identities. Leaving a person out removes their genuine pairs and
all their impostor pairs, which changes the threshold as well as TAR (B. Efron, *The Jackknife, the
Bootstrap and Other Resampling Plans*, 1982, chapters 3 and 6). How much TAR changes with the
threshold is read from the ROC's slope around the threshold. The next impostor pair does not tell
it: the gap between two pairs is chance, and the plain jackknife of a quantile is known to be
inconsistent. Standard errors of the drop between FP32 and INT8 on LFW, at FAR 1e-3 to 1e-6:

- this jackknife: 0.0009, 0.0012, 0.0027 and 0.0079;
- 600 bootstraps over identities: 0.0012, 0.0016, 0.0033 and 0.0073;
- plain deletion: 0.0014, 0.0055, 0.022 and 0.056.

At 1e-6 the threshold rests on 9 pairs of people: take the error as an order of magnitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from facenet_validate.metrics.arrays import Floats, Integers
from facenet_validate.metrics.close_impostors import Blocks, Impostors, People
from facenet_validate.metrics.points import (
    SLOPE_REACH,
    Z95_TWO_SIDED,
    AllPairsPoint,
    point_at,
)
from facenet_validate.metrics.tally import ROUNDING, Tally, jackknife_error
from facenet_validate.metrics.verification import pair_distances

ALL_PAIRS_TARGETS = (1e-3, 1e-4, 1e-5, 1e-6)

_Z_DETECTABLE = float(ndtri(0.99) + ndtri(0.95))


@dataclass(frozen=True, eq=False)
class AllPairs:
    """All pairs of a gallery, scored.

    Attributes
    ----------
    images, identities : int
    genuine_pairs, impostor_pairs : int
        Pairs of images.
    points : tuple of AllPairsPoint
        One for each target.
    """

    images: int
    identities: int
    genuine_pairs: int
    impostor_pairs: int
    points: tuple[AllPairsPoint, ...]


@dataclass(frozen=True)
class AllPairsDrop:
    """What an engine loses of the reference's TAR.

    Attributes
    ----------
    target : float
        The false-accept rate. Each engine has its own threshold for it.
    drop : float
        TAR of the reference less that of the engine.
    standard_error : float
        Of ``drop``, by the paired jackknife over identities.
    interval : tuple of float
        95 %, normal.
    minimum_detectable : float
        The true drop that a one-sided test at 1 %, with this standard error, detects 95 times in
        100.
    frozen_far, frozen_tar : float
        The engine's FAR and TAR at the reference's threshold.
    """

    target: float
    drop: float
    standard_error: float
    interval: tuple[float, float]
    minimum_detectable: float
    frozen_far: float
    frozen_tar: float


@dataclass(frozen=True, eq=False)
class AllPairsComparison:
    """Two engines on all pairs of a gallery."""

    reference: AllPairs
    engine: AllPairs
    drops: tuple[AllPairsDrop, ...]


def all_pairs(
    embeddings: Floats, identities: Integers, targets: tuple[float, ...] = ALL_PAIRS_TARGETS
) -> AllPairs:
    """Score every pair of a gallery by its squared L2 distance.

    Exact: equal to computing all distances in float64. Ties are accepted or rejected as one.

    Parameters
    ----------
    embeddings : (N, D) float array
    identities : (N,) integer array
        Who is in each image.
    targets : tuple of float
        False-accept rates, between 0 and 1.

    Returns
    -------
    AllPairs

    Raises
    ------
    ValueError
        If shapes do not fit, an embedding is NaN or infinite, or a target is out of range. Also if
        there are fewer than three identities, or fewer than two with at least two images: the
        jackknife leaves one out.

    Examples
    --------
    Three people; the pair of people 1 and 2 is the closest, and half of its image pairs are near:

    >>> embeddings = np.array([[0.0], [1.0], [4.0], [6.0], [9.0]])
    >>> found = all_pairs(embeddings, np.array([0, 0, 1, 1, 2]), targets=(0.3,))
    >>> found.genuine_pairs, found.impostor_pairs
    (2, 8)
    >>> point = found.points[0]
    >>> point.tar, point.far, point.threshold
    (1.0, 0.25, 12.5)
    """
    return _Gallery.of(embeddings, identities, targets).scored


def compare_all_pairs(
    reference: Floats,
    engine: Floats,
    identities: Integers,
    targets: tuple[float, ...] = ALL_PAIRS_TARGETS,
) -> AllPairsComparison:
    """Score every pair of a gallery by two engines, and say what the second engine loses.

    Parameters
    ----------
    reference, engine : (N, D) float array
        Embeddings of the same images in the same order.
    identities : (N,) integer array
    targets : tuple of float

    Returns
    -------
    AllPairsComparison

    Raises
    ------
    ValueError
        As :func:`all_pairs`.

    Examples
    --------
    The engine moves one image of person 1 away from the other:

    >>> reference = np.array([[0.0], [1.0], [4.0], [6.0], [9.0]])
    >>> engine = np.array([[0.0], [1.0], [4.0], [8.0], [9.0]])
    >>> found = compare_all_pairs(reference, engine, np.array([0, 0, 1, 1, 2]), targets=(0.3,))
    >>> found.drops[0].drop, found.drops[0].frozen_far, found.drops[0].frozen_tar
    (0.5, 0.25, 0.5)
    """
    before = all_pairs(reference, identities, targets)
    frozen = np.array([point.threshold for point in before.points])
    after = _Gallery.of(engine, identities, targets, frozen)
    drops = []
    for old, new, far, tar in zip(
        before.points, after.scored.points, after.frozen_far, after.frozen_tar, strict=True
    ):
        drop = old.tar - new.tar
        error = jackknife_error(old.left_out - new.left_out)
        half = Z95_TWO_SIDED * error
        drops.append(
            AllPairsDrop(
                target=old.target,
                drop=drop,
                standard_error=error,
                interval=(drop - half, drop + half),
                minimum_detectable=_Z_DETECTABLE * error,
                frozen_far=float(far),
                frozen_tar=float(tar),
            )
        )
    return AllPairsComparison(before, after.scored, tuple(drops))


@dataclass(frozen=True, eq=False)
class _Gallery:
    """A scored gallery, and its rates at thresholds given from outside."""

    scored: AllPairs
    frozen_far: NDArray[np.float64]
    frozen_tar: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        embeddings: Floats,
        identities: Integers,
        targets: tuple[float, ...],
        frozen: NDArray[np.float64] | None = None,
    ) -> _Gallery:
        frozen = np.empty(0) if frozen is None else frozen
        people = _people(embeddings, identities, targets)
        left, right = people.genuine()
        distances = pair_distances(embeddings, left, right)
        order = np.argsort(distances, kind="stable")
        of = people.of_image[left][order]
        several = people.images > 1
        weights = 2 / (people.images[of] * (people.images[of] - 1))
        genuine = Tally.of(distances[order], weights, of)
        found, weight = _enough_impostors(embeddings, people, max(targets), frozen)
        impostor = Tally.of(found.distances, found.weights, found.first, found.second)
        images = len(embeddings)
        return cls(
            scored=AllPairs(
                images=images,
                identities=len(people.images),
                genuine_pairs=len(left),
                impostor_pairs=images * (images - 1) // 2 - len(left),
                points=tuple(point_at(target, genuine, impostor, several) for target in targets),
            ),
            frozen_far=weight / people.pairs,
            frozen_tar=genuine.sums[np.searchsorted(genuine.distances, frozen)]
            / np.count_nonzero(several),
        )


def _people(embeddings: Floats, identities: Integers, targets: tuple[float, ...]) -> People:
    if embeddings.ndim != 2 or identities.shape != embeddings.shape[:1]:
        raise ValueError(
            f"expected embeddings (N, D) and identities (N,), found {embeddings.shape} and "
            f"{identities.shape}"
        )
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise ValueError(f"embedding {np.argmin(finite)} holds NaN or infinity")
    if not targets or not all(0 < target < 1 for target in targets):
        raise ValueError(f"false-accept rates must be between 0 and 1, found {targets}")
    people = People.of(identities)
    several = int(np.count_nonzero(people.images > 1))
    if len(people.images) < 3 or several < 2:
        raise ValueError(
            f"{len(people.images)} identities, {several} of them with at least two images; "
            "expected at least 3 and 2: the jackknife leaves one out"
        )
    return people


def _enough_impostors(
    embeddings: Floats, people: People, target: float, frozen: NDArray[np.float64]
) -> tuple[Impostors, NDArray[np.float64]]:
    """Return all of the closest impostor pairs up to the end of the slope at ``target``."""
    blocks = Blocks.of(embeddings, people)
    far = 1.25 * SLOPE_REACH * target
    while True:
        limit = blocks.estimate(far) if far < 1 else math.inf
        found, weight = blocks.below(limit, frozen)
        enough = found.weights.sum() > SLOPE_REACH * target * people.pairs + ROUNDING
        if enough or math.isinf(limit):
            return found, weight
        far *= 4
