"""A picture of series over time: a panel a series, with intervals, epochs and change points."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.benchmarking.shift import percent
from facenet_validate.errors import SettingsError
from facenet_validate.history.changes import ChangePoint
from facenet_validate.history.series import INTERVAL_ALPHA, Entry, Series
from facenet_validate.history.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = ("png", "svg")

MAXIMUM_PANELS = 12
"""Most series of one picture."""

_CROWDED = 300
"""From so many sessions on, they are drawn smaller."""

_RASTERIZED = 2000
"""From so many sessions on, an SVG holds them as pixels: a browser draws no more paths quickly."""

_LABELS = 8
"""Most epochs, and most change points, that are labelled in a panel."""

# Neighbouring labels stand on lines of their own, in points.
_LINE, _STAGGERED = 12, 3

# Okabe and Ito's palette, whose colours the colour-blind tell apart; shapes tell them apart too.
_SESSION, _CHANGE, _EPOCH = "#0072B2", "#D55E00", "#555555"

_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


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
    """Write a picture; needs matplotlib, but no display.

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

    columns = 1 if len(every) <= 3 else 2
    rows = math.ceil(len(every) / columns)
    width, height = 11.0 if columns == 1 else 16.0, 3.1 * rows + 0.9
    figure = Figure(figsize=(width, height), dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False)
    # In inches; fitting to the labels' sizes would draw every one of them twice.
    figure.subplots_adjust(
        left=0.85 / width,
        right=1.0 - 0.2 / width,
        bottom=1.05 / height,
        top=1.0 - 0.65 / height,
        hspace=0.42,
        wspace=0.14,
    )
    panels: list[Axes] = list(grid.flat)
    for empty in panels[len(every) :]:
        empty.remove()
    shown = [_measured(series, ratio=ratio) for series in every]
    moments = [entry.when for entries in shown for entry in entries]
    legend: dict[str, Any] = {}
    for axes, series, entries in zip(panels, every, shown, strict=False):
        ids = {entry.id for entry in entries}
        own = [point for point in points if point.after.id in ids]
        _sessions(axes, entries, legend, ratio=ratio)
        _epochs(axes, entries, legend)
        _changes(axes, own, legend, ratio=ratio)
        axes.set_title(printable(series.title), loc="left", fontsize=9, parse_math=False)
        axes.set_ylabel("speed, × FP32's" if ratio else "latency, ms a batch")
        _time_axis(axes, min(moments), max(moments))
    figure.legend(
        legend.values(), legend.keys(), loc="lower center", ncols=len(legend), frameon=False
    )
    figure.suptitle(title, fontsize=10, y=1.0 - 0.12 / height, va="top")
    # No date within: the same sessions give the same file.
    figure.savefig(file, format=kind, metadata={"Date": None} if kind == "svg" else None)


def _measured(series: Series, *, ratio: bool) -> list[Entry]:
    """Return the sessions that hold what is drawn."""
    return [e for e in series.entries if not ratio or e.session.paired_ratio is not None]


def _value(entry: Entry, *, ratio: bool) -> float:
    return (entry.session.paired_ratio or math.nan) if ratio else _ms(entry.session.latency_seconds)


def _bounds(entries: Sequence[Entry], *, ratio: bool) -> NDArray[np.float64]:
    """Return the lower and upper bounds, shape (2, n); NaN where there is no interval."""
    none = (math.nan, math.nan)
    found = (
        [entry.session.paired_interval or none for entry in entries]
        if ratio
        else [(_ms(low), _ms(high)) for low, high in (entry.interval for entry in entries)]
    )
    bounds = np.array(found, dtype=np.float64).T
    return np.where(np.isfinite(bounds), bounds, np.nan)


def _ms(seconds: float) -> float:
    return 1e3 * seconds


def _sessions(axes: Axes, entries: Sequence[Entry], legend: dict[str, Any], *, ratio: bool) -> None:
    times = _dates([entry.when for entry in entries])
    values = np.array([_value(entry, ratio=ratio) for entry in entries])
    accepted = np.array([entry.accepted for entry in entries])
    low, high = _bounds(entries, ratio=ratio)
    pixels = len(entries) > _RASTERIZED
    what = "interval of the ratio" if ratio else "interval of the median block"
    name = f"{100 * (1 - INTERVAL_ALPHA):.0f} % {what}" if not ratio else what
    crowded = len(entries) > _CROWDED
    legend[name] = axes.vlines(
        times,
        low,
        high,
        color=_SESSION,
        alpha=0.2 if crowded else 0.5,
        linewidth=1.0 if crowded else 2.0,
        rasterized=pixels,
    )
    size = 1.6 if crowded else 4.5
    for label, chosen, face in (
        ("accepted session", accepted, _SESSION),
        ("run that was not accepted", ~accepted, "white"),
    ):
        if chosen.any():
            (legend[label],) = axes.plot(
                times[chosen],
                values[chosen],
                "o",
                markersize=size,
                markerfacecolor=face,
                markeredgecolor=_SESSION,
                markeredgewidth=0.8,
                rasterized=pixels,
            )
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(y=0.22)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _epochs(axes: Axes, entries: Sequence[Entry], legend: dict[str, Any]) -> None:
    known = {entries[0].epoch}
    begins = []
    for entry in entries:
        if entry.accepted and entry.epoch not in known:
            begins.append(entry)
        known.add(entry.epoch)
    for entry in begins:
        legend["epoch begins"] = axes.axvline(
            _date(entry.when), color=_EPOCH, linewidth=1.2, zorder=0.5
        )
    for place, entry in enumerate(begins[-_LABELS:]):
        reason = printable(entry.session.reason)
        axes.annotate(
            f"epoch {entry.epoch}: {reason[:40]}{'…' if len(reason) > 40 else ''}",
            (_date(entry.when), 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, -2 - _LINE * (place % _STAGGERED)),
            textcoords="offset points",
            fontsize=8,
            color=_EPOCH,
            va="top",
            bbox=_PLATE,
            parse_math=False,
        )


def _changes(
    axes: Axes, points: Sequence[ChangePoint], legend: dict[str, Any], *, ratio: bool
) -> None:
    for point in points:
        legend["change point"] = axes.axvline(
            _date(point.after.when), color=_CHANGE, linewidth=1.2, linestyle=(0, (4, 2)), zorder=0.5
        )
    largest = sorted(points, key=lambda point: -abs(point.change))[:_LABELS]
    largest.sort(key=lambda point: point.after.when)
    for place, point in enumerate(largest):
        size = percent(-point.change if ratio else point.change)
        commit = point.after.commit
        axes.annotate(
            f"{size}" + (f" at {printable(commit)}" if commit else ""),
            (_date(point.after.when), 0.0),
            xycoords=("data", "axes fraction"),
            xytext=(4, 4 + _LINE * (place % _STAGGERED)),
            textcoords="offset points",
            fontsize=8,
            color=_CHANGE,
            bbox=_PLATE,
            parse_math=False,
        )


def _date(when: datetime) -> float:
    return float(_dates([when])[0])


def _dates(moments: Sequence[datetime]) -> NDArray[np.float64]:
    return np.asarray(_matplotlib_dates().date2num(moments), dtype=np.float64)


def _matplotlib_dates() -> Any:
    import matplotlib.dates

    return matplotlib.dates  # Any: this module of matplotlib has no types


def _time_axis(axes: Axes, first: datetime, last: datetime) -> None:
    dates = _matplotlib_dates()
    # Ticks of different minutes at the least.
    margin = max((last - first) * 0.03, timedelta(minutes=3))
    axes.set_xlim(_date(first - margin), _date(last + margin))
    days = last - first > timedelta(days=6)
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=7))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%Y-%m-%d" if days else "%m-%d %H:%M"))
    axes.set_xlabel("recorded, UTC" if days else f"recorded in {last:%Y}, UTC")
