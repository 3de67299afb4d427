"""Accuracy fold by fold."""

from __future__ import annotations

from facenet_validate.reporting.page.model import Figure, Table
from facenet_validate.reporting.page.parts import Line, Part, cells
from facenet_validate.reporting.page.pictures.drawing import ENGINE, LINE, REFERENCE, canvas

_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth"),
    *("sixth", "seventh", "eighth", "ninth", "tenth"),
)


def folds_figure(name: str, measured: Part, engine: str) -> Figure:
    """Draw the accuracy of each fold, of the reference and of the engine.

    Parameters
    ----------
    name : str
        The picture's id.
    measured : Part
        A measurement ``verification``.
    engine : str
        What the engine is called.
    """
    own = measured["fold_accuracies"]
    other = measured["reference"]["fold_accuracies"]
    folds = range(1, len(own.floats) + 1)
    with canvas(name) as drawing:
        axes = drawing.axes
        if other:
            axes.vlines(folds, own.floats, other.floats, color=LINE, linewidth=3)
            axes.plot(folds, other.floats, "s", color=REFERENCE, label="FP32", markersize=7)
        axes.plot(folds, own.floats, "o", color=ENGINE, label=engine, markersize=5.5)
        axes.set_xticks(list(folds))
        axes.set_xlabel("fold")
        axes.set_ylabel("accuracy")
        axes.margins(y=0.15)
        drawing.legend()
    words: Line = (
        f"{engine} at its own thresholds: ",
        measured["accuracy"].cell(),
        " ± ",
        measured["accuracy_std_over_folds"].cell(),
        " (standard deviation over the folds).",
    )
    if measured["reference_accuracy"]:
        words += (" FP32: ", measured["reference_accuracy"].cell(), ".")
    return Figure(name, "Accuracy by fold", words, drawing.svg, _table(engine, own, other))


def _table(engine: str, own: Part, other: Part) -> Table | None:
    """Return the figures; None where there are more folds than have a name."""
    sources = [("FP32", other)] if other else []
    sources.append((engine, own))
    if len(list(own)) > len(_ORDINALS):
        return None
    rows = tuple(
        ((ordinal,), *cells(*(part[place] for _, part in sources)))
        for place, (ordinal, _) in enumerate(zip(_ORDINALS, own, strict=False))
    )
    return Table("Accuracy by fold", ("fold", *(label for label, _ in sources)), rows)
