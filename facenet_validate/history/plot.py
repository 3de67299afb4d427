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

from facenet_validate.base.errors import SettingsError
from facenet_validate.history.changes import ChangePoint
from facenet_validate.history.labels import Placed
from facenet_validate.history.panel import (
    LABEL,
    ROW,
    TITLE,
    Panel,
    date,
    dates,
    frame,
    make_panel,
    matplotlib_dates,
    rows_of,
    span_of,
)
from facenet_validate.history.series import INTERVAL_ALPHA, Entry, Series

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

# In inches: around a panel, its height without labels, what its ticks need and a line of its title.
# Fitting to what is drawn would draw everything twice.
_LEFT, _RIGHT, _TOP, _BOTTOM, _PANEL, _TICKS, _LINE = 0.85, 0.5, 0.45, 1.05, 1.9, 0.65, 0.15

# Okabe and Ito's palette, whose colours the colour-blind tell apart; shapes tell them apart too.
_SESSION, _CHANGE, _EPOCH = "#0072B2", "#D55E00", "#555555"

# No session lies behind it, only lines of others.
_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5}


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
    width = 11.0 if columns == 1 else 16.0
    breadth = 72.0 * (width / columns - _LEFT - _RIGHT)
    shown = [_measured(series, ratio=ratio) for series in every]
    moments = [entry.when for entries in shown for entry in entries]
    span = span_of(min(moments), max(moments))
    panels = []
    for series, entries in zip(every, shown, strict=True):
        ids = {entry.id for entry in entries}
        own = [point for point in points if point.after.id in ids]
        panels.append(make_panel(series, entries, own, span, breadth, ratio=ratio))
    lines = max(len(panel.title) for panel in panels)
    above = max(rows_of(panel.epochs) for panel in panels)
    below = max(rows_of(panel.changes) for panel in panels)
    tall = _PANEL + (above + below) * ROW / 72.0
    gap = _TICKS + lines * _LINE
    height = _TOP + lines * _LINE + rows * tall + (rows - 1) * gap + _BOTTOM
    figure = Figure(figsize=(width, height), dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False)
    figure.subplots_adjust(
        left=_LEFT / width,
        right=1.0 - _RIGHT / width,
        bottom=_BOTTOM / height,
        top=1.0 - (_TOP + lines * _LINE) / height,
        hspace=gap / tall,
        wspace=(_LEFT + _RIGHT) / (breadth / 72.0),
    )
    every_axes: list[Axes] = list(grid.flat)
    for empty in every_axes[len(every) :]:
        empty.remove()
    legend: dict[str, Any] = {}
    pixels = len(moments) > _RASTERIZED
    for axes, panel in zip(every_axes, panels, strict=False):
        extent = _sessions(axes, panel.entries, legend, ratio=ratio, pixels=pixels)
        _epochs(axes, panel, legend)
        _changes(axes, panel, legend)
        axes.set_ylim(*frame(*extent, 72.0 * tall, rows_of(panel.epochs), rows_of(panel.changes)))
        axes.set_title("\n".join(panel.title), loc="left", fontsize=TITLE, parse_math=False)
        axes.set_ylabel("speed, × FP32's" if ratio else "latency, ms a batch")
        # Digits of their own, since a common offset would stand in the title.
        axes.yaxis.set_major_formatter("{x:.6g}")
        _time_axis(axes, span, min(moments), max(moments))
    figure.legend(
        legend.values(), legend.keys(), loc="lower center", ncols=len(legend), frameon=False
    )
    figure.suptitle(title, fontsize=10, y=1.0 - 0.12 / height, va="top")
    # No date within: the same sessions give the same file.
    more: dict[str, Any] = (
        {"metadata": {"Date": None}} if kind == "svg" else {"pil_kwargs": {"compress_level": 3}}
    )
    figure.savefig(file, format=kind, **more)


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


def _sessions(
    axes: Axes, entries: Sequence[Entry], legend: dict[str, Any], *, ratio: bool, pixels: bool
) -> tuple[float, float]:
    """Draw sessions with their intervals; return the lowest and the highest of all values."""
    times = dates([entry.when for entry in entries])
    values = np.array([_value(entry, ratio=ratio) for entry in entries])
    accepted = np.array([entry.accepted for entry in entries])
    low, high = _bounds(entries, ratio=ratio)
    pixels = len(entries) > _RASTERIZED
    what = "interval of the ratio" if ratio else "interval of the median block"
    name = f"{100 * (1 - INTERVAL_ALPHA):.0f} % {what}" if not ratio else what
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
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    everything = np.concatenate([values, low, high])
    return float(np.nanmin(everything)), float(np.nanmax(everything))


def _epochs(axes: Axes, panel: Panel, legend: dict[str, Any]) -> None:
    for entry, label in panel.epochs:
        legend["epoch begins"] = axes.axvline(
            date(entry.when), color=_EPOCH, linewidth=1.2, zorder=0.5
        )
        _write(axes, entry, label, _EPOCH, edge=1.0)


def _changes(axes: Axes, panel: Panel, legend: dict[str, Any]) -> None:
    for entry, label in panel.changes:
        legend["change point"] = axes.axvline(
            date(entry.when), color=_CHANGE, linewidth=1.2, linestyle=(0, (4, 2)), zorder=0.5
        )
        _write(axes, entry, label, _CHANGE, edge=0.0)


def _write(axes: Axes, entry: Entry, label: Placed | None, colour: str, *, edge: float) -> None:
    """Write a label at the upper (1) or lower (0) edge of a panel."""
    if label is None:
        return
    down = 2.0 + ROW * label.row
    axes.annotate(
        label.text,
        (date(entry.when), edge),
        xycoords=("data", "axes fraction"),
        xytext=(label.offset, -down if edge else down),
        textcoords="offset points",
        fontsize=LABEL,
        color=colour,
        ha="right" if label.before else "left",
        va="top" if edge else "bottom",
        bbox=_PLATE,
        parse_math=False,
    )


def _time_axis(axes: Axes, span: tuple[float, float], first: datetime, last: datetime) -> None:
    dates = matplotlib_dates()
    axes.set_xlim(*span)
    days = last - first > timedelta(days=6)
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=7))
    axes.xaxis.set_major_formatter(dates.DateFormatter("%Y-%m-%d" if days else "%m-%d %H:%M"))
    axes.set_xlabel("recorded, UTC" if days else f"recorded in {last:%Y}, UTC")
