"""The rule for a session beside stored ones of its configuration and machine.

What is compared is a latency, or the latency relative to FP32 in the same run, of which a machine
shared with others cancels. With k sessions in the newest epoch and the natural logs of their
values,

    d = log(value now) − median of the k logs
    w(α) = t(1 − α, k − 1) · max(s, 0.004) · sqrt(1 + 1.57 / k)

where s is the standard deviation (k − 1 in the denominator) of the k logs and t a one-sided
quantile. w is the half width of a prediction interval: one new session varies with variance s², the
median of k sessions with about π/2 · s²/k, and π/2 = 1.57 (the large-sample variance of a normal
sample's median, e.g. Casella and Berger, *Statistical Inference*, 2nd edition, section 10.2).
Five sessions may agree by luck: 0.004 keeps the interval from being too narrow then.

Fail if d > log(limit) and d − w(α) > 0: the loss is larger than allowed and not noise. α is the
gate's share of the 1 % that the gates of a run have together. Pass if d + w(1 %) < log(limit). Both
cannot hold: w ≥ 0, so d + w < log(limit) excludes d > log(limit). Otherwise inconclusive, which on
machines whose sessions differ by more than a percent is the usual answer, by design.

A regression of 2 % a week never fails that rule, because the stored sessions move along. So the
same rule is applied against the epoch's first five sessions alone at 1.05, or at the gate's own
limit where that is larger, and it can only fail. Once there are more than five, the two rules
share α.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from facenet_validate.benchmarking.baselines import FIRST_SESSIONS
from facenet_validate.benchmarking.paired_ratio import ALPHA
from facenet_validate.gates.verdicts import Verdict

CREEP_LIMIT = 1.05
"""Largest acceptable latency relative to the epoch's first five sessions."""

LEAST_SPREAD = 0.004
"""Smallest spread that is reckoned with: few sessions may agree by luck."""


@dataclass(frozen=True)
class Shift:
    """How far a value is from stored ones, in natural logs.

    Attributes
    ----------
    distance : float
        d: log of now less the median of the stored logs; above zero, now is larger.
    below, above : float
        w(α) and w(1 %): how far d's bounds are from it.
    spread : float
        s: standard deviation of the stored logs.
    """

    distance: float
    below: float
    above: float
    spread: float

    def verdict(self, limit: float) -> Verdict:
        """Judge the shift against `limit`, a ratio above one."""
        if self.distance > math.log(limit) and self.distance - self.below > 0.0:
            return Verdict.FAIL
        if self.distance + self.above < math.log(limit):
            return Verdict.PASS
        return Verdict.INCONCLUSIVE

    def bounds(self) -> str:
        """Return d's bounds in percent."""
        return f"{percent(self.distance - self.below)} to {percent(self.distance + self.above)}"


def shift(now: float, stored: Sequence[float], alpha: float = ALPHA) -> Shift:
    """Compare a value with at least two stored ones; all above zero, in one unit.

    Parameters
    ----------
    now : float
        The new value.
    stored : sequence of float
        The stored ones.
    alpha : float
        Probability that the lower bound is above the truth; of the upper one it is `ALPHA`.

    Raises
    ------
    statistics.StatisticsError
        If there are fewer than two stored values.
    """
    from scipy.special import stdtrit

    logs = [math.log(value) for value in stored]
    spread = statistics.stdev(logs)
    scale = max(spread, LEAST_SPREAD) * math.sqrt(1.0 + 1.57 / len(logs))
    below, above = (float(stdtrit(len(logs) - 1, 1.0 - error)) * scale for error in (alpha, ALPHA))
    return Shift(math.log(now) - statistics.median(logs), below, above, spread)


@dataclass(frozen=True)
class Judged:
    """A value judged against stored ones.

    Attributes
    ----------
    verdict : Verdict
        Pass, fail or inconclusive.
    change : Shift
        Against the epoch's sessions.
    creep : Shift or None
        Against the epoch's first five, where that is what fails.
    creep_limit : float
        The limit of `creep`.
    """

    verdict: Verdict
    change: Shift
    creep: Shift | None
    creep_limit: float


def judge_shift(now: float, stored: Sequence[float], limit: float, alpha: float = ALPHA) -> Judged:
    """Judge a value against those of an epoch, oldest first, and against slow creep.

    Parameters
    ----------
    now : float
        The new value.
    stored : sequence of float
        At least two.
    limit : float
        Largest acceptable ratio to their median.
    alpha : float
        Probability of a fail where nothing has changed.
    """
    # An epoch of five sessions is its first five: there is no creep to look for.
    creeps = len(stored) > FIRST_SESSIONS
    # A gate with a larger limit allows as much against the first five.
    creep_limit = max(CREEP_LIMIT, limit)
    share = alpha / 2 if creeps else alpha
    change = shift(now, stored, share)
    verdict = change.verdict(limit)
    if creeps:
        creep = shift(now, stored[:FIRST_SESSIONS], share)
        if creep.verdict(creep_limit) is Verdict.FAIL:
            return Judged(Verdict.FAIL, change, creep, creep_limit)
    return Judged(verdict, change, None, creep_limit)


def percent(log_change: float) -> str:
    """Return a change in natural logs as signed percent."""
    return f"{100.0 * math.expm1(log_change):+.1f} %"
