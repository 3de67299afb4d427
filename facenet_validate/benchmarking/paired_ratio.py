"""How much faster is engine A than engine B, from ABBA quads of one run.

A quad times engine A twice and B twice in the order A, B, B, A. Its log-ratio is::

    log((tB1 + tB2) / (tA1 + tA2))

the log of A's speed relative to B: above zero, A is faster. The sums are compared, not the means of
the logs, because the sums cancel a drift exactly: a machine whose block times change by a factor
1 + c·i at the i-th block (i = 0, 1, 2, 3) scales both sums by 2 + 3c. They are also what a user
counts: the same number of images over the time they took.

The interval is on the median of the quads' log-ratios and rests on order statistics alone (the
sign test), because block times on shared machines have heavy tails that no normal interval covers.
Looking repeatedly at growing data inflates the false-alarm rate, so a measurement is judged only at
`LOOKS`, and each look spends `LOOK_ALPHA` of `ALPHA` (Bonferroni).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facenet_validate.verdicts import GateResult, Verdict

LOOKS = (12, 24, 48, 96)
"""Numbers of quads at which a measurement may be judged."""

ALPHA = 0.01
"""Probability that any look's interval misses the true median."""

LOOK_ALPHA = ALPHA / len(LOOKS)
"""What one look may spend of `ALPHA`."""


@dataclass(frozen=True)
class PairedRatio:
    """The speed of engine A relative to engine B.

    Attributes
    ----------
    quads : int
        Number of ABBA quads.
    ratio : float
        Median over the quads of A's speed divided by B's; above one, A is faster.
    interval : tuple of float
        Interval of `ratio` that holds with probability 1 − `LOOK_ALPHA`; ``(0, inf)`` when there
        are too few quads.
    log_ratios : tuple of float
        One natural log-ratio a quad, in the order measured.
    """

    quads: int
    ratio: float
    interval: tuple[float, float]
    log_ratios: tuple[float, ...]


def median_interval(values: ArrayLike, alpha: float) -> tuple[float, float]:
    """Return a distribution-free confidence interval of the median.

    With X the number of values below the median, X ~ Bin(n, 1/2), the interval from the k-th
    smallest to the k-th largest value misses the median with probability at most
    2·P(X ≤ k − 1). The largest k for which that is at most `alpha` is used; ties only widen the
    coverage. Evaluated in exact arithmetic.

    Parameters
    ----------
    values : array_like, shape (n,)
        The sample, in any unit.
    alpha : float
        Two-sided error probability, in (0, 1).

    Returns
    -------
    tuple of float
        Lower and upper bound, both members of the sample; ``(-inf, inf)`` if no k qualifies, that
        is if 2^(1−n) > `alpha`.

    Raises
    ------
    ValueError
        If `values` is not one-dimensional or holds a NaN, or `alpha` is outside (0, 1).

    References
    ----------
    W. J. Conover, *Practical Nonparametric Statistics*, 3rd edition, section 3.2.

    Examples
    --------
    >>> median_interval(range(12), 0.0025)
    (0.0, 11.0)
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or np.isnan(sample).any():
        msg = f"a sample is a vector without NaN, not an array of shape {sample.shape}"
        raise ValueError(msg)
    if not 0.0 < alpha < 1.0:
        msg = f"alpha is {alpha}, which is not between 0 and 1"
        raise ValueError(msg)
    ordered = np.sort(sample)
    count = len(ordered)
    allowed = Fraction(alpha) * 2**count / 2
    tail = 0
    k = 0
    while tail + math.comb(count, k) <= allowed:
        tail += math.comb(count, k)
        k += 1
    if k == 0:
        return -math.inf, math.inf
    return float(ordered[k - 1]), float(ordered[count - k])


def paired_ratio(quads: NDArray[np.float64]) -> PairedRatio:
    """Return the speed of engine A relative to B with its interval.

    Parameters
    ----------
    quads : ndarray of float64, shape (Q, 4)
        Seconds of the blocks in the order A, B, B, A, one quad a row.

    Returns
    -------
    PairedRatio
        The median ratio; its interval is at `LOOK_ALPHA`.

    Raises
    ------
    ValueError
        If there is no quad, the shape is another, or a time is not finite and positive.
    """
    seconds = np.asarray(quads, dtype=np.float64)
    if seconds.ndim != 2 or seconds.shape[1] != 4 or len(seconds) == 0:
        msg = f"quads have the shape (Q, 4) with Q ≥ 1, not {seconds.shape}"
        raise ValueError(msg)
    if not (np.isfinite(seconds) & (seconds > 0.0)).all():
        msg = "a block took no time, negative time or forever: the clock is broken"
        raise ValueError(msg)
    a1, b1, b2, a2 = seconds.T
    logs = np.log((b1 + b2) / (a1 + a2))
    low, high = median_interval(logs, LOOK_ALPHA)
    return PairedRatio(
        quads=len(logs),
        ratio=math.exp(float(np.median(logs))),
        interval=(math.exp(low), math.exp(high)),
        log_ratios=tuple(logs.tolist()),
    )


def next_look(quads_so_far: int) -> int | None:
    """Return the number of quads at the next look, or None after the last one."""
    return next((look for look in LOOKS if look > quads_so_far), None)


def ratio_floor(
    measured: PairedRatio, *, gate: str, floor: float, reference: str = "FP32"
) -> GateResult:
    """Judge whether engine A reaches `floor` times the speed of the reference engine.

    Pass if the whole interval is at or above the floor, fail if it is below, inconclusive
    otherwise: the caller then takes more quads, up to `next_look`. Between looks the result is
    inconclusive whatever was measured, because the error probability is shared out among `LOOKS`.

    Parameters
    ----------
    measured : PairedRatio
        Engine A against the reference engine.
    gate : str
        The gate's name, as in ``baselines/gates.toml``.
    floor : float
        Smallest acceptable speed relative to the reference.
    reference : str
        What engine B is called in the result's detail.

    Returns
    -------
    GateResult
        Observed is the ratio, limit the floor.
    """
    low, high = measured.interval
    detail = f"{measured.ratio:.3g} × {reference}'s speed over {measured.quads} quads"
    if math.isfinite(high):
        detail += f", {1.0 - LOOK_ALPHA:.2%} interval {low:.3g}–{high:.3g}".replace("%", " %")
    coming = next_look(measured.quads)
    if measured.quads not in LOOKS:
        looks = ", ".join(str(look) for look in LOOKS)
        verdict = Verdict.INCONCLUSIVE
        detail += f"; judged only at {looks} quads"
    elif low >= floor:
        verdict = Verdict.PASS
    elif high < floor:
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.INCONCLUSIVE
        detail += "; no looks are left" if coming is None else f"; next look at {coming} quads"
    return GateResult(gate, verdict, measured.ratio, floor, measured.interval, detail)
