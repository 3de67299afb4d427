"""The vocabulary of every check: verdicts, and the result of a gate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Verdict(StrEnum):
    """The outcome of a gate. There is no silent pass: what was not judged says so.

    A gate that a test could not judge is *not evaluated*; one whose test did not run, or broke
    before it judged, is *not run*.
    """

    PASS = "pass"  # noqa: S105 (not a password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_EVALUATED = "not evaluated"
    NOT_RUN = "not run"


SEVERITY = (
    Verdict.PASS,
    Verdict.NOT_EVALUATED,
    Verdict.NOT_RUN,
    Verdict.INCONCLUSIVE,
    Verdict.FAIL,
)
"""The verdicts from the best to the worst."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst verdict: fail, then inconclusive, not run, not evaluated, and pass.

    Nothing at all is *not evaluated*.
    """
    return max(verdicts, key=SEVERITY.index, default=Verdict.NOT_EVALUATED)


@dataclass(frozen=True)
class GateResult:
    """What a gate saw and said.

    Attributes
    ----------
    gate : str
        ``suite.name``, as in ``baselines/gates.toml``: ``parity.cosine_min``.
    verdict : Verdict
        The outcome.
    observed : float or None
        The measured value, in the unit of ``limit``; None where nothing was measured.
    limit : float or None
        The threshold it was held against; None where none applies.
    interval : tuple of float or None
        Lower and upper confidence bounds of ``observed``; one-sided bounds use infinity.
    detail : str
        One line: why this verdict, or what else the reader should know.
    """

    gate: str
    verdict: Verdict
    observed: float | None
    limit: float | None
    interval: tuple[float, float] | None = None
    detail: str = ""


@dataclass(frozen=True)
class Observed:
    """What a test saw, before a limit is known.

    Attributes
    ----------
    gate : str
        The gate it is for.
    value : float or None
        The measured value; None where it cannot be told.
    detail : str
        What else the reader should know, or why the value cannot be told.
    """

    gate: str
    value: float | None
    detail: str = ""


def hold(observed: Observed, limit: float, bound: Literal["floor", "ceiling"]) -> GateResult:
    """Return the result of an observation: NaN fails, and what cannot be told is not evaluated."""
    gate, value, detail = observed.gate, observed.value, observed.detail
    if value is None:
        return not_evaluated(gate, detail, limit)
    reached = value >= limit if bound == "floor" else value <= limit
    verdict = Verdict.PASS if reached else Verdict.FAIL
    return GateResult(gate, verdict, value, limit, detail=detail)


def bounded(value: float, upper: float, limit: float, *, rejected: bool) -> Verdict:
    """Return the verdict on a loss that is known by a value and an upper bound of it.

    Parameters
    ----------
    value, upper : float
        The measured loss and its upper confidence bound, which is never below it: pass and fail
        exclude each other.
    limit : float
        The largest acceptable loss.
    rejected : bool
        Whether a test rejects that nothing is lost at all.

    Returns
    -------
    Verdict
        Pass if the bound is at most the limit; fail if the value exceeds the limit and nothing
        lost is rejected; inconclusive otherwise.
    """
    if upper <= limit:
        return Verdict.PASS
    return Verdict.FAIL if value > limit and rejected else Verdict.INCONCLUSIVE


def not_evaluated(gate: str, reason: str, limit: float | None = None) -> GateResult:
    """Return a gate that was not judged, with the reason a reader needs."""
    return GateResult(gate, Verdict.NOT_EVALUATED, None, limit, detail=reason)


_NEAR_ONE = 5e-6


def format_number(value: float | None) -> str:
    """Format a value for tables: up to six significant digits, ``-`` for none.

    What six digits would show as 1 is shown by its distance from 1: ``1-2.4e-12``.
    """
    if value is None:
        return "-"
    if value != 1 and abs(value - 1) < _NEAR_ONE:
        return f"1{value - 1:+.2g}"
    return f"{value:.6g}" if math.isfinite(value) else str(value)
