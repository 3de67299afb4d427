"""Some sessions against others of the same identity, by the rule of the stored baselines.

The value of side B, the median of its sessions, is judged by `shift` against the sessions of side
A. Its interval is that of a single new session, so with several on side B it is wider than it
would have to be: a verdict errs towards inconclusive. All comparisons of a call share `ALPHA`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from facenet_validate.benchmarking.paired_ratio import ALPHA
from facenet_validate.benchmarking.provenance import provenance_changes
from facenet_validate.benchmarking.sessions import Identity
from facenet_validate.benchmarking.shift import Shift, shift
from facenet_validate.benchmarking.stored_gate import (
    LATENCY,
    MINIMUM_SESSIONS,
    RELATIVE_LATENCY,
    Quantity,
)
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.history.selectors import Selection
from facenet_validate.history.series import SeriesEntry, titles

NAMED = 3
"""Most identities that are named of those in A only: a baseline holds more than a run measures."""

VERDICTS = {
    Verdict.PASS: "no regression",
    Verdict.FAIL: "REGRESSION",
    Verdict.INCONCLUSIVE: "inconclusive",
}


@dataclass(frozen=True)
class Compared:
    """One quantity of one identity on both sides.

    Attributes
    ----------
    quantity : Quantity
        Latency, or latency in relation to FP32's.
    before, after : float
        Medians of side A and side B.
    sessions : tuple of int
        How many sessions of A and of B hold the quantity.
    shift : Shift or None
        B against A with its interval; None where A has fewer than `MINIMUM_SESSIONS`.
    verdict : Verdict
        Pass, fail or inconclusive.
    """

    quantity: Quantity
    before: float
    after: float
    sessions: tuple[int, int]
    shift: Shift | None
    verdict: Verdict

    @property
    def change(self) -> float:
        """Natural log of B over A; above zero, B is slower."""
        return self.shift.distance if self.shift else math.log(self.after / self.before)


@dataclass(frozen=True)
class Pair:
    """An identity on both sides.

    Attributes
    ----------
    title : str
        Tells it from the other identities.
    compared : tuple of Compared
        Latency, and latency in relation to FP32's where both sides hold it.
    changed : tuple of str
        Provenance that differs.
    """

    title: str
    compared: tuple[Compared, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What came of a comparison.

    Attributes
    ----------
    pairs : tuple of Pair
        Identities on both sides.
    only_a, only_b : tuple of str
        A line for each identity of A and of B that is compared with nothing, saying why; of A's
        the first `NAMED`.
    more_in_a : int
        Identities that are in A only, beyond those.
    shared : int
        Sessions on both sides, which were taken out of A.
    limit : float
        Largest acceptable latency of B in relation to A's.
    alpha : float
        Error probability of each lower bound; of each upper one it is `ALPHA`.
    """

    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...]
    more_in_a: int
    only_b: tuple[str, ...]
    shared: int
    limit: float
    alpha: float

    @property
    def verdict(self) -> Verdict:
        """Fail if anything fails, pass if all of B was compared and passes, else inconclusive."""
        verdicts = {one.verdict for pair in self.pairs for one in pair.compared}
        if Verdict.FAIL in verdicts:
            return Verdict.FAIL
        passes = verdicts == {Verdict.PASS} and not self.only_b
        return Verdict.PASS if passes else Verdict.INCONCLUSIVE

    @property
    def text(self) -> str:
        """The verdict for people."""
        if self.verdict is not Verdict.INCONCLUSIVE:
            return VERDICTS[self.verdict]
        if not self.pairs:
            return "inconclusive: no identity has sessions on both sides"
        undecided = any(o.verdict is not Verdict.PASS for p in self.pairs for o in p.compared)
        if undecided or not self.only_b:
            return "inconclusive"
        return f"inconclusive: {len(self.only_b)} of B's identities compared with nothing"


def compare(a: Selection, b: Selection, limit: float) -> Report:
    """Compare the sessions of B with those of A, identity by identity.

    Parameters
    ----------
    a, b : Selection
        Before and after. A session on both sides is taken as B's.
    limit : float
        Largest acceptable latency of B in relation to A's, above one.
    """
    ids = {entry.id for entries in b.entries.values() for entry in entries}
    kept = {
        identity: tuple(entry for entry in entries if entry.id not in ids)
        for identity, entries in a.entries.items()
    }
    shared = sum(map(len, a.entries.values())) - sum(map(len, kept.values()))
    both = {i: entries for i, entries in kept.items() if entries and i in b.entries}
    # Not those on both sides that lost all of A: they do not lack an identity but sessions.
    every = list(dict.fromkeys([*a.entries, *b.entries]))
    named = dict(zip(every, titles(every), strict=True))
    values = {
        (identity, quantity): (
            _values(kept[identity], quantity),
            _values(b.entries[identity], quantity),
        )
        for identity in both
        for quantity in (LATENCY, RELATIVE_LATENCY)
    }
    values = {key: sides for key, sides in values.items() if all(sides)}
    tests = sum(len(before) >= MINIMUM_SESSIONS for before, _ in values.values())
    alpha = ALPHA / max(tests, 1)
    pairs = tuple(
        Pair(
            named[identity],
            tuple(
                _compared(quantity, *sides, limit, alpha)
                for (owner, quantity), sides in values.items()
                if owner == identity
            ),
            provenance_changes(
                [entry.session for entry in entries],
                [entry.session for entry in b.entries[identity]],
            ),
        )
        for identity, entries in both.items()
    )
    lone = [identity for identity in a.entries if identity not in b.entries]
    only_b = [
        f"{named[identity]}: every session of A is in B too"
        if identity in a.entries
        else _only(identity, "B", b.selector, a, named)
        for identity in b.entries
        if identity not in both
    ]
    return Report(
        pairs,
        tuple(_only(identity, "A", a.selector, b, named) for identity in lone[:NAMED]),
        len(lone[NAMED:]),
        tuple(only_b),
        shared,
        limit,
        alpha,
    )


def _values(entries: Sequence[SeriesEntry], quantity: Quantity) -> list[float]:
    found = (quantity.value(entry.session) for entry in entries)
    return [value for value in found if value is not None]


def _compared(
    quantity: Quantity, a: Sequence[float], b: Sequence[float], limit: float, alpha: float
) -> Compared:
    now = statistics.median(b)
    change = shift(now, a, alpha) if len(a) >= MINIMUM_SESSIONS else None
    verdict = Verdict.INCONCLUSIVE if change is None else change.verdict(limit)
    return Compared(quantity, statistics.median(a), now, (len(a), len(b)), change, verdict)


def _only(
    identity: Identity, side: str, selector: str, other: Selection, named: dict[Identity, str]
) -> str:
    """Say what tells an identity from the nearest one of the other side."""
    text = f"{named[identity]}: only in {side} ({selector})"
    if not other.entries:
        return f"{text}; {other.selector} selects no session"
    nearest = min(other.entries, key=lambda i: len(i.differences(identity)))
    differences = nearest.differences(identity) if side == "B" else identity.differences(nearest)
    return f"{text}; nearest on the other side: {'; '.join(differences)}"
