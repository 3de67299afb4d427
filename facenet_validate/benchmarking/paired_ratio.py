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
`LOOKS`, and each look spends its share of a gate's error probability (Bonferroni). An engine fails
by its upper bound: there the gates of a run share `ALPHA` in the same way. It passes by its lower
bound: there each gate has the whole of `ALPHA`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facenet_validate.gates.catalogue import FAMILY_ALPHA
from facenet_validate.gates.verdicts import GateResult, Verdict

LOOKS = (12, 24, 48, 96)
"""Numbers of quads at which a measurement may be judged."""

ALPHA = FAMILY_ALPHA
"""Probability that any gate of a run fails where nothing has changed, whatever the quads' noise.

Two loads of one engine may differ in speed by where their weights lie in memory. That difference is
the same in all quads of a run, so this probability leaves it out; `self_check` shows how large it
is.
"""


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
        Interval of `ratio` that misses it with probability `ALPHA` / 4 at most (four looks);
        ``(0, inf)`` when there are too few quads.
    judged_upper : float
        Upper bound at the gate's share of `ALPHA`: what a fail is judged by.
    alpha : float
        That share.
    log_ratios : tuple of float
        One natural log-ratio a quad, in the order measured.
    """

    quads: int
    ratio: float
    interval: tuple[float, float]
    judged_upper: float
    alpha: float
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
    k = _rank(len(ordered), alpha)
    if k == 0:
        return -math.inf, math.inf
    return float(ordered[k - 1]), float(ordered[len(ordered) - k])


@cache
def _rank(count: int, alpha: float) -> int:
    """Return the largest k with 2·P(Bin(count, 1/2) ≤ k − 1) ≤ alpha, exactly."""
    allowed = Fraction(alpha) * 2**count / 2
    tail = 0
    k = 0
    while tail + math.comb(count, k) <= allowed:
        tail += math.comb(count, k)
        k += 1
    return k


def paired_ratio(quads: NDArray[np.float64], alpha: float = ALPHA) -> PairedRatio:
    """Return the speed of engine A relative to B with its interval.

    Parameters
    ----------
    quads : ndarray of float64, shape (Q, 4)
        Seconds of the blocks in the order A, B, B, A, one quad a row.
    alpha : float
        The gate's share of `ALPHA`, over all its looks.

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
    low, high = median_interval(logs, ALPHA / len(LOOKS))
    _, judged_upper = median_interval(logs, alpha / len(LOOKS))
    return PairedRatio(
        quads=len(logs),
        ratio=math.exp(float(np.median(logs))),
        interval=(math.exp(low), math.exp(high)),
        judged_upper=math.exp(judged_upper),
        alpha=alpha,
        log_ratios=tuple(logs.tolist()),
    )


def next_look(quads_so_far: int) -> int | None:
    """Return the number of quads at the next look, or None after the last one."""
    return next((look for look in LOOKS if look > quads_so_far), None)


def ratio_floor(measured: PairedRatio, *, gate: str, floor: float, beside: str) -> GateResult:
    """Judge whether engine A reaches `floor` times engine B's speed.

    Pass if the whole interval is at or above the floor, fail if it is below, inconclusive
    otherwise: the caller then takes more quads, up to `next_look`. Between looks the result is
    inconclusive whatever was measured, because the error probability is shared out among `LOOKS`.

    Parameters
    ----------
    measured : PairedRatio
        Engine A against engine B.
    gate : str
        The gate's name, as in ``baselines/gates.toml``.
    floor : float
        Smallest acceptable speed relative to B.
    beside : str
        What engine B is, for people: ``FP32``.

    Returns
    -------
    GateResult
        Observed is the ratio, limit the floor.
    """
    low, high = measured.interval[0], measured.judged_upper
    detail = f"{measured.ratio:.3g} × {beside}'s speed over {measured.quads} quads"
    detail += _bounds(
        measured,
        f"{low:.3g}" if low > 0.0 else "",
        f"{high:.3g}" if math.isfinite(high) else "",
    )
    if low >= floor:
        verdict = Verdict.PASS
    elif high < floor:
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.INCONCLUSIVE
    verdict, note = _at_a_look(verdict, measured.quads)
    return GateResult(gate, verdict, measured.ratio, floor, (low, high), detail + note)


def slow_down(measured: PairedRatio, *, gate: str, limit: float) -> GateResult:
    """Judge whether engine A takes at most `limit` times as long as engine B.

    With r the ratio of latencies, A's over B's: fail if r's median is above the limit and its lower
    bound above one, pass if its upper bound is below the limit, inconclusive otherwise, as in
    `ratio_floor`. So a fail needs two things: a loss above the limit, and evidence that there is a
    loss at all. Pass and fail exclude each other: the median lies within its interval.

    Parameters
    ----------
    measured : PairedRatio
        Engine A against engine B.
    gate : str
        The gate's name, as in ``baselines/gates.toml``.
    limit : float
        Largest acceptable latency relative to B's, above one.

    Returns
    -------
    GateResult
        Observed is the ratio of latencies, with its interval.
    """
    observed = 1.0 / measured.ratio
    low = 1.0 / measured.judged_upper
    high = 1.0 / measured.interval[0] if measured.interval[0] else math.inf
    detail = f"{_signed_percent(observed)} latency over {measured.quads} quads"
    detail += _bounds(
        measured,
        _signed_percent(high) if math.isfinite(high) else "",
        _signed_percent(low) if low > 0.0 else "",
        names=("at most", "at least"),
    )
    if observed > limit and low > 1.0:
        verdict = Verdict.FAIL
    elif high < limit:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    verdict, note = _at_a_look(verdict, measured.quads)
    return GateResult(gate, verdict, observed, limit, (low, high), detail + note)


def _at_a_look(verdict: Verdict, quads: int) -> tuple[Verdict, str]:
    """Return the verdict, and a note on the next look where it is inconclusive."""
    if quads not in LOOKS:
        looks = ", ".join(str(look) for look in LOOKS)
        return Verdict.INCONCLUSIVE, f"; judged only at {looks} quads"
    if verdict is not Verdict.INCONCLUSIVE:
        return verdict, ""
    coming = next_look(quads)
    note = "; no looks are left" if coming is None else f"; next look at {coming} quads"
    return verdict, note


def _bounds(
    measured: PairedRatio, passing: str, failing: str, names: tuple[str, str] = ("≥", "≤")
) -> str:
    """Return the bounds as text with their confidence: that of a pass, then that of a fail.

    An unbounded side is empty. Each bound is one side of an interval and has half of its error.
    """
    text = ""
    for name, bound, alpha in zip(names, (passing, failing), (ALPHA, measured.alpha), strict=True):
        if bound:
            text += f", {name} {bound} ({100.0 * (1.0 - alpha / len(LOOKS) / 2.0):.5g} %)"
    return text


def _signed_percent(ratio: float) -> str:
    return f"{100.0 * (ratio - 1.0):+.1f} %"
