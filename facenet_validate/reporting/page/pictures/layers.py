"""Layers that explain why an engine is slower."""

from __future__ import annotations

import numpy as np

from facenet_validate.reporting.page.model import Figure, Table
from facenet_validate.reporting.page.parts import Part, cells
from facenet_validate.reporting.page.pictures.drawing import ENGINE, REFERENCE, canvas


def layers_figure(name: str, found: Part) -> Figure:
    """Draw what each layer takes beside what was expected of it.

    Parameters
    ----------
    name : str
        The picture's id.
    found : Part
        The entry of a gate that failed in a measurement ``slower layers``, with ``layers``.
    """
    layers = list(found["layers"])
    places = np.arange(len(layers))
    with canvas(name, height=1.3 + 0.36 * len(layers)) as drawing:
        axes = drawing.axes
        for label, key, colour, offset in (
            ("expected", "expected_ms", REFERENCE, 0.2),
            ("measured", "ms", ENGINE, -0.2),
        ):
            values = [layer[key].float or 0.0 for layer in reversed(layers)]
            axes.barh(places + offset, values, 0.36, color=colour, label=label)
        axes.set_yticks(places, [_short(layer["name"].text) for layer in reversed(layers)])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("ms")
        drawing.legend()
    rows = tuple(
        (layer["name"].line(), layer["kind"].line(), *cells(layer["ms"], layer["expected_ms"]))
        for layer in layers
    )
    table = Table("Slower layers", ("layer", "kind", "ms", "expected ms"), rows)
    words = (
        "Of ",
        found.name,
        ". They explain ",
        found["explained"].cell(),
        " of the added ",
        found["added_ms"].cell(),
        " ms.",
    )
    return Figure(name, "Slower layers", words, drawing.svg, table)


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"
