"""What was lost, with its upper bound, beside the limit: one line a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from facenet_validate.reporting.page.model import Figure, Table
from facenet_validate.reporting.page.parts import Line, Part
from facenet_validate.reporting.page.pictures.drawing import ENGINE, LIMIT, canvas


@dataclass(frozen=True)
class Loss:
    """A loss that was measured.

    Attributes
    ----------
    label : str
        Of which case.
    value, upper : Part
        The loss and its upper bound.
    """

    label: str
    value: Part
    upper: Part


def losses_figure(
    name: str, title: str, quantity: str, losses: Sequence[Loss], limit: Part, words: Line = ()
) -> Figure:
    """Draw losses one below another.

    Parameters
    ----------
    name, title : str
        The picture's id, and what it shows.
    quantity : str
        What is lost, for the axis.
    losses : sequence of Loss
        At least one.
    limit : Part
        Of the gate; nothing where it has none.
    words : Line
        Said after the words that explain the drawing.
    """
    with canvas(name, height=1.3 + 0.28 * len(losses)) as drawing:
        axes = drawing.axes
        for place, loss in enumerate(reversed(losses)):
            value, upper = loss.value.float, loss.upper.float
            if value is None:
                continue
            if upper is not None:
                axes.plot([value, upper], [place, place], color=ENGINE, linewidth=2.5)
                axes.plot([upper], [place], "|", color=ENGINE, markersize=12, markeredgewidth=2)
            axes.plot([value], [place], "o", color=ENGINE, markersize=7)
        if limit.float is not None:
            axes.axvline(limit.float, color=LIMIT, linestyle=":", label="limit")
            drawing.legend()
        axes.set_yticks(range(len(losses)), [loss.label for loss in reversed(losses)])
        axes.set_ylim(-0.6, len(losses) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.08)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel(quantity)
    explained: Line = ("The dot is what was measured; the line ends at its upper 95 % bound. ",)
    if limit.float is not None:
        explained += ("The gate passes where the bound is at most the limit, ", limit.cell(), ". ")
    rows = tuple(((loss.label,), (loss.value.cell(),), (loss.upper.cell(),)) for loss in losses)
    table = Table(title, ("case", quantity, "upper bound, 95 %"), rows)
    return Figure(name, title, (*explained, *words), drawing.svg, table)
