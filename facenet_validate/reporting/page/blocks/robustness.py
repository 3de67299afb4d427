"""What corrupted photos showed."""

from __future__ import annotations

from facenet_validate.reporting.page.blocks.place import Place
from facenet_validate.reporting.page.model import Block, Table
from facenet_validate.reporting.page.parts import cells
from facenet_validate.reporting.page.pictures.severities import severities_figure


def corruptions(at: Place) -> Block | None:
    """Return accuracy on corrupted photos; None where there were none."""
    if not at.measured["kinds"]:
        return None
    figure = severities_figure(f"{at.name}-severities", at.measured, at.engine)
    head = ("kind", "lost", "won", "pairs", "accuracy lost", "upper bound, 95 %")
    rows = tuple(
        (
            kind["kind"].line(),
            *cells(*(kind[key] for key in ("lost", "won", "pairs", "drop", "upper_95"))),
        )
        for kind in at.measured["kinds"]
    )
    table = Table("Corrupted photos", head, rows)
    return Block(f"Corrupted photos, {at.where}", (), (figure,), (table,))
