"""The terminal summary: one table, a row a gate."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import format_number

_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "inconclusive": "yellow",
    "not evaluated": "cyan",
    "not run": "dim",
}


def gate_table(gates: Sequence[Mapping[str, Any]], *, width: int, colour: bool) -> str:
    """Return the table of gates as text, in the order of suites and precisions."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    for name, justify in (
        ("suite", "left"),
        ("gate", "left"),
        ("precision", "left"),
        ("observed", "right"),
        ("limit", "right"),
        ("verdict", "left"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("detail", overflow="fold")
    order = {gate: place for place, gate in enumerate(catalogue.names())}
    sets = list(dict.fromkeys(gate["dataset"] for gate in gates))

    def place(gate: Mapping[str, Any]) -> tuple[int, int, str, int]:
        suite = order.get(gate["gate"], len(order))
        return suite, sets.index(gate["dataset"]), gate["precision"], gate["batch"] or 0

    for gate in sorted(gates, key=place):
        suite, _, name = gate["gate"].partition(".")
        verdict = gate["verdict"] + (" (recipe only)" if _qualified(gate) else "")
        name += f" b{gate['batch']}" if gate["batch"] else ""
        name += f", {gate['dataset']}" if len(sets) > 1 and suite == "accuracy" else ""
        table.add_row(
            suite,
            name,
            gate["precision"],
            _number(gate["observed"]),
            _number(gate["limit"]),
            Text(verdict, style=_STYLES.get(gate["verdict"], "")),
            Text(gate["detail"]),
        )
    stream = io.StringIO()
    console = Console(
        file=stream, width=max(width, 100), force_terminal=colour, no_color=not colour
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def failure_table(results: Sequence[Mapping[str, Any]], *, heading: str) -> str:
    """Return the text of a failed test: what was judged and the gates, worst first."""
    rank = {"fail": 0, "inconclusive": 1, "not evaluated": 2, "pass": 3}
    ordered = sorted(results, key=lambda gate: rank.get(gate["verdict"], 4))
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
