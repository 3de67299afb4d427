"""The walk of a diagnosis: where the nodes of two engines part."""

from __future__ import annotations

import math

from facenet_validate.reporting.page.model import Figure
from facenet_validate.reporting.page.parts import Line, Part
from facenet_validate.reporting.page.pictures.drawing import (
    ENGINE,
    INK,
    LIMIT,
    REFERENCE,
    canvas,
)


def walk_figure(name: str, walk: Part) -> Figure:
    """Draw the signal-to-noise ratio node by node, and mark the first jump.

    Parameters
    ----------
    name : str
        The picture's id.
    walk : Part
        Of a measurement ``diagnosis``, with ``nodes``.
    """
    nodes = list(walk["nodes"])
    across = range(1, len(nodes) + 1)
    jump = next((place for place, one in enumerate(nodes) if _is_jump(one, walk)), None)
    with canvas(name) as drawing:
        axes = drawing.axes
        alone = [_number(one["local_sqnr"]) for one in nodes]
        if not all(map(math.isnan, alone)):
            axes.plot(across, alone, ".", color=REFERENCE, label="the node by itself")
        together = [_number(one["sqnr"]) for one in nodes]
        axes.plot(across, together, "-", color=ENGINE, label="up to this node")
        if jump is not None:
            axes.axvline(jump + 1, color=LIMIT, linestyle=":", label="first jump")
            axes.annotate(
                nodes[jump]["block"].text or nodes[jump]["kind"].text,
                (jump + 1, 0.02),
                xycoords=("data", "axes fraction"),
                xytext=(4, 2),
                textcoords="offset points",
                fontsize=8.5,
                color=INK,
            )
        axes.set_xlabel("node, in the order of the network")
        axes.set_ylabel("SQNR, dB (higher agrees better)")
        drawing.legend(columns=3)
    words: Line = ("Signal over the difference to FP32, node by node. ",)
    if jump is not None:
        node = nodes[jump]
        words += ("The first jump is at ", node["node"].cell(), ": ", node["sqnr"].cell(), " dB.")
    return Figure(name, "Walk over the nodes", words, drawing.svg)


def _is_jump(node: Part, walk: Part) -> bool:
    return walk["jump"].value is not None and node["node"].value == walk["jump"].value


def _number(part: Part) -> float:
    value = part.float
    return math.nan if value is None or math.isinf(value) else value
