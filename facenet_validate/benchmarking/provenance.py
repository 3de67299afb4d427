"""What changed between two sessions besides their times."""

from __future__ import annotations

import re
from collections.abc import Sequence

from facenet_validate.benchmarking.sessions import Session

_DIGEST = re.compile(r"(sha256:)?[0-9a-f]{16,}")


def provenance_changes(before: Sequence[Session], after: Sequence[Session]) -> tuple[str, ...]:
    """Name each provenance value that differs, as ``field before → after``.

    Where one side holds several values of a field, up to three of them are named, else the first
    and the last.
    """
    names = sorted({name for session in (*before, *after) for name in session.provenance})
    changes = []
    for name in names:
        old, new = (
            list(dict.fromkeys(session.provenance.get(name) for session in side))
            for side in (before, after)
        )
        if set(old) != set(new):
            changes.append(f"{name} {_list(old)} → {_list(new)}")
    return tuple(changes)


def changed_since(epoch: Sequence[Session], now: Session) -> tuple[str, ...]:
    """Name each provenance value of `now` that differs in any session of an epoch."""
    changes = []
    for name in sorted({name for session in (*epoch, now) for name in session.provenance}):
        current = now.provenance.get(name)
        others = [v for session in epoch if (v := session.provenance.get(name)) != current]
        if others:
            text = f"{name} {_list(list(dict.fromkeys(others)))} → {_brief(current)}"
            some = len(others) < len(epoch)
            changes.append(f"{text} (in {len(others)} of {len(epoch)})" if some else text)
    return tuple(changes)


def _list(values: Sequence[str | None]) -> str:
    if len(values) > 3:
        return f"{_brief(values[0])}, …, {_brief(values[-1])} ({len(values)} values)"
    return ", ".join(map(_brief, values))


def _brief(value: str | None) -> str:
    """Return a value, a digest by its first digits."""
    if value is None:
        return "none"
    return value.removeprefix("sha256:")[:8] + "…" if _DIGEST.fullmatch(value) else value
