"""The terminal summary: one table, a row a gate."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import SEVERITY, Verdict, format_number
from facenet_validate.reporting.results import severity

_WIDE = 100
"""Columns from which details have room beside the figures."""

_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "inconclusive": "yellow",
    "not evaluated": "cyan",
    "not run": "dim",
}


def gate_table(
    gates: Sequence[Mapping[str, Any]], *, width: int, colour: bool, verbose: bool
) -> str:
    """Return the table of gates as text: the worst suite first, and in it the worst gate.

    Parameters
    ----------
    width : int
        Columns. Below 100 the details stand below the table.
    verbose : bool
        Whether details are shown whole. Else those of gates that passed end with their line.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    beside = width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False, padding=(0, 1, 0, 0))
    for name, justify in (
        ("gate", "left"),
        ("engine", "left"),
        ("observed", "right"),
        ("limit", "right"),
        ("verdict", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    if beside:
        table.add_column("detail", overflow="fold")
    sets = list(dict.fromkeys(gate["dataset"] for gate in gates))
    suite, below = "", []
    for gate in _worst_first(gates, sets):
        if suite not in ("", suite := gate["gate"].partition(".")[0]):
            table.add_section()
        passed = gate["verdict"] == Verdict.PASS
        name = gate["gate"] + (f" b{gate['batch']}" if gate["batch"] else "")
        name += f", {gate['dataset']}" if len(sets) > 1 and _per_set(gate) else ""
        verdict = gate["verdict"] + (" (recipe only)" if _qualified(gate) else "")
        detail = Text(gate["detail"])
        if passed and not verbose:
            detail.no_wrap, detail.overflow = True, "ellipsis"
        table.add_row(
            name,
            gate["precision"],
            _number(gate["observed"]),
            _number(gate["limit"]),
            Text(verdict, style=_STYLES.get(gate["verdict"], "")),
            *([detail] if beside else []),
        )
        if not beside and gate["detail"] and (verbose or not passed):
            below.append(f"{name}, {gate['precision']}: {gate['detail']}")
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, no_color=not colour)
    console.print(table)
    lines = [line.rstrip() for line in stream.getvalue().rstrip().splitlines()]
    return "\n".join([*lines, *([""] if below else []), *below])


def _worst_first(
    gates: Sequence[Mapping[str, Any]], sets: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Sort suites by their worst gate, and gates in a suite; equals in the catalogue's order."""
    order = {gate: place for place, gate in enumerate(catalogue.names())}
    worst: dict[str, tuple[bool, int]] = {}
    for gate in gates:
        suite = gate["gate"].partition(".")[0]
        worst[suite] = max(worst.get(suite, (False, 0)), severity(gate))

    def place(gate: Mapping[str, Any]) -> tuple[Any, ...]:
        suite = gate["gate"].partition(".")[0]
        of_suite, of_gate = worst[suite], severity(gate)
        first = min(order.get(name, len(order)) for name in order if name.startswith(f"{suite}."))
        return (
            (not of_suite[0], -of_suite[1], first, suite),
            (not of_gate[0], -of_gate[1]),
            order.get(gate["gate"], len(order)),
            sets.index(gate["dataset"]),
            gate["precision"],
            gate["batch"] or 0,
        )

    return sorted(gates, key=place)


def _per_set(gate: Mapping[str, Any]) -> bool:
    name = gate["gate"]
    return name in catalogue.names() and catalogue.row(name).per == "set"


def failure_table(results: Sequence[Mapping[str, Any]], *, heading: str) -> str:
    """Return the text of a failed test: what was judged and the gates, worst first."""
    ordered = sorted(results, key=lambda gate: SEVERITY.index(gate["verdict"]), reverse=True)
    return f"{heading}\n{gate_table_plain(ordered)}"


def gate_table_plain(gates: Sequence[Mapping[str, Any]]) -> str:
    """Return gates as aligned plain text, in the order given."""
    rows = [("gate", "observed", "limit", "verdict", "detail")]
    rows += [
        (g["gate"], _number(g["observed"]), _number(g["limit"]), g["verdict"], g["detail"])
        for g in gates
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(w) for cell, w in zip(row[:4], widths, strict=True)), row[4]]
        ).rstrip()
        for row in rows
    )


def _number(value: float | str | None) -> str:
    return value if isinstance(value, str) else format_number(value)


def _qualified(gate: Mapping[str, Any]) -> bool:
    return bool(gate.get("recipe_only")) and gate["verdict"] in ("pass", "fail", "inconclusive")
