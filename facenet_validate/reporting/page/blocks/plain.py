"""A measurement that has no picture: its values in a table."""

from __future__ import annotations

from collections.abc import Iterable

from facenet_validate.reporting.page.blocks.place import Place
from facenet_validate.reporting.page.model import Block, Table
from facenet_validate.reporting.page.parts import Line, Part, joined

_ABOUT = ("name", "precision", "dataset", "test", "batch", "run")
_MOST_ROWS = 60
_MOST_LIST = 12


def unknown(at: Place, title: str = "") -> Block:
    """Return a measurement as a table of its values, as far as they are few."""
    rows: list[tuple[Line, ...]] = []
    _collect(at.measured, (), rows)
    told: list[Line] = []
    if len(rows) > _MOST_ROWS:
        told.append(("The file has more values of it.",))
    name = title or f"{at.measured['name'].text}, {at.where}"
    table = Table(name, ("value", "found"), tuple(rows[:_MOST_ROWS]))
    return Block(name, tuple(told), tables=(table,), folded=True)


def _collect(part: Part, names: Line, rows: list[tuple[Line, ...]]) -> None:
    for key, one in part.items():
        if not names and key in _ABOUT:
            continue
        whole = (*names, " ", one.label) if names else (one.label,)
        if isinstance(one.value, dict):
            _collect(one, whole, rows)
        elif isinstance(one.value, list):
            if one and len(one.value) <= _MOST_LIST and not _nested(one.value):
                rows.append((whole, joined(one)))
        elif one.value is not None:
            rows.append((whole, (one.cell(),)))


def _nested(values: Iterable[object]) -> bool:
    return any(isinstance(one, list | dict) for one in values)
