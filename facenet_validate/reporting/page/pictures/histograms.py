"""How far genuine and impostor pairs are apart, and where the thresholds lie."""

from __future__ import annotations

import numpy as np

from facenet_validate.reporting.page.model import Figure
from facenet_validate.reporting.page.parts import Line, Part
from facenet_validate.reporting.page.pictures.drawing import (
    ENGINE,
    GENUINE,
    IMPOSTOR,
    REFERENCE,
    canvas,
)


def distances_figure(name: str, measured: Part, engine: str) -> Figure:
    """Draw histograms of the distances of both kinds of pairs, the reference's above the engine's.

    Parameters
    ----------
    name : str
        The picture's id.
    measured : Part
        A measurement ``verification`` with ``distances``.
    engine : str
        What the engine is called.
    """
    found = measured["distances"]
    counts = len(found["genuine"].floats)
    edges = np.linspace(found["first"].float or 0.0, found["last"].float or 1.0, counts + 1)
    thresholds = (
        ("threshold of FP32", measured["reference"]["thresholds"].floats, REFERENCE, "--"),
        (f"threshold of {engine}", measured["thresholds"].floats, ENGINE, "-"),
    )
    with canvas(name, height=4.0) as drawing:
        panels = drawing.panels(2, 1, sharex=True, sharey=True)
        for axes, key, title in zip(panels, ("reference_", ""), ("FP32", engine), strict=True):
            for kind, colour in (("genuine", GENUINE), ("impostor", IMPOSTOR)):
                bars = found[f"{key}{kind}"].floats
                axes.stairs(bars, edges, fill=True, color=colour, alpha=0.35)
                axes.stairs(bars, edges, color=colour, label=f"{kind} pairs", linewidth=1.2)
            for label, folds, colour, style in thresholds:
                if folds:
                    middle = float(np.median(folds))
                    axes.axvline(middle, color=colour, linestyle=style, label=label, linewidth=1.4)
            axes.set_title(title, loc="left")
            axes.set_ylabel("pairs")
        panels[-1].set_xlabel("distance of the pair")
        drawing.legend()
    return Figure(name, "Distances of pairs", _words(measured, engine), drawing.svg)


def _words(measured: Part, engine: str) -> Line:
    words: Line = (
        "Pairs left of a threshold are taken for one person. A threshold is drawn at the median "
        "over the folds.",
    )
    for label, found in (
        ("FP32", measured["reference"]["thresholds"]),
        (engine, measured["thresholds"]),
    ):
        if found:
            folds = sorted(found, key=lambda one: one.float or 0.0)
            ends = (folds[0].cell(), " to ", folds[-1].cell())
            words += (f" Thresholds of {label} lie from ", *ends, ".")
    return words
