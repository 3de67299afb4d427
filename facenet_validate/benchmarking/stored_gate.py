"""Compare a session with the stored ones of its configuration and machine, and say what changed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from facenet_validate.benchmarking.baselines import FIRST_SESSIONS
from facenet_validate.benchmarking.paired_ratio import ALPHA
from facenet_validate.benchmarking.provenance import changed_since
from facenet_validate.benchmarking.sessions import Session, newest_epoch
from facenet_validate.benchmarking.shift import Shift, judge_shift, percent
from facenet_validate.gates.verdicts import GateResult, Verdict, not_evaluated

MINIMUM_SESSIONS = 5
"""Fewest sessions of an epoch that a session is compared with."""


@dataclass(frozen=True)
class Quantity:
    """What of a session is compared; larger is slower.

    Attributes
    ----------
    name : str
        For people.
    value : callable
        Session → its value, above zero; None where it was not measured.
    text : callable
        Value → text with its unit.
    """

    name: str
    value: Callable[[Session], float | None]
    text: Callable[[float], str]


LATENCY = Quantity(
    "latency", lambda session: session.latency_seconds, lambda value: f"{1e3 * value:.4g} ms"
)
RELATIVE_LATENCY = Quantity(
    "latency / FP32's",
    lambda session: None if session.paired_ratio is None else 1.0 / session.paired_ratio,
    lambda value: f"{value:.4g}",
)


@dataclass(frozen=True)
class Comparison:
    """A session beside the stored ones.

    Attributes
    ----------
    result : GateResult
        Observed is the value now over the stored median (or over that of the first five sessions
        if slow creep alone fails), with its interval.
    row : tuple of str
        What is compared, baseline, now, Δ with its interval, limit: for a table. Empty where
        nothing was compared.
    changed : tuple of str
        Provenance that differs from the baseline's.
    """

    result: GateResult
    row: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def stored_gate(
    now: Session,
    stored: Sequence[Session],
    *,
    gate: str,
    limit: float,
    quantity: Quantity = LATENCY,
    alpha: float = ALPHA,
) -> Comparison:
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
        Largest acceptable value relative to the stored median.
    quantity : Quantity
        What is compared.
    alpha : float
        Probability of a fail where nothing has changed.

    Returns
    -------
    Comparison
        Not evaluated if fewer than five sessions compare; if that is because their identity
        differs, the detail names the fields. Otherwise it names every provenance value that has
        changed.
    """
    same = [session for session in stored if session.identity == now.identity]
    foreign = [session for session in stored if session.identity != now.identity]
    value = quantity.value(now)
    epoch = [s for s in newest_epoch(same) if quantity.value(s) is not None]
    if value is None or len(epoch) < MINIMUM_SESSIONS:
        reasons = [f"{len(epoch)} of {MINIMUM_SESSIONS} sessions recorded"]
        if value is None:
            reasons = [f"{quantity.name} was not measured"]
        if foreign:
            reasons.append(_refused(now, foreign))
        reasons.append("record one with --facenet-update-baselines missing")
        return Comparison(not_evaluated(gate, "; ".join(reasons), limit))
    values = [known for s in epoch if (known := quantity.value(s)) is not None]
    judged = judge_shift(value, values, limit, alpha)
    number = epoch[-1].epoch
    change, allowed, base, against = judged.change, limit, values, f"{len(epoch)} sessions"
    notes = [_described(change, quantity, against)]
    if judged.creep is not None:
        creep_from = f"the epoch's first {FIRST_SESSIONS} (slow creep)"
        notes.append(_described(judged.creep, quantity, creep_from))
        if change.verdict(limit) is not Verdict.FAIL:
            change, allowed, against = judged.creep, judged.creep_limit, creep_from
            base = values[:FIRST_SESSIONS]
    elif judged.verdict is Verdict.INCONCLUSIVE:
        notes.append(f"the stored sessions spread by {percent(change.spread)[1:]}")
    if judged.verdict is not Verdict.PASS:
        minutes = (epoch[-1].recorded() - epoch[0].recorded()).total_seconds() / 60.0
        if minutes < 60.0:
            notes.append(
                f"they were recorded within {minutes:.0f} min, which does not show how much days "
                "differ"
            )
    changed = changed_since(epoch, now)
    if changed:
        notes.append(f"changed since the baseline: {', '.join(changed)}")
    if foreign:
        notes.append(_refused(now, foreign))
    d = change.distance
    return Comparison(
        GateResult(
            gate,
            judged.verdict,
            math.exp(d),
            allowed,
            (math.exp(d - change.below), math.exp(d + change.above)),
            "; ".join(notes),
        ),
        (
            quantity.name,
            f"{quantity.text(statistics.median(base))} ({against}, epoch {number})",
            quantity.text(value),
            f"{percent(d)} ({change.bounds()})",
            f"{100.0 * (allowed - 1.0):+.3g} %",
        ),
        changed,
    )


def confirmed(pooled: Comparison, second: Comparison) -> Comparison:
    """Return the pooled comparison; its fail stands only if the second measurement fails alone too.

    Parameters
    ----------
    pooled : Comparison
        Of all blocks of two measurements.
    second : Comparison
        Of the blocks of the second one.
    """
    result, alone = pooled.result, second.result
    if result.verdict is not Verdict.FAIL or alone.verdict is Verdict.FAIL:
        return pooled
    assert alone.observed is not None
    detail = f"{result.detail}; measured again it is {percent(math.log(alone.observed))}: no fail"
    return replace(pooled, result=replace(result, verdict=Verdict.INCONCLUSIVE, detail=detail))


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return compared sessions as text: a row a quantity, then what changed since the baseline."""
    compared = [comparison for comparison in comparisons if comparison.row]
    if not compared:
        return ""
    rows = [("compared", "baseline", "now", "Δ with its interval", "limit")]
    rows += [comparison.row for comparison in compared]  # type: ignore[misc]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    changed = dict.fromkeys(change for comparison in compared for change in comparison.changed)
    lines.append(f"changed since the baseline: {', '.join(changed) or 'nothing that is recorded'}")
    return "\n".join(lines)


def _described(change: Shift, quantity: Quantity, against: str) -> str:
    return f"{percent(change.distance)} {quantity.name} against {against} ({change.bounds()})"


def _refused(now: Session, foreign: Sequence[Session]) -> str:
    """Name what differs from the newest of the sessions that are not compared."""
    differences = ", ".join(foreign[-1].identity.differences(now.identity))
    if len(foreign) == 1:
        return f"1 session of another configuration not compared ({differences})"
    return f"{len(foreign)} sessions of other configurations not compared (newest: {differences})"
