"""Figures of a large set's pairs: TAR at small false-accept rates, and the operating point.

The figures are those of :mod:`~facenet_validate.metrics.all_pairs` and
:mod:`~facenet_validate.metrics.gallery_rates`, from stripes of rows that were compared one after
the other, or on several machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from facenet_validate.base.progress import Report, silent
from facenet_validate.base.workers import Threads, Workers
from facenet_validate.metrics.limits import MOST_KEPT, Limits, Pilot
from facenet_validate.metrics.operating import ErrorRates
from facenet_validate.metrics.partials import Measured, Partial, add
from facenet_validate.metrics.points import SLOPE_REACH, AllPairsPoint, point_at
from facenet_validate.metrics.rows import Comparisons
from facenet_validate.metrics.stripes import stripe, stripes_of
from facenet_validate.metrics.tails import Tail, genuine_tally

TARGETS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)

FEWEST_PAIRS_OF_PEOPLE = 30
"""Pairs of people, by weight, that a false-accept rate rests on at least where it is shown."""

MOST_GENUINE = 2**24
"""Genuine comparisons that are kept: 1.7 GB at the end."""

Find = Callable[[Comparisons, Pilot, Limits], Iterable[Partial]]
"""Compares all stripes of rows, in any order."""


@dataclass(frozen=True, eq=False)
class Rate:
    """TAR at a false-accept rate, and what it rests on.

    Attributes
    ----------
    point : AllPairsPoint
        ``left_out`` and the interval of a rate that is not exact take each person's share in FAR
        from the mark nearest to the threshold.
    exact : bool
        Whether the threshold lies among pairs that were kept one by one. Otherwise it is the edge
        of a bin.
    people : int
        People who are in an accepted impostor pair.
    pairs_of_people : float
        Weight of the accepted impostor pairs: those of two people weigh 1 together.
    carried : bool
        Whether the set has enough pairs of people for this rate: 30 that may be accepted.
    """

    point: AllPairsPoint
    exact: bool
    people: int
    pairs_of_people: float
    carried: bool


@dataclass(frozen=True, eq=False)
class LargeSet:
    """All pairs of a large set.

    Attributes
    ----------
    images, people : int
    genuine, impostor : int
        Comparisons.
    rates : tuple of Rate
        One for each target.
    operating : ErrorRates, optional
        At the threshold, if one was given. ``fmr_by_people`` is right to nine digits.
    exact_below, width : float
        Thresholds below the first are exact; beyond it they are multiples of the second.
    """

    images: int
    people: int
    genuine: int
    impostor: int
    rates: tuple[Rate, ...]
    operating: ErrorRates | None
    exact_below: float
    width: float


@dataclass(frozen=True)
class InMemory:
    """Compares all stripes of rows, and keeps nothing on a disk.

    Attributes
    ----------
    workers : Workers
        By default this thread.
    report : callable
        Called with the number of stripes that are done, and of all.

    Examples
    --------
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> pairs = Comparisons.of(ArrayRows(np.array([[0.0], [1.0], [4.0]])), np.array([0, 0, 1]))
    >>> pilot = Pilot.of(pairs)
    >>> len(list(InMemory()(pairs, pilot, pilot.limits((0.5,), None))))
    1
    """

    workers: Workers = field(default_factory=Threads)
    report: Report = silent

    def __call__(self, pairs: Comparisons, pilot: Pilot, limits: Limits) -> Iterator[Partial]:
        """Yield each stripe's result."""
        del pilot
        stripes, compare = stripes_of(pairs.images), partial(stripe, pairs, limits)
        for done, (_, found) in enumerate(self.workers(compare, stripes), start=1):
            yield found
            self.report(done, len(stripes))


def large_set(
    pairs: Comparisons,
    targets: tuple[float, ...] = TARGETS,
    threshold: float | None = None,
    *,
    find: Find | None = None,
    most_kept: int = MOST_KEPT,
) -> LargeSet:
    """Compare all pairs of a set that need not fit into memory.

    Parameters
    ----------
    pairs : Comparisons
    targets : tuple of float
        False-accept rates, between 0 and 1.
    threshold : float, optional
        Squared L2 of an operating point; pairs below it are accepted.
    find : callable
        Compares the stripes. By default in this process.
    most_kept : int
        Impostor pairs that are kept one by one.

    Returns
    -------
    LargeSet

    Raises
    ------
    ValueError
        If an embedding is NaN or infinite, a target is out of range, or there are fewer than three
        people or fewer than two with several images. Also if there are more than 2^24 genuine
        comparisons.

    Examples
    --------
    >>> from facenet_validate.metrics.rows import ArrayRows
    >>> rows = ArrayRows(np.array([[0.0], [1.0], [4.0], [6.0], [9.0]]))
    >>> found = large_set(Comparisons.of(rows, np.array([0, 0, 1, 1, 2])), (0.3,), threshold=10.0)
    >>> rate = found.rates[0]
    >>> rate.point.tar, rate.point.far, rate.point.threshold, rate.exact, rate.carried
    (1.0, 0.25, 12.5, True, False)
    >>> found.operating.false_accepts, found.operating.accepts_of.tolist()
    (2, [1, 2, 1])
    """
    _check(pairs, targets, threshold)
    find = find or InMemory()
    pilot, further = Pilot.of(pairs), 1.0
    while True:
        limits = pilot.limits(targets, threshold, further=further, most_kept=most_kept)
        found = add(find(pairs, pilot, limits), limits)
        tail = Tail.of(found, pairs, limits)
        if tail.reaches(SLOPE_REACH * max(targets) * pairs.people.pairs):
            return _summary(found, tail, pairs, targets, threshold, limits)
        further *= 4


def _check(pairs: Comparisons, targets: tuple[float, ...], threshold: float | None) -> None:
    if not targets or not all(0 < target < 1 for target in targets):
        raise ValueError(f"false-accept rates must be between 0 and 1, found {targets}")
    if threshold is not None and not np.isfinite(threshold):
        raise ValueError(f"the threshold must be a number, found {threshold}")
    images = pairs.people.images
    several = int(np.count_nonzero(images > 1))
    if len(images) < 3 or several < 2:
        raise ValueError(
            f"{len(images)} people, {several} of them with at least two images; expected at least "
            "3 and 2: the jackknife leaves one out"
        )
    if pairs.genuine_total > MOST_GENUINE:
        raise ValueError(
            f"{pairs.genuine_total:,} genuine comparisons, at most {MOST_GENUINE:,} are kept; one "
            f"person has {images.max():,} of the {pairs.images:,} images. Leave out some images "
            "of the people with most."
        )


def _summary(
    found: Partial,
    tail: Tail,
    pairs: Comparisons,
    targets: tuple[float, ...],
    threshold: float | None,
    limits: Limits,
) -> LargeSet:
    several = pairs.people.images > 1
    genuine = genuine_tally(found.genuine, pairs)
    rates = []
    for target in targets:
        allowed = target * pairs.people.pairs
        limit = tail.first_beyond(allowed)
        accepted = tail.accepted(limit, len(several))
        rates.append(
            Rate(
                point=point_at(target, genuine, tail, several),
                exact=tail.is_exact(limit),
                people=int(np.count_nonzero(accepted.by_identity)),
                pairs_of_people=accepted.weight,
                carried=allowed >= FEWEST_PAIRS_OF_PEOPLE,
            )
        )
    return LargeSet(
        images=pairs.images,
        people=len(several),
        genuine=len(found.genuine),
        impostor=pairs.total - len(found.genuine),
        rates=tuple(rates),
        operating=None
        if threshold is None
        else _operating(found, found.genuine, pairs, threshold, limits),
        exact_below=tail.exact_below,
        width=tail.width,
    )


def _operating(
    found: Partial, genuine: Measured, pairs: Comparisons, threshold: float, limits: Limits
) -> ErrorRates:
    people = pairs.people
    several, count = people.images > 1, len(people.images)
    rejected = genuine.distances >= threshold
    of = people.of_image[genuine.left]
    shares = np.bincount(of, rejected, count)[several] / np.bincount(of, minlength=count)[several]
    return ErrorRates(
        genuine=len(genuine),
        impostor=pairs.total - len(genuine),
        false_rejects=int(np.count_nonzero(rejected)),
        false_accepts=int(found.accepts.sum()) // 2,
        fnmr_by_person=float(shares.mean()),
        fmr_by_people=found.accepted * 2.0**-limits.bits / people.pairs,
        accepts_of=found.accepts,
    )
