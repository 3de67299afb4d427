"""ROC and DET of an engine and of the reference, with their intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.reporting.page.model import Figure
from facenet_validate.reporting.page.parts import Cell, Line, Part
from facenet_validate.reporting.page.pictures.drawing import (
    ENGINE,
    REFERENCE,
    canvas,
    plain_ticks,
)

Values = NDArray[np.float64]

_MOST_CORNERS = 600


@dataclass(frozen=True)
class _Curve:
    """An engine's ROC, and its intervals where the document has them."""

    label: str
    colour: str
    style: str
    far: Values
    tar: Values
    band: tuple[Values, Values, Values] | None


def roc_figure(name: str, measured: Part, engine: str) -> Figure:
    """Draw which share of genuine pairs is accepted, by the share of impostors that is.

    Parameters
    ----------
    name : str
        The picture's id.
    measured : Part
        A measurement ``verification``.
    engine : str
        What the engine is called.
    """
    svg = _drawn(name, measured, engine, lambda tar: tar, "genuine pairs accepted (TAR)")
    return Figure(name, "ROC", _words(measured, engine), svg)


def det_figure(name: str, measured: Part, engine: str) -> Figure:
    """Draw which share of genuine pairs is rejected, by the share of impostors accepted.

    Parameters
    ----------
    name, measured, engine
        As of :func:`roc_figure`.
    """
    svg = _drawn(
        name, measured, engine, lambda tar: 1 - tar, "genuine pairs rejected (FNMR)", log=True
    )
    words = ("Both axes are logarithmic; a rate of nothing has no place on them. ",)
    return Figure(name, "DET", (*words, *_rates(measured, engine)), svg)


def _drawn(
    name: str,
    measured: Part,
    engine: str,
    shown: Callable[[Values], Values],
    label: str,
    *,
    log: bool = False,
) -> str:
    curves = _curves(measured, engine)
    least = min(float(curve.far[curve.far > 0].min()) for curve in curves)
    with canvas(name) as drawing:
        axes = drawing.axes
        for curve in curves:
            if curve.band is not None:
                far, low, high = curve.band
                axes.fill_between(
                    far, shown(low), shown(high), color=curve.colour, alpha=0.18, linewidth=0
                )
            axes.plot(
                *_drawn_corners(curve, shown, least),
                curve.style,
                color=curve.colour,
                label=curve.label,
            )
        axes.set_xscale("log")
        axes.set_xlim(least, 1.0)
        if log:
            positive = np.concatenate([shown(curve.tar) for curve in curves])
            positive = positive[positive > 0]
            axes.set_yscale("log")
            axes.set_ylim(float(positive.min()) / 1.5 if positive.size else 1e-4, 1.0)
            plain_ticks(axes.yaxis)
        plain_ticks(axes.xaxis)
        axes.set_xlabel("impostor pairs accepted (FAR)")
        axes.set_ylabel(label)
        drawing.legend()
    return drawing.svg


def _curves(measured: Part, engine: str) -> list[_Curve]:
    sources = (("FP32", REFERENCE, "--", measured["reference"]), (engine, ENGINE, "-", measured))
    return [
        _Curve(
            label,
            colour,
            style,
            np.array(source["roc"]["far"].floats),
            np.array(source["roc"]["tar"].floats),
            _band(source["roc_interval_95"]),
        )
        for label, colour, style, source in sources
        if source["roc"]["far"]
    ]


def _band(found: Part) -> tuple[Values, Values, Values] | None:
    if not found["far"]:
        return None
    far, low, high = (np.array(found[key].floats) for key in ("far", "low", "high"))
    return far, low, high


def _drawn_corners(
    curve: _Curve, shown: Callable[[Values], Values], least: float
) -> tuple[Values, Values]:
    """Return at most `_MOST_CORNERS`, from the last without an impostor on, drawn at the border."""
    first = int(np.flatnonzero(curve.far <= 0)[-1])
    rows = np.arange(first, len(curve.far))
    if len(rows) > _MOST_CORNERS:
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, _MOST_CORNERS).astype(np.intp))]
    return np.maximum(curve.far[rows], least), shown(curve.tar[rows])


def _words(measured: Part, engine: str) -> Line:
    words: list[Cell | str] = [f"{engine}: area ", measured["auc"].cell()]
    if measured["reference_auc"]:
        words += ["; FP32: ", measured["reference_auc"].cell()]
    words += [". Shaded: 95 % intervals of each rate by itself."]
    return tuple(words)


def _rates(measured: Part, engine: str) -> Line:
    words: list[Cell | str] = [f"Equal-error rate of {engine}: ", measured["eer"].cell()]
    if measured["reference"]["eer"].value is not None:
        words += ["; of FP32: ", measured["reference"]["eer"].cell()]
    return (*words, ".")


def has_curves(measured: Part) -> bool:
    """Say whether there are curves to draw."""
    far: Sequence[float] = measured["roc"]["far"].floats
    return any(value > 0 for value in far)
