"""Paired comparison of two engines on the same pairs: McNemar, Tango's bound, the gate.

*Lost* are the pairs that the reference decides rightly and the engine wrongly; *won* are the
reverse. All other pairs say nothing about a difference. That is why a paired comparison sees much
smaller differences than two accuracies with their standard errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc, ndtri

from facenet_validate.gates.verdicts import GateResult, bounded
from facenet_validate.metrics.arrays import Booleans


@dataclass(frozen=True)
class PairedComparison:
    """An engine's decisions against the reference's.

    Attributes
    ----------
    pairs : int
        Pairs compared.
    lost, won : int
        Pairs right by the reference only, and by the engine only.
    drop : float
        Accuracy lost, ``(lost − won) / pairs``.
    upper : float
        One-sided 95 % upper bound of the drop, by Tango's score method.
    p_value : float
        One-sided exact McNemar test against "no drop".
    """

    pairs: int
    lost: int
    won: int
    drop: float
    upper: float
    p_value: float


def mcnemar_one_sided(lost: int, won: int) -> float:
    """Return P(X ≥ lost) for X ~ Bin(lost + won, ½): the exact McNemar test of a drop.

    Parameters
    ----------
    lost, won : int
        Discordant pairs, either way.

    Returns
    -------
    float
        Small where an engine as good as the reference would hardly lose so many pairs; 1 if no
        pair is lost.

    Raises
    ------
    ValueError
        If a count is negative.

    Examples
    --------
    Of 10 discordant pairs 9 were lost: 11 of the 1,024 ways in which 10 coins fall are as bad.

    >>> round(1024 * mcnemar_one_sided(lost=9, won=1))
    11
    """
    check_counts(lost, won, lost + won)
    # The binomial tail as a regularised incomplete beta function.
    return float(betainc(lost, won + 1, 0.5)) if lost else 1.0


def tango_upper_bound(lost: int, won: int, pairs: int, confidence: float = 0.95) -> float:
    """Return the one-sided upper score bound of the drop ``(lost − won) / pairs``.

    The bound is the largest Δ that the score test does not reject: the root above the drop of
    ``lost − won − n·Δ = −z √(n (2 q + Δ (1 − Δ)))``, where q is the maximum-likelihood
    probability of a won pair if the true drop is Δ, the larger root of
    ``2n q² + (Δ (2n − lost + won) − lost − won) q − won Δ (1 − Δ) = 0``.

    Parameters
    ----------
    lost, won : int
        Discordant pairs, either way.
    pairs : int
        All pairs, n.
    confidence : float
        Of the one-sided bound, between 0.5 and 1.

    Returns
    -------
    float
        Between the drop and 1. Without discordant pairs ``z² / (n + z²)``.

    Raises
    ------
    ValueError
        If the counts do not fit, there are no pairs, or the confidence is out of range.

    References
    ----------
    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17 (1998), 891-908.

    Examples
    --------
    >>> round(tango_upper_bound(lost=4, won=1, pairs=6000), 5)
    0.00134
    >>> round(tango_upper_bound(lost=0, won=0, pairs=6000), 5)
    0.00045
    """
    check_counts(lost, won, pairs)
    if pairs < 1:
        raise ValueError("there are no pairs to compare")
    if not 0.5 < confidence < 1:
        raise ValueError(f"confidence must be between 0.5 and 1, found {confidence}")
    z = float(ndtri(confidence))
    # With all pairs alike the variance at the drop itself is 0, and the search below would start
    # on a root that is not the bound.
    if lost == pairs:
        return 1.0
    if max(lost, won) == 0 or won == pairs:
        return (z**2 - won) / (z**2 + pairs)

    def excess(drop: float) -> float:
        linear = drop * (2 * pairs - lost + won) - lost - won
        constant = -won * drop * (1 - drop)
        root = math.sqrt(max(linear**2 - 8 * pairs * constant, 0.0))
        # Two forms of one root; each avoids subtracting nearly equal numbers.
        q = (root - linear) / (4 * pairs) if linear <= 0 else -2 * constant / (root + linear)
        variance = pairs * max(2 * q + drop * (1 - drop), 0.0)
        return lost - won - pairs * drop + z * math.sqrt(variance)

    observed = (lost - won) / pairs
    return max(observed, float(brentq(excess, observed, 1.0, xtol=1e-12)))


def compare_counts(lost: int, won: int, pairs: int) -> PairedComparison:
    """Return the comparison that these counts make; raises as :func:`tango_upper_bound`.

    Examples
    --------
    >>> found = compare_counts(lost=4, won=1, pairs=6000)
    >>> found.drop, round(found.upper, 5), round(found.p_value, 4)
    (0.0005, 0.00134, 0.1875)
    """
    upper = tango_upper_bound(lost, won, pairs)
    return PairedComparison(
        pairs=pairs,
        lost=lost,
        won=won,
        drop=(lost - won) / pairs,
        upper=upper,
        p_value=mcnemar_one_sided(lost, won),
    )


def compare_decisions(reference_correct: Booleans, engine_correct: Booleans) -> PairedComparison:
    """Compare an engine with the reference, pair by pair.

    Parameters
    ----------
    reference_correct, engine_correct : (P,) bool array
        Whether each decided the pair rightly. Both decide at the reference's frozen thresholds: a
        threshold tuned again for the engine hides a drift of scale.

    Returns
    -------
    PairedComparison

    Raises
    ------
    ValueError
        If the arrays are not boolean, one-dimensional, of one length and non-empty.

    Examples
    --------
    >>> found = compare_decisions(
    ...     np.array([True, True, True, False]), np.array([True, False, False, True])
    ... )
    >>> found.lost, found.won, found.drop
    (2, 1, 0.25)
    """
    for correct in (reference_correct, engine_correct):
        if correct.dtype != np.bool_ or correct.ndim != 1 or not correct.size:
            raise ValueError(
                f"expected a boolean array of shape (pairs,), found {correct.dtype} {correct.shape}"
            )
    if reference_correct.shape != engine_correct.shape:
        raise ValueError(
            f"{reference_correct.size} decisions of the reference, {engine_correct.size} of the "
            "engine"
        )
    lost = np.count_nonzero(reference_correct & ~engine_correct)
    won = np.count_nonzero(engine_correct & ~reference_correct)
    return compare_counts(int(lost), int(won), reference_correct.size)


def non_inferiority(
    comparison: PairedComparison, *, gate: str, delta: float, alpha: float = 0.01
) -> GateResult:
    """Judge whether an engine loses at most ``delta`` of accuracy.

    Pass if the upper bound is at most ``delta``; fail if the drop exceeds ``delta`` and the
    McNemar test rejects at ``alpha``; inconclusive otherwise. The bound is never below the drop,
    so pass and fail exclude each other.

    Parameters
    ----------
    comparison : PairedComparison
    gate : str
        Name of the gate, as in :class:`~facenet_validate.gates.verdicts.GateResult`.
    delta : float
        Largest acceptable drop, as a share of the pairs.
    alpha : float
        This gate's share of the run's false-alarm budget.

    Returns
    -------
    GateResult
        ``observed`` is the drop, ``interval`` runs from −∞ to the upper bound.

    Raises
    ------
    ValueError
        If ``delta`` or ``alpha`` is not between 0 and 1.

    Examples
    --------
    >>> for lost, won in ((4, 1), (19, 5), (30, 2)):
    ...     comparison = compare_counts(lost, won, pairs=6000)
    ...     print(non_inferiority(comparison, gate="accuracy.paired_drop", delta=0.003).verdict)
    pass
    inconclusive
    fail
    """
    check_limits(delta=delta, alpha=alpha)
    rejected = comparison.p_value < alpha
    return GateResult(
        gate,
        bounded(comparison.drop, comparison.upper, delta, rejected=rejected),
        observed=comparison.drop,
        limit=delta,
        interval=(-math.inf, comparison.upper),
        detail=(
            f"{comparison.lost} lost, {comparison.won} won of {comparison.pairs} pairs, "
            f"McNemar p {comparison.p_value:.2g}"
        ),
    )


def check_counts(lost: int, won: int, pairs: int) -> None:
    """Raise ValueError unless these numbers of lost and won pairs are possible.

    Examples
    --------
    >>> check_counts(lost=4, won=3, pairs=6)
    Traceback (most recent call last):
    ValueError: 4 lost and 3 won pairs of 6 cannot be
    """
    if lost < 0 or won < 0 or lost + won > pairs:
        raise ValueError(f"{lost} lost and {won} won pairs of {pairs} cannot be")


def check_limits(**limits: float) -> None:
    """Raise ValueError unless each value lies strictly between 0 and 1.

    Examples
    --------
    >>> check_limits(delta=0.003, alpha=1)
    Traceback (most recent call last):
    ValueError: alpha must be between 0 and 1, found 1
    """
    for name, value in limits.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must be between 0 and 1, found {value}")
