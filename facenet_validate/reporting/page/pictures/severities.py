"""Accuracy on corrupted photos, by how strongly they are corrupted."""

from __future__ import annotations

import math

from facenet_validate.reporting.page.model import Figure
from facenet_validate.reporting.page.parts import Part
from facenet_validate.reporting.page.pictures.drawing import (
    ENGINE,
    REFERENCE,
    WIDTH,
    canvas,
)


def severities_figure(name: str, measured: Part, engine: str) -> Figure:
    """Draw a small panel for each kind of corruption.

    Parameters
    ----------
    name : str
        The picture's id.
    measured : Part
        A measurement ``corruptions``.
    engine : str
        What the engine is called.
    """
    kinds, clean = list(measured["kinds"]), measured["as_they_are"]
    rows = math.ceil(len(kinds) / 2)
    with canvas(name, WIDTH, 0.7 + 1.5 * rows) as drawing:
        panels = drawing.panels(rows, 2, sharex=True, sharey=True)
        for empty in panels[len(kinds) :]:
            empty.remove()
        for axes, kind in zip(panels, kinds, strict=False):
            steps = list(kind["severities"])
            across = [0.0, *(step["severity"].float or 0.0 for step in steps)]
            for label, key, colour, style in (
                ("FP32", "reference_accuracy", REFERENCE, "s--"),
                (engine, "engine_accuracy", ENGINE, "o-"),
            ):
                values = [clean[key].float, *(step[key].float for step in steps)]
                shown = [math.nan if one is None else one for one in values]
                axes.plot(across, shown, style, color=colour, label=label, markersize=4)
            axes.set_title(kind["kind"].text.replace("_", " "), loc="left", fontsize=9)
        drawing.legend()
    words = (
        "Accuracy at FP32's thresholds, from photos as they are (left) to the strongest "
        "corruption (right). Corrupted pictures of each kind: ",
        measured["pictures"].cell(),
        ".",
    )
    return Figure(name, "Corrupted photos", words, drawing.svg)
