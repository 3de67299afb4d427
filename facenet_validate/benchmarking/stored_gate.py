"""Say whether a session is slower than the stored ones of its configuration and machine.

With k sessions in the newest epoch and the natural logs of their latencies,

    d = log(latency now) − median of the k logs
    w = t(0.99, k − 1) · max(s, 0.004) · sqrt(1 + 1.57 / k)

where s is the standard deviation (k − 1 in the denominator) of the k logs and t a one-sided 99 %
quantile. w is the half width of a prediction interval: one new session varies with variance s², the
median of k sessions with about π/2 · s²/k, and π/2 = 1.57 (the large-sample variance of a normal
sample's median, e.g. Casella and Berger, *Statistical Inference*, 2nd edition, section 10.2).
0.004 keeps five sessions that agree by luck from judging a sixth too sharply.

Fail if d > log(limit) and d − w > 0: the loss is larger than allowed and not noise. Pass if
d + w < log(limit). Both cannot hold: w ≥ 0, so d + w < log(limit) excludes d > log(limit).
Otherwise inconclusive, which on machines whose sessions differ by more than a percent is the usual
answer, by design.

A regression of 2 % a week never fails that rule, because the stored sessions move along. So the
same rule is applied against the epoch's first five sessions alone at 1.05, and it can only fail.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from facenet_validate.benchmarking.baselines import FIRST_SESSIONS
from facenet_validate.benchmarking.sessions import Session, newest_epoch
from facenet_validate.verdicts import GateResult, Verdict, not_evaluated

MINIMUM_SESSIONS = 5
"""Fewest sessions of an epoch that a session is compared with."""

CREEP_LIMIT = 1.05
"""Largest acceptable latency relative to the epoch's first five sessions."""

_LEAST_SPREAD = 0.004
_DIGEST = re.compile(r"(sha256:)?[0-9a-f]{16,}")


@dataclass(frozen=True)
class Shift:
    """How far a value is from stored ones, in natural logs.

    Attributes
    ----------
    distance : float
        d: log of now less the median of the stored logs; above zero, now is larger.
    half_width : float
        w: half width of d's interval.
    spread : float
        s: standard deviation of the stored logs.
    """

    distance: float
    half_width: float
    spread: float

    def verdict(self, limit: float) -> Verdict:
        """Judge the shift against `limit`, a ratio above one."""
        if self.distance > math.log(limit) and self.distance - self.half_width > 0.0:
            return Verdict.FAIL
        if self.distance + self.half_width < math.log(limit):
            return Verdict.PASS
        return Verdict.INCONCLUSIVE


def shift(now: float, stored: Sequence[float]) -> Shift:
    """Compare a value with at least two stored ones; all above zero, in one unit.

    Raises
    ------
    statistics.StatisticsError
        If there are fewer than two stored values.
    """
    from scipy.special import stdtrit

    logs = [math.log(value) for value in stored]
    spread = statistics.stdev(logs)
    quantile = float(stdtrit(len(logs) - 1, 0.99))
    width = quantile * max(spread, _LEAST_SPREAD) * math.sqrt(1.0 + 1.57 / len(logs))
    return Shift(math.log(now) - statistics.median(logs), width, spread)


def stored_gate(
    now: Session, stored: Sequence[Session], *, gate: str, limit: float = 1.03
) -> GateResult:
    """Judge a session against the stored ones.

    Only stored sessions of the same identity and, of those, of the newest epoch are compared;
    ``now.epoch`` is not looked at.

    Parameters
    ----------
    now : Session
        The session to be judged.
    stored : sequence of Session
        What `BaselineStore.load` returns, oldest first.
    gate : str
        The gate's name, as in ``baselines/gates.toml``.
    limit : float
        Largest acceptable latency relative to the stored median.

    Returns
    -------
    GateResult
        Observed is the latency now over the stored median (or over that of the first five sessions
        if slow creep alone fails), with its interval. Not evaluated if fewer than five sessions
        compare; if that is because their identity differs, the detail names the fields. Otherwise
        it names every provenance value that has changed.
    """
    same = [session for session in stored if session.identity == now.identity]
    foreign = [session for session in stored if session.identity != now.identity]
    epoch = newest_epoch(same)
    if len(epoch) < MINIMUM_SESSIONS:
        reasons = [f"{len(epoch)} of {MINIMUM_SESSIONS} sessions recorded"]
        if foreign:
            reasons.append(_refused(now, foreign))
        reasons.append("record one with --facenet-update-baselines missing")
        return not_evaluated(gate, "; ".join(reasons), limit)
    latencies = [session.latency_seconds for session in epoch]
    change = shift(now.latency_seconds, latencies)
    creep = shift(now.latency_seconds, latencies[:FIRST_SESSIONS])
    verdict = change.verdict(limit)
    notes = [_described(change, f"{len(epoch)} sessions")]
    observed, allowed = change, limit
    if creep.verdict(CREEP_LIMIT) is Verdict.FAIL:
        notes.append(_described(creep, f"the epoch's first {FIRST_SESSIONS} (slow creep)"))
        if verdict is not Verdict.FAIL:
            observed, allowed = creep, CREEP_LIMIT
        verdict = Verdict.FAIL
    elif verdict is Verdict.INCONCLUSIVE:
        notes.append(f"the stored sessions spread by {_percent(change.spread)}")
    changed = _provenance_changes(now, epoch)
    if changed:
        notes.append(f"changed since the baseline: {', '.join(changed)}")
    if foreign:
        notes.append(_refused(now, foreign))
    d, w = observed.distance, observed.half_width
    return GateResult(
        gate,
        verdict,
        math.exp(d),
        allowed,
        (math.exp(d - w), math.exp(d + w)),
        "; ".join(notes),
    )


def _percent(log_change: float) -> str:
    return f"{100.0 * math.expm1(log_change):.1f} %"


def _described(change: Shift, against: str) -> str:
    low, high = change.distance - change.half_width, change.distance + change.half_width
    signed = [f"{'+' if bound >= 0.0 else ''}{_percent(bound)}" for bound in (low, high)]
    sign = "+" if change.distance >= 0.0 else ""
    return (
        f"{sign}{_percent(change.distance)} latency against {against} ({signed[0]} to {signed[1]})"
    )


def _refused(now: Session, foreign: Sequence[Session]) -> str:
    """Name what differs from the newest of the sessions that are not compared."""
    differences = ", ".join(foreign[-1].identity.differences(now.identity))
    if len(foreign) == 1:
        return f"1 session of another configuration not compared ({differences})"
    return f"{len(foreign)} sessions of other configurations not compared (newest: {differences})"


def _provenance_changes(now: Session, epoch: Sequence[Session]) -> list[str]:
    """Name each value that differs from now's in any session of the epoch."""
    names = {name for session in (now, *epoch) for name in session.provenance}
    changes = []
    for name in sorted(names):
        current = now.provenance.get(name)
        earlier = [session.provenance.get(name) for session in epoch]
        others = list(dict.fromkeys(value for value in earlier if value != current))
        if not others:
            continue
        text = f"{name} {', '.join(map(_short, others))} → {_short(current)}"
        count = sum(value != current for value in earlier)
        changes.append(text if count == len(epoch) else f"{text} (in {count} of {len(epoch)})")
    return changes


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    if _DIGEST.fullmatch(value):
        return value.removeprefix("sha256:")[:8] + "…"
    return value
