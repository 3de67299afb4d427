"""Cluster bootstrap over identities: how much the difference of two engines depends on the people.

McNemar's and DeLong's tests take pairs to be independent. Pairs that share a person are not.
Here the people are drawn with replacement, and a pair counts as often as its people were drawn: a
genuine pair m times for a person drawn m times, an impostor pair m·m′ times (Snijders and Borgatti,
"Non-parametric standard errors and tests for network statistics", Connections 22 (1999), 161-170;
for verification, Mansfield and Wayman, *Best Practices in Testing and Reporting Performance of
Biometric Devices*, 2002).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.metrics.arrays import Booleans, Floats, Integers, check_length, check_scores
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.view2 import View2

_BLOCK = 100

Interval = tuple[float, float]


@dataclass(frozen=True)
class IdentityBootstrap:
    """Percentile intervals, 95 %, of the reference less the engine.

    Attributes
    ----------
    drop : tuple of float
        Of the share of pairs decided rightly, both at the reference's frozen rule.
    accuracy : tuple of float
        The same, each at its own thresholds.
    auc : tuple of float
        Of the pooled AUC, ties counted half.
    replicates : int
    """

    drop: Interval
    accuracy: Interval
    auc: Interval
    replicates: int


def bootstrap_identities(
    pairs: PairList,
    identities: Integers,
    *,
    reference: View2,
    engine: View2,
    frozen: Floats,
    replicates: int = 2000,
    seed: int = 0,
) -> IdentityBootstrap:
    """Resample the people behind the pairs.

    Thresholds stay as they are: they are chosen on nine times as many pairs as they decide. Their
    own spread is not part of these intervals.

    Parameters
    ----------
    pairs : PairList
    identities : (N,) integer array
        Who is in each image, from 0.
    reference, engine : View2
        Both evaluated on ``pairs``.
    frozen : (P,) float array
        The engine's distances by the reference's rule, ``reference.rule.distances(…)``.
    replicates : int
    seed : int
        The same seed gives the same intervals.

    Returns
    -------
    IdentityBootstrap

    Raises
    ------
    ValueError
        If lengths do not fit, or a pair's kind contradicts its identities.

    Examples
    --------
    The engine halves its embeddings and loses the impostor pairs at the reference's thresholds. Two
    people are few: the drop may be 0 or 0.5, as they are drawn.

    >>> from facenet_validate.metrics.view2 import evaluate_embeddings
    >>> embeddings = np.array([[0.0], [4.0], [10.0], [14.0]])
    >>> pairs = PairList(
    ...     left=np.array([0, 1, 2, 1]),
    ...     right=np.array([1, 2, 3, 2]),
    ...     same=np.array([True, False, True, False]),
    ...     folds=np.array([0, 0, 1, 1]),
    ... )
    >>> reference, engine = (evaluate_embeddings(e, pairs) for e in (embeddings, embeddings / 2))
    >>> found = bootstrap_identities(
    ...     pairs,
    ...     np.array([0, 0, 1, 1]),
    ...     reference=reference,
    ...     engine=engine,
    ...     frozen=reference.rule.distances(embeddings / 2, pairs),
    ... )
    >>> found.drop, found.accuracy, found.auc
    ((0.0, 0.5), (0.0, 0.0), (0.0, 0.0))
    """
    check_scores(frozen, pairs.same)
    for name, view in (("reference", reference), ("engine", engine)):
        check_length(f"the {name}'s distances", view.distances, frozen)
    first, second = identities[pairs.left], identities[pairs.right]
    odd = np.flatnonzero((first == second) != pairs.same)
    if odd.size:
        raise ValueError(
            f"{odd.size} pairs contradict the identities, the first is pair {odd[0]}: same is "
            f"{pairs.same[odd[0]]} for identities {first[odd[0]]} and {second[odd[0]]}"
        )
    # Only people who are in pairs are drawn.
    people, numbers = np.unique(np.concatenate([first, second]), return_inverse=True)
    first, second = numbers[: len(pairs)], numbers[len(pairs) :]
    same = pairs.same
    lost = np.stack(
        [
            reference.correct.astype(np.float64) - reference.rule.correct(frozen, pairs),
            reference.correct.astype(np.float64) - engine.correct,
        ],
        axis=1,
    )
    rank_reference = _Ranking.of(reference.distances, same)
    rank_engine = _Ranking.of(engine.distances, same)
    random = np.random.default_rng(seed)
    differences = np.empty((replicates, 3))
    for start in range(0, replicates, _BLOCK):
        block = slice(start, min(start + _BLOCK, replicates))
        drawn = _drawn(random, block.stop - start, len(people))
        genuine = drawn[:, first[same]]
        impostor = drawn[:, first[~same]] * drawn[:, second[~same]]
        trials = genuine.sum(axis=1) + impostor.sum(axis=1)
        changes = genuine @ lost[same] + impostor @ lost[~same]
        # A draw without a pair of either kind says nothing; it happens with a handful of people.
        with np.errstate(invalid="ignore", divide="ignore"):
            differences[block, :2] = changes / trials[:, None]
            differences[block, 2] = rank_reference.auc(genuine, impostor) - rank_engine.auc(
                genuine, impostor
            )
    low, high = np.nanquantile(differences, [0.025, 0.975], axis=0)
    drop, accuracy, auc = (
        (float(a), float(b)) for a, b in zip(low.tolist(), high.tolist(), strict=True)
    )
    return IdentityBootstrap(drop=drop, accuracy=accuracy, auc=auc, replicates=replicates)


def upper_bound_over_people(
    lost: Floats,
    pairs: PairList,
    identities: Integers,
    *,
    confidence: float = 0.95,
    replicates: int = 2000,
    seed: int = 0,
) -> float:
    """Return the one-sided upper bound of the drop if people, not pairs, are drawn.

    Pairs of one person fail together. Where few people share many pairs, a bound that takes pairs
    to be independent is too low.

    Parameters
    ----------
    lost : (P,) float array
        1 for a pair that the reference alone decides rightly, −1 for one that the engine alone
        does, else 0.
    pairs : PairList
    identities : (N,) integer array
        Who is in each image, from 0.
    confidence : float
        Of the one-sided bound.
    replicates, seed : int
        As of :func:`bootstrap_identities`.

    Examples
    --------
    Four people have 25 pairs each, and the engine loses five of 100. The bound is higher if one
    person has them all:

    >>> identities = np.arange(4).repeat(2)
    >>> left = 2 * np.arange(4).repeat(25)
    >>> pairs = PairList(left, left + 1, np.ones(100, bool), np.zeros(100, int))
    >>> spread, together = np.zeros(100), np.zeros(100)
    >>> spread[[0, 25, 50, 75, 99]], together[:5] = 1, 1
    >>> [round(upper_bound_over_people(x, pairs, identities), 3) for x in (spread, together)]
    [0.06, 0.1]
    """
    check_length("the pairs", pairs.same, lost)
    people = np.stack([identities[pairs.left], identities[pairs.right]], axis=1)
    who, numbers = np.unique(people, return_inverse=True)
    # Pairs of the same two people are drawn together: one weight does for all of them.
    dyads, of_pair = np.unique(numbers.reshape(-1, 2), axis=0, return_inverse=True)
    changes, trials = np.bincount(of_pair.ravel(), lost), np.bincount(of_pair.ravel())
    alone, random = dyads[:, 0] == dyads[:, 1], np.random.default_rng(seed)
    drops = np.empty(replicates)
    for start in range(0, replicates, _BLOCK):
        block = slice(start, min(start + _BLOCK, replicates))
        drawn = _drawn(random, block.stop - start, len(who))
        weights = drawn[:, dyads[:, 0]] * np.where(alone, 1, drawn[:, dyads[:, 1]])
        with np.errstate(invalid="ignore"):
            drops[block] = weights @ changes / (weights @ trials)
    return float(np.nanquantile(drops, confidence))


def _drawn(random: np.random.Generator, replicates: int, people: int) -> NDArray[np.float64]:
    """Draw as many people as there are, with replacement; return how often each was drawn.

    The counts have the shape (replicates, people).
    """
    draws = random.integers(people, size=(replicates, people))
    draws += np.arange(replicates)[:, None] * people
    counts = np.bincount(draws.ravel(), minlength=replicates * people)
    return counts.reshape(replicates, people).astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Ranking:
    """Where the impostor distances fall among the genuine ones; with weights this gives AUCs."""

    order: NDArray[np.intp]
    below: NDArray[np.intp]
    not_above: NDArray[np.intp]

    @classmethod
    def of(cls, distances: Floats, same: Booleans) -> _Ranking:
        genuine, impostor = distances[same], distances[~same]
        order = np.argsort(genuine)
        return cls(
            order,
            np.searchsorted(genuine[order], impostor, side="left"),
            np.searchsorted(genuine[order], impostor, side="right"),
        )

    def auc(
        self, genuine: NDArray[np.float64], impostor: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the weighted Mann-Whitney statistic of each replicate, ties counted half."""
        closer = np.zeros((len(genuine), len(self.order) + 1))
        np.cumsum(genuine[:, self.order], axis=1, out=closer[:, 1:])
        duels = closer[:, self.below] + closer[:, self.not_above]
        won = np.einsum("ij,ij->i", duels, impostor)
        return np.asarray(won / (2 * closer[:, -1] * impostor.sum(axis=1)))
