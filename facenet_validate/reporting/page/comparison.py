"""Two reports side by side as a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facenet_validate.reporting.comparing import GateChange, ReportComparison
from facenet_validate.reporting.page.parts import Cell, Part
from facenet_validate.reporting.page.render import render_template


@dataclass(frozen=True)
class _Row:
    """A gate in both reports; its places begin with ``/a`` and ``/b``."""

    kind: str
    gate: str
    precision: str
    dataset: str
    observed: tuple[Cell, Cell]
    limits: tuple[Cell, Cell]
    verdicts: tuple[Cell, Cell]


def render_comparison(
    found: ReportComparison, a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]
) -> str:
    """Return the page of two reports.

    Parameters
    ----------
    found : ReportComparison
        What changed.
    a, b : mapping
        What the two ``results.json`` hold.
    names : tuple of str
        What the reports are called.
    """
    sides = Part({"a": dict(a), "b": dict(b)})
    rows = [_row(one, sides) for one in found.changes]
    return render_template(
        "compare.html.j2",
        names=names,
        sides=[(sides[key]["verdict"].cell(), sides[key]["sentence"].cell()) for key in "ab"],
        changed=[row for row in rows if row.kind != "same"],
        same=[row for row in rows if row.kind == "same"],
        differences=found.differences,
        worse=bool(found.of_kind("worse")),
    )


def _row(one: GateChange, sides: Part) -> _Row:
    a, b = (
        Part(None) if place is None else sides[key]["gates"][place]
        for key, place in (("a", one.a), ("b", one.b))
    )
    return _Row(
        one.kind,
        one.subject.gate + (f" b{one.subject.batch}" if one.subject.batch else ""),
        one.subject.precision,
        one.subject.dataset,
        (a["observed"].cell(), b["observed"].cell()),
        (a["limit"].cell(), b["limit"].cell()),
        (a["verdict"].cell(), b["verdict"].cell()),
    )
