"""The paired comparison within each group of people that a set names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from facenet_validate.gates.verdicts import SEVERITY, GateResult, Verdict
from facenet_validate.metrics.arrays import Booleans, Integers
from facenet_validate.metrics.paired import (
    PairedComparison,
    check_limits,
    compare_decisions,
    non_inferiority,
)

_Z95 = float(ndtri(0.95))


@dataclass(frozen=True)
class Rates:
    """What an engine decides in a group, at the set's frozen thresholds.

    Attributes
    ----------
    accuracy : float
        Share of the pairs decided rightly.
    fnmr : float or None
        Share of the genuine pairs rejected; None without genuine pairs.
    fmr : float or None
        Share of the impostor pairs accepted; None without impostor pairs.
    """

    accuracy: float
    fnmr: float | None
    fmr: float | None


@dataclass(frozen=True)
class Group:
    """Two engines on the pairs of one group.

    Attributes
    ----------
    name : str
    paired : PairedComparison
        The engine's decisions against the reference's.
    reference, engine : Rates
    """

    name: str
    paired: PairedComparison
    reference: Rates
    engine: Rates


def compare_groups(
    names: Sequence[str],
    group_of: Integers,
    same: Booleans,
    reference_correct: Booleans,
    engine_correct: Booleans,
) -> tuple[Group, ...]:
    """Compare an engine with the reference in each group.

    Parameters
    ----------
    names : sequence of str
        The groups' names.
    group_of : (P,) integer array
        Each pair's group, from 0; −1 for a pair of none.
    same : (P,) bool array
        Which pairs are genuine.
    reference_correct, engine_correct : (P,) bool array
        Whether each decided the pair rightly, at the reference's frozen thresholds.

    Returns
    -------
    tuple of Group
        In the order of ``names``.

    Raises
    ------
    ValueError
        If a group has no pair; as :func:`~facenet_validate.metrics.paired.compare_decisions`.

    Examples
    --------
    >>> right, wrong = np.array([True] * 4), np.array([True, False, True, True])
    >>> same = np.array([True, True, False, True])
    >>> found = compare_groups(["a", "b"], np.array([0, 0, 1, -1]), same, right, wrong)
    >>> [(group.name, group.paired.lost, group.engine.fnmr) for group in found]
    [('a', 1, 0.5), ('b', 0, None)]
    """
    found = []
    for number, name in enumerate(names):
        rows = group_of == number
        if not rows.any():
            raise ValueError(f"group {name} has no pair")
        before, after, genuine = reference_correct[rows], engine_correct[rows], same[rows]
        found.append(
            Group(
                name,
                compare_decisions(before, after),
                _rates(before, genuine),
                _rates(after, genuine),
            )
        )
    return tuple(found)


def _rates(correct: Booleans, genuine: Booleans) -> Rates:
    return Rates(
        float(correct.mean()),
        float(np.mean(~correct[genuine])) if genuine.any() else None,
        float(np.mean(~correct[~genuine])) if not genuine.all() else None,
    )


def fewest_pairs(delta: float) -> int:
    """Return how many pairs without any difference show that at most ``delta`` is lost.

    Tango's bound is then ``z² / (n + z²)``.

    Raises
    ------
    ValueError
        If ``delta`` is not between 0 and 1.

    Examples
    --------
    >>> fewest_pairs(0.003), fewest_pairs(0.001)
    (900, 2703)
    """
    check_limits(delta=delta)
    return math.ceil(_Z95**2 * (1 - delta) / delta)


def judge_groups(groups: Sequence[Group], *, gate: str, delta: float, alpha: float) -> GateResult:
    """Judge each group as the paired gate judges a set, and return the worst result.

    A group of fewer than :func:`fewest_pairs` can fail or be inconclusive, but not pass.

    Parameters
    ----------
    groups : sequence of Group
        At least one.
    gate : str
        The gate's name.
    delta : float
        Largest acceptable drop in each group, as a share of its pairs.
    alpha : float
        Each group's share of the run's false-alarm budget.

    Returns
    -------
    GateResult
        Of the worst group; of two equal verdicts the one with the larger drop. The detail names
        every group that does not pass.

    Raises
    ------
    ValueError
        If there is no group; as :func:`~facenet_validate.metrics.paired.non_inferiority`.

    Examples
    --------
    >>> from facenet_validate.metrics.paired import compare_counts
    >>> rates = Rates(0.99, 0.01, 0.01)
    >>> groups = [
    ...     Group("a", compare_counts(lost=1, won=1, pairs=6000), rates, rates),
    ...     Group("b", compare_counts(lost=30, won=1, pairs=1200), rates, rates),
    ... ]
    >>> found = judge_groups(groups, gate="accuracy.group_drop", delta=0.003, alpha=0.001)
    >>> found.verdict.value, found.detail.partition(":")[0]
    ('fail', 'group b fails')
    """
    if not groups:
        raise ValueError("there is no group to judge")
    needed = fewest_pairs(delta)
    results = [
        non_inferiority(group.paired, gate=gate, delta=delta, alpha=alpha) for group in groups
    ]
    drops = [group.paired.drop for group in groups]
    order = sorted(
        range(len(groups)),
        key=lambda at: (SEVERITY.index(results[at].verdict), drops[at]),
        reverse=True,
    )
    told = []
    for at in order:
        group, result = groups[at], results[at]
        if result.verdict is Verdict.PASS:
            continue
        word = "fails" if result.verdict is Verdict.FAIL else "is inconclusive"
        few = f"; a pass needs {needed} pairs" if group.paired.pairs < needed else ""
        told.append(f"group {group.name} {word}: {result.detail}{few}")
    passed = sum(result.verdict is Verdict.PASS for result in results)
    told.append(f"{passed} of {len(groups)} groups pass")
    return replace(results[order[0]], detail="; ".join(told))
