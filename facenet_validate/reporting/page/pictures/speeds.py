"""Speed: the blocks, the quads, and the stored sessions."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from facenet_validate.reporting.page.model import Figure
from facenet_validate.reporting.page.parts import Line, Part
from facenet_validate.reporting.page.pictures.drawing import (
    ENGINE,
    FAINT,
    INK,
    LIMIT,
    REFERENCE,
    canvas,
)


def blocks_figure(name: str, measured: Part) -> Figure:
    """Draw the time of each block, in the order measured.

    Parameters
    ----------
    name : str
        The picture's id.
    measured : Part
        A measurement ``speed``.
    """
    times = 1e3 * np.array(measured["block_seconds"].floats)
    with canvas(name) as drawing:
        axes = drawing.axes
        axes.plot(np.arange(1, len(times) + 1), times, "o", color=ENGINE, markersize=4)
        axes.axhline(float(np.median(times)), color=INK, linewidth=1.2)
        axes.set_xlabel("block, in the order measured")
        axes.set_ylabel("ms a batch")
    words: Line = (
        measured["fps"].cell(),
        " images/s by the median of ",
        measured["blocks"].cell(),
        " blocks of batches of ",
        measured["batch"].cell(),
        ". The line is the median.",
    )
    return Figure(name, "Blocks", words, drawing.svg)


def quads_figure(name: str, measured: Part, beside: str, limit: Part) -> Figure:
    """Draw the ratio of speeds of each quad, with the interval of their median.

    Parameters
    ----------
    name : str
        The picture's id.
    measured : Part
        A measurement ``speed`` with a ratio.
    beside : str
        What the engine was timed beside.
    limit : Part
        Of the gate; nothing where it has none.
    """
    ratios = np.exp(np.array(measured["log_ratios"].floats))
    low, high = measured["ratio_interval"].floats
    with canvas(name) as drawing:
        axes = drawing.axes
        axes.plot(np.arange(1, len(ratios) + 1), ratios, "o", color=ENGINE, markersize=4.5)
        if np.isfinite(high):
            axes.axhspan(low, high, color=ENGINE, alpha=0.18, linewidth=0)
        axes.axhline(measured["ratio"].float or 1.0, color=INK, linewidth=1.2, label="median")
        axes.axhline(1.0, color=REFERENCE, linestyle="--", linewidth=1.2, label=beside)
        if limit.float is not None:
            axes.axhline(limit.float, color=LIMIT, linestyle=":", label="limit")
        axes.set_xlabel("quad, in the order measured")
        axes.set_ylabel(f"speed, × {beside}'s")
        drawing.legend(columns=3)
    interval: Line = (" Too few quads for an interval.",)
    if np.isfinite(high):
        ends = [end.cell() for end in measured["ratio_interval"]]
        interval = (" Interval ", ends[0], " to ", ends[1], " (shaded).")
    words: Line = (
        "Median of ",
        measured["quads"].cell(),
        " quads: ",
        measured["ratio"].cell(),
        f" × {beside}'s speed.",
        *interval,
    )
    return Figure(name, f"Quads beside {beside}", words, drawing.svg)


def stored_figure(name: str, measured: Part) -> Figure:
    """Draw the stored sessions over time, where their epochs begin, and this run's.

    Parameters
    ----------
    name : str
        The picture's id.
    measured : Part
        A measurement ``speed`` with ``stored`` sessions.
    """
    stored = list(measured["stored"])
    times = np.arange(1, len(stored) + 1)
    values = [1e3 * (one["latency_seconds"].float or np.nan) for one in stored]
    now = measured["session"]["latency_seconds"]
    with canvas(name) as drawing:
        axes = drawing.axes
        axes.plot(times, values, "s", color=REFERENCE, label="stored", markersize=5)
        if now.float is not None:
            axes.plot([len(stored) + 1], [1e3 * now.float], "o", color=ENGINE, label="this run")
        epochs = [one["epoch"].value for one in stored]
        for place in range(1, len(stored)):
            if epochs[place] != epochs[place - 1]:
                axes.axvline(place + 0.5, color=FAINT, linewidth=1.2)
                axes.annotate(
                    f"epoch {epochs[place]}",
                    (place + 0.5, 1.0),
                    xycoords=("data", "axes fraction"),
                    xytext=(3, -10),
                    textcoords="offset points",
                    fontsize=8.5,
                )
        first, last = (_day(stored[place]["recorded_at"]) for place in (0, -1))
        axes.set_xlabel(f"session, from {first} to {last}")
        axes.set_ylabel("ms a batch")
        drawing.legend()
    words: Line = ("Stored sessions of this engine in their order.",)
    if now.float is not None:
        words += (" This run: ", now.cell(), " s a batch.")
    return Figure(name, "Stored sessions", words, drawing.svg)


def _day(part: Part) -> str:
    try:
        return datetime.fromisoformat(part.text).date().isoformat()
    except ValueError:
        return part.text
