"""How much worse than the reference an engine becomes when photos are corrupted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from facenet_validate.metrics.arrays import Booleans, Integers
from facenet_validate.metrics.bootstrap import upper_bound_over_people
from facenet_validate.metrics.by_person import sign_flip_p_value
from facenet_validate.metrics.paired import PairedComparison, compare_decisions
from facenet_validate.metrics.pairs import PairList


@dataclass(frozen=True)
class AtSeverity:
    """Decisions on the pairs with photos corrupted at one severity.

    Attributes
    ----------
    severity : int
    pairs : int
    reference_accuracy, engine_accuracy : float
        Shares decided rightly, both at the reference's frozen thresholds.
    lost, won : int
        Pairs right by the reference only, and by the engine only.
    """

    severity: int
    pairs: int
    reference_accuracy: float
    engine_accuracy: float
    lost: int
    won: int


@dataclass(frozen=True)
class Fragility:
    """An engine beside the reference on photos corrupted in one way.

    Attributes
    ----------
    paired : PairedComparison
        Severities pooled. Its bound and its test hold for pairs and for people: see
        :func:`compare_corrupted`.
    curve : tuple of AtSeverity
        Severity by severity.
    """

    paired: PairedComparison
    curve: tuple[AtSeverity, ...]


def compare_corrupted(
    reference_correct: Booleans,
    engine_correct: Booleans,
    severities: Integers,
    probes: Integers,
    pairs: PairList,
    identities: Integers,
) -> Fragility:
    """Compare decisions on pairs with a corrupted photo.

    One corrupted photo is in several pairs, which are lost together, and so do photos of one
    person. So the upper bound of the drop is the larger one of Tango's and the bootstrap's over
    people, and the p-value is the larger one of McNemar's and of a sign-flip test over the people
    on the corrupted photos: if the engine is as good as the reference, what a person loses is as
    likely won.

    Parameters
    ----------
    reference_correct, engine_correct : (P,) bool array
        Whether each decided the pair rightly, both at the reference's frozen thresholds.
    severities : (P,) integer array
        Of the pair's corrupted photo.
    probes : (P,) integer array
        Who is on the pair's corrupted photo, from 0.
    pairs : PairList
    identities : (N,) integer array
        Who is in each row that ``pairs`` names, from 0.

    Returns
    -------
    Fragility

    Raises
    ------
    ValueError
        As :func:`~facenet_validate.metrics.paired.compare_decisions`.

    Examples
    --------
    A person's photo is in five pairs, and the engine loses them all. Of pairs alone that would be
    significant; of one person it is not:

    >>> pairs = PairList(np.arange(60), 60 + np.arange(60), np.ones(60, bool), np.zeros(60, int))
    >>> who = np.repeat(np.arange(12), 5)
    >>> right = np.ones(60, bool)
    >>> found = compare_corrupted(right, who > 0, who % 5 + 1, who, pairs, np.tile(who, 2))
    >>> found.paired.lost, found.paired.p_value, found.curve[0].lost, found.curve[1].lost
    (5, 0.5, 5, 0)
    """
    paired = compare_decisions(reference_correct, engine_correct)
    lost = reference_correct.astype(np.float64) - engine_correct
    paired = replace(
        paired,
        upper=max(paired.upper, upper_bound_over_people(lost, pairs, identities)),
        p_value=max(
            paired.p_value, sign_flip_p_value(np.bincount(probes, lost).astype(np.float64))
        ),
    )
    curve = []
    for severity in np.unique(severities).tolist():
        rows = severities == severity
        before, after = reference_correct[rows], engine_correct[rows]
        one = compare_decisions(before, after)
        curve.append(
            AtSeverity(
                severity, one.pairs, float(before.mean()), float(after.mean()), one.lost, one.won
            )
        )
    return Fragility(paired, tuple(curve))
