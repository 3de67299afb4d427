"""Texts of a picture: measured, shortened, wrapped, and set in rows where none covers another.

Widths are in points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

ROWS = 4
"""Rows in which a label is looked a place for whole; beyond them it is brief."""

_GAP = 6.0
"""Between neighbours in a row, and between a label and the line that it belongs to."""


@dataclass(frozen=True)
class Label:
    """What stands beside a vertical line.

    Attributes
    ----------
    text, brief : str
        Whole, and where there is no room for that.
    place : float
        Where its line is, from the panel's left edge.
    """

    text: str
    brief: str
    place: float


@dataclass(frozen=True)
class Placed:
    """A label in its row.

    Attributes
    ----------
    text : str
        What is written.
    offset : float
        From its line to the text's beginning if `before` is false, else to its end.
    before : bool
        Whether it stands to the left of its line.
    row : int
        From 0.
    """

    text: str
    offset: float
    before: bool
    row: int


def lay_out(labels: Sequence[Label], width: float, size: float) -> list[Placed]:
    """Set labels in rows, none over another and none outside a panel of this width.

    A label stands on the side of its line that has more room. There are never more rows than labels
    or, where fewer do, than `ROWS`.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(max(ROWS, len(labels)))]
    placed = []
    for label in labels:
        before = label.place > width / 2.0
        room = (label.place if before else width - label.place) - _GAP
        choices = [
            (text, row)
            for text, rows in ((label.text, taken[:ROWS]), (label.brief, taken))
            for row in range(len(rows))
        ]
        for text, row in choices:
            # Half a panel is left to the label of another line.
            shown = shortened(text, size, min(room, width / 2.0))
            length = measure(shown, size) + _GAP
            begin = label.place - length - _GAP if before else label.place
            span = (begin, begin + length + _GAP)
            if all(span[1] <= low or span[0] >= high for low, high in taken[row]):
                taken[row].append(span)
                placed.append(Placed(shown, -_GAP if before else _GAP, before, row))
                break
    return placed


def shortened(text: str, size: float, width: float) -> str:
    """Return a text that is no wider, with an ellipsis where something is cut off."""
    if measure(text, size) <= width:
        return text
    while text and measure(f"{text}…", size) > width:
        text = text[: min(len(text) - 1, int(len(text) * width / measure(text, size)) + 1)]
    return f"{text.rstrip()}…"


def wrapped(text: str, size: float, width: float, most: int) -> list[str]:
    """Return a text in lines that are no wider, at most so many, at least two.

    Where that is too few the middle is cut out: what tells titles apart stands at their end.
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if measure(longer, size) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 2], f"{lines[most - 2]} …", lines[-1]]
    return [shortened(line, size, width) for line in lines]


@lru_cache(maxsize=4096)
def measure(text: str, size: float) -> float:
    """Return how wide a text is."""
    from matplotlib.font_manager import FontProperties

    width, _, _ = _renderer().get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return float(width)


@lru_cache(maxsize=1)
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, 72)  # type: ignore[no-untyped-call]  # a point is a pixel
