"""How far single faces moved: the distribution of row cosines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facenet_validate.reporting.page.model import Figure, Table
from facenet_validate.reporting.page.parts import Part, percent
from facenet_validate.reporting.page.pictures.drawing import (
    ENGINE,
    INK,
    LIMIT,
    canvas,
    plain_ticks,
)

_EXACT = 1e-9
"""What is nearer to 1 is drawn here: a logarithm has no place for nothing."""


def cosines_figure(name: str, measured: Part, engine: str, limits: Sequence[Part]) -> Figure:
    """Draw quantiles of ``1 − cosine``, with the limits of the gates.

    Parameters
    ----------
    name : str
        The picture's id.
    measured : Part
        A measurement ``row cosines``.
    engine : str
        What the engine is called.
    limits : sequence of Part
        Gates of parity; those with a limit are drawn.
    """
    shares = np.array(measured["shares"].floats)
    moved = np.maximum(1 - np.array(measured["cosines"].floats), _EXACT)
    with canvas(name) as drawing:
        axes = drawing.axes
        axes.plot(shares, moved, "o-", color=ENGINE, label=engine, markersize=3.5)
        for gate in limits:
            limit = gate["limit"].float
            if limit is not None and limit < 1:
                axes.axhline(1 - limit, color=LIMIT, linestyle=":", linewidth=1.4)
                axes.annotate(
                    f"limit of {gate['gate'].text.partition('.')[2]}",
                    (0.99, 1 - limit),
                    xycoords=("axes fraction", "data"),
                    ha="right",
                    va="bottom",
                    fontsize=8.5,
                    color=INK,
                )
        axes.set_yscale("log")
        plain_ticks(axes.yaxis)
        axes.set_xlabel("share of faces that moved at least so far")
        axes.set_ylabel("1 − cosine to FP32")
    rows = tuple(
        ((share.cell(percent),), (cosine.cell(),))
        for share, cosine in zip(measured["shares"], measured["cosines"], strict=True)
    )
    table = Table("Quantiles of the row cosines", ("share of faces below", "row cosine"), rows)
    words = (
        "Higher is further from FP32. Drawn of ",
        measured["rows"].cell(),
        " faces; the median row cosine is ",
        measured["cosines"][_median(measured)].cell(),
        ".",
    )
    return Figure(name, "How far faces moved", words, drawing.svg, table)


def _median(measured: Part) -> int:
    return int(np.argmin(np.abs(np.array(measured["shares"].floats) - 0.5)))
