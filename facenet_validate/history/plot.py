"""A picture of series over time: a panel a series, with intervals, epochs and change points.

Vertical lines mark where an epoch begins and where the level changes. Each line has a short mark
above the panel; the lists below the panel say what the marks stand for.
"""

from __future__ import annotations

import importlib
import math
import string
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import SettingsError
from facenet_validate.benchmarking.shift import percent
from facenet_validate.history.changes import ChangePoint
from facenet_validate.history.series import INTERVAL_ALPHA, Series, SeriesEntry, epoch_begins
from facenet_validate.history.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg")

MAXIMUM_PANELS = 12
"""Most series of one picture."""

_CROWDED = 300
"""From so many sessions on, they are drawn smaller."""

_RASTERIZED = 2000
"""From so many sessions on, an SVG holds all of them as pixels: a browser draws no more paths
quickly."""

_LISTED = 8
"""Most epochs, and most change points, that a panel lists."""

_TITLE_LINES = 3

# In inches: a panel without its title and lists, and a line of either.
_PANEL, _LINE = 2.8, 0.16

# Okabe and Ito's palette, whose colours the colour-blind tell apart; shapes tell them apart too.
_SESSION, _CHANGE, _EPOCH = "#0072B2", "#D55E00", "#555555"


def picture_format(path: Path) -> str:
    """Return the format that a file's ending names.

    Raises
    ------
    SettingsError
        If it names none of `FORMATS`.
    """
    found = path.suffix.lower().removeprefix(".")
    if found not in FORMATS:
        raise SettingsError(f"-o {path}: expected a name that ends in .png or .svg.")
    return found


def draw(
    file: IO[bytes],
    every: Sequence[Series],
    points: Sequence[ChangePoint],
    *,
    ratio: bool,
    kind: str,
    title: str = "",
) -> None:
    """Write a picture; no display is needed.

    Parameters
    ----------
    file : binary file
        Where to write.
    every : sequence of Series
        One to `MAXIMUM_PANELS`.
    points : sequence of ChangePoint
        Change points of any of them.
    ratio : bool
        Draw the speed in relation to FP32's; every series has a session that holds it.
    kind : {"png", "svg"}
        The format.
    title : str
        Stands above the panels.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = 1 if len(every) <= 3 else 2
    rows = math.ceil(len(every) / columns)
    width = 11.0 if columns == 1 else 16.0
    # Letters of a list that fit in a panel.
    letters = int(72.0 * (width / columns - 1.0) / 4.9)
    shown = [_measured(series, ratio=ratio) for series in every]
    moments = [entry.when for entries in shown for entry in entries]
    first, last = min(moments), max(moments)
    lists = [(_epochs(entries), _changes(entries, points, ratio=ratio)) for entries in shown]
    titles = [_wrapped(printable(series.title), int(0.85 * letters)) for series in every]
    lines = max(len(lines) for lines in titles)
    lines += max(min(len(marks), _LISTED) for pair in lists for marks in pair)
    figure = Figure(
        (width, rows * (_PANEL + lines * _LINE) + 0.6),
        dpi=110,
        layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1),
    )
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for empty in grid[len(every) :]:
        empty.remove()
    legend: dict[str, Any] = {}
    pixels = len(moments) > _RASTERIZED
    for axes, entries, (epochs, changes), lines_of_title in zip(
        grid, shown, lists, titles, strict=False
    ):
        _draw_sessions(axes, entries, legend, ratio=ratio, pixels=pixels)
        _draw_marks(axes, epochs, changes, legend, letters)
        axes.set_title(
            "\n".join(lines_of_title), loc="left", fontsize=9, pad=14.0, parse_math=False
        )
        axes.set_ylabel("speed, × FP32's" if ratio else "latency, ms a batch")
        # Digits of their own, since a common offset would stand in the title.
        axes.yaxis.set_major_formatter("{x:.6g}")
        _draw_times(axes, first, last)
    figure.legend(
        legend.values(), legend.keys(), loc="outside lower center", ncols=len(legend), frameon=False
    )
    if title:
        figure.suptitle(title, fontsize=10)
    # No date within: the same sessions give the same file.
    more: dict[str, Any] = (
        {"metadata": {"Date": None}} if kind == "svg" else {"pil_kwargs": {"compress_level": 3}}
    )
    figure.savefig(file, format=kind, **more)


@dataclass(frozen=True)
class _Mark:
    """A vertical line, its short mark, and what the list says of it; empty if not listed."""

    entry: SeriesEntry
    sign: str
    text: str


def _measured(series: Series, *, ratio: bool) -> list[SeriesEntry]:
    """Return the sessions that hold what is drawn."""
    return [e for e in series.entries if not ratio or e.session.paired_ratio is not None]


def _epochs(entries: Sequence[SeriesEntry]) -> list[_Mark]:
    """Return a mark for each epoch that begins within these sessions, oldest first."""
    begins = epoch_begins(entries)
    return [
        _Mark(
            entry,
            str(entry.epoch),
            f"epoch {entry.epoch}: {printable(entry.session.reason)}"
            if entry in begins[-_LISTED:]
            else "",
        )
        for entry in begins
    ]


def _changes(
    entries: Sequence[SeriesEntry], points: Sequence[ChangePoint], *, ratio: bool
) -> list[_Mark]:
    """Return a mark for each change point of these sessions, oldest first."""
    ids = {entry.id for entry in entries}
    changes = sorted((p for p in points if p.after.id in ids), key=lambda point: point.after.when)
    largest = sorted(changes, key=lambda point: -abs(point.change))[:_LISTED]
    marks = []
    for number, point in enumerate(changes):
        # A ratio is a speed: it falls where the latency grows.
        text = percent(-point.change if ratio else point.change)
        if commit := printable(point.after.commit):
            text += f" at {commit}"
        sign = string.ascii_lowercase[number % 26]
        marks.append(_Mark(point.after, sign, f"{sign}: {text}" if point in largest else ""))
    return marks


def _wrapped(title: str, letters: int) -> list[str]:
    """Return a title in lines of so many letters.

    What tells titles apart stands at their end, so of a title that is too long the middle is cut.
    """
    lines = textwrap.wrap(title, letters)
    if len(lines) > _TITLE_LINES:
        lines = [*lines[: _TITLE_LINES - 2], f"{lines[_TITLE_LINES - 2]} …", lines[-1]]
    return lines


def _draw_sessions(
    axes: Axes,
    entries: Sequence[SeriesEntry],
    legend: dict[str, Any],
    *,
    ratio: bool,
    pixels: bool,
) -> None:
    times = np.array([_utc(entry.when) for entry in entries])
    values, low, high = _values(entries, ratio=ratio)
    accepted = np.array([entry.accepted for entry in entries])
    share = f"{100 * (1 - INTERVAL_ALPHA):.0f} %"
    name = "interval of the ratio" if ratio else f"{share} interval of the median block"
    crowded = len(entries) > _CROWDED
    # One line with gaps: a line for each session takes as long as all the rest.
    (legend[name],) = axes.plot(
        np.repeat(times, 3),
        np.column_stack([low, high, np.full_like(low, np.nan)]).ravel(),
        color=_SESSION,
        alpha=0.2 if crowded else 0.5,
        linewidth=1.0 if crowded else 2.0,
        rasterized=pixels,
    )
    for label, chosen, face in (
        ("accepted session", accepted, _SESSION),
        ("run that was not accepted", ~accepted, "white"),
    ):
        if chosen.any():
            (legend[label],) = axes.plot(
                times[chosen],
                values[chosen],
                "o",
                markersize=1.6 if crowded else 4.5,
                markerfacecolor=face,
                markeredgecolor=_SESSION,
                markeredgewidth=0.8,
                rasterized=pixels,
            )
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    everything = np.concatenate([values, low, high])
    lowest, highest = np.nanmin(everything), np.nanmax(everything)
    # Sessions that agree within 1 % fill a small part of the panel.
    margin = max(0.005 * highest, 0.05 * (highest - lowest))
    axes.set_ylim(lowest - margin, highest + margin)


def _values(
    entries: Sequence[SeriesEntry], *, ratio: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return what is drawn of each session: value, lower and upper bound; NaN for no bound."""
    none = (math.nan, math.nan)
    found = np.array(
        [
            (e.session.paired_ratio, *(e.session.paired_interval or none))
            if ratio
            else (1e3 * e.session.latency_seconds, *(1e3 * bound for bound in e.interval))
            for e in entries
        ],
        dtype=np.float64,
    )
    values, low, high = np.where(np.isfinite(found), found, np.nan).T
    return values, low, high


def _draw_marks(
    axes: Axes,
    epochs: Sequence[_Mark],
    changes: Sequence[_Mark],
    legend: dict[str, Any],
    letters: int,
) -> None:
    """Draw the vertical lines, their marks above the panel and their lists below it."""
    for name, marks, colour, style, left, share in (
        ("epoch begins", epochs, _EPOCH, "-", 0.0, 0.68),
        ("change point", changes, _CHANGE, (0, (4, 2)), 0.72, 0.28),
    ):
        for mark in marks:
            when = _utc(mark.entry.when)
            legend[name] = axes.axvline(
                when,
                color=colour,
                linewidth=1.2,
                linestyle=style,
                zorder=0.5,
            )
            axes.annotate(
                mark.sign,
                (when, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0.0, 1.0),
                textcoords="offset points",
                fontsize=8,
                color=colour,
                ha="center",
                va="bottom",
            )
        axes.annotate(
            "\n".join(
                textwrap.shorten(mark.text, int(share * letters), placeholder="…")
                for mark in marks
                if mark.text
            ),
            (left, 0.0),
            xycoords="axes fraction",
            xytext=(0.0, -36.0),
            textcoords="offset points",
            fontsize=8,
            color=colour,
            va="top",
            parse_math=False,
        )


def _draw_times(axes: Axes, first: datetime, last: datetime) -> None:
    dates: Any = importlib.import_module("matplotlib.dates")  # Any: it has no types
    # Ticks of different minutes at the least.
    margin = max((last - first) * 0.03, timedelta(minutes=3))
    axes.set_xlim(_utc(first - margin), _utc(last + margin))
    days = last - first > timedelta(days=6)
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=7))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%Y-%m-%d" if days else "%m-%d %H:%M"))
    axes.set_xlabel("recorded, UTC" if days else f"recorded in {last:%Y}, UTC")


def _utc(when: datetime) -> Any:
    # Any: matplotlib takes times, which its annotations do not say.
    return np.datetime64(when.replace(tzinfo=None), "s")
