"""What a panel of a picture shows, and where: its sessions, labels, times and bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.benchmarking.shift import percent
from facenet_validate.history.changes import ChangePoint
from facenet_validate.history.labels import Label, Placed, lay_out, wrapped
from facenet_validate.history.series import Entry, Series
from facenet_validate.history.text import printable

TITLE, LABEL, ROW = 9.0, 8.0, 11.0
"""In points: the sizes of letters, and what a row of labels needs."""

_CLEAR = 9.0
"""Points between sessions and labels."""

_LABELS = 8
"""Most epochs, and most change points, that are labelled in a panel."""

_TITLE_LINES = 3


@dataclass(frozen=True)
class Panel:
    """What a panel shows: lines of text, sessions, and labels beside the times they belong to."""

    title: list[str]
    entries: list[Entry]
    epochs: list[tuple[Entry, Placed | None]]
    changes: list[tuple[Entry, Placed | None]]


def make_panel(
    series: Series,
    entries: list[Entry],
    points: Sequence[ChangePoint],
    span: tuple[float, float],
    breadth: float,
    *,
    ratio: bool,
) -> Panel:
    """Lay out a panel.

    Parameters
    ----------
    series : Series
        Whose panel it is.
    entries : list of Entry
        Its sessions that hold what is drawn.
    points : sequence of ChangePoint
        Its change points.
    span : tuple of float
        The first and the last time that the panel shows, in matplotlib's days.
    breadth : float
        Its width in points.
    ratio : bool
        Whether speeds in relation to FP32's are drawn: a change of latency is the opposite of it.
    """

    def labelled(
        texts: Sequence[tuple[Entry, str, str]], chosen: Sequence[Entry]
    ) -> list[tuple[Entry, Placed | None]]:
        first, last = span
        ids = {entry.id for entry in chosen}
        labels = {
            entry.id: Label(text, brief, breadth * (date(entry.when) - first) / (last - first))
            for entry, text, brief in texts
            if entry.id in ids
        }
        placed = dict(zip(labels, lay_out(list(labels.values()), breadth, LABEL), strict=True))
        return [(entry, placed.get(entry.id)) for entry, _, _ in texts]

    begins = [
        (entry, f"epoch {entry.epoch}: {printable(entry.session.reason)}", f"epoch {entry.epoch}")
        for entry in _epoch_begins(entries)
    ]
    changes = []
    for point in sorted(points, key=lambda point: point.after.when):
        size = percent(-point.change if ratio else point.change)
        commit = printable(point.after.commit)
        changes.append((point.after, f"{size} at {commit}" if commit else size, size))
    largest = sorted(points, key=lambda point: -abs(point.change))[:_LABELS]
    return Panel(
        wrapped(printable(series.title), TITLE, breadth, _TITLE_LINES),
        entries,
        labelled(begins, [entry for entry, _, _ in begins[-_LABELS:]]),
        labelled(changes, [point.after for point in largest]),
    )


def _epoch_begins(entries: Sequence[Entry]) -> list[Entry]:
    known = {entries[0].epoch}
    begins = []
    for entry in entries:
        if entry.accepted and entry.epoch not in known:
            begins.append(entry)
        known.add(entry.epoch)
    return begins


def rows_of(labels: Sequence[tuple[Entry, Placed | None]]) -> int:
    """Return how many rows some labels take."""
    return max((1 + label.row for _, label in labels if label), default=0)


def frame(low: float, high: float, tall: float, above: int, below: int) -> tuple[float, float]:
    """Return bounds between which the sessions leave free the rows of labels."""
    # Sessions that agree are not blown up.
    spare = max(0.01 * high - (high - low), 0.0) / 2.0
    low, high = low - spare, high + spare
    top, bottom = (_CLEAR + rows * ROW for rows in (above, below))
    unit = (high - low) / (tall - top - bottom)
    return low - bottom * unit, high + top * unit


def span_of(first: datetime, last: datetime) -> tuple[float, float]:
    """Return the bounds of a time axis, in matplotlib's days."""
    # Ticks of different minutes at the least.
    margin = max((last - first) * 0.03, timedelta(minutes=3))
    return date(first - margin), date(last + margin)


def date(when: datetime) -> float:
    """Return a moment in matplotlib's days."""
    return float(dates([when])[0])


def dates(moments: Sequence[datetime]) -> NDArray[np.float64]:
    """Return moments in matplotlib's days."""
    return np.asarray(matplotlib_dates().date2num(moments), dtype=np.float64)


def matplotlib_dates() -> Any:
    """Return its module of dates."""
    import matplotlib.dates

    return matplotlib.dates  # Any: this module of matplotlib has no types
