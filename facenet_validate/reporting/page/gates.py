"""The gates of a report, by suite, the worst first."""

from __future__ import annotations

from collections.abc import Sequence

from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.reporting.page.model import Block, GateRow, Suite
from facenet_validate.reporting.page.parts import Line, Part
from facenet_validate.reporting.results import severity
from facenet_validate.reporting.terminal import worst_first

_TITLES = {
    "accuracy": "Accuracy",
    "build": "Build",
    "contract": "Contract",
    "identification": "Identification",
    "operating": "The deployed threshold",
    "parity": "Parity",
    "performance": "Speed",
    "robustness": "Robustness",
}


def run_of(document: Part, part: Part) -> Line:
    """Return the run that a gate or a measurement of a joined report is of; else nothing."""
    run = part["run"].value
    return document["runs"][run]["run"].line() if isinstance(run, int) else ()


def gate_row(gate: Part, document: Part) -> GateRow:
    """Return a gate as the page has it."""
    about: Line = (gate["precision"].cell(), " on ", gate["dataset"].cell())
    if gate["batch"]:
        about += (", batches of ", gate["batch"].cell())
    if run := run_of(document, gate):
        about += (", run ", *run)
    title = document["gate_titles"][gate["gate"].text]
    return GateRow(
        name=gate["gate"].cell(),
        title=title.cell() if title else None,
        about=about,
        observed=gate["observed"].cell(),
        limit=gate["limit"].cell(),
        interval=_interval(gate["interval"]),
        verdict=gate["verdict"].cell(),
        fails=bool(gate["fails"].value),
        recipe_only=bool(gate["recipe_only"].value),
        detail=gate["detail"].line(),
    )


def _interval(found: Part) -> Line:
    if not found:
        return ()
    low, high = found[0], found[1]
    if low.value == "-inf":
        return ("at most ", high.cell())
    if high.value == "inf":
        return ("at least ", low.cell())
    return (low.cell(), " to ", high.cell())


def failing(document: Part) -> tuple[Part, ...]:
    """Return the gates that failed or were not decided, the worst first."""
    telling = [
        gate
        for gate in document["gates"]
        if gate["fails"].value or gate["verdict"].value == Verdict.INCONCLUSIVE
    ]
    return tuple(sorted(telling, key=lambda gate: severity(gate.value), reverse=True))


def limit_of(document: Part, gate: str, measured: Part) -> Part:
    """Return the limit that a gate had for what was measured; nothing where it had none."""
    for found in document["gates"]:
        if (
            found["gate"].value == gate
            and found["precision"].value == measured["precision"].value
            and found["dataset"].value == measured["dataset"].value
            and found["run"].value == measured["run"].value
            and found["batch"].value in (None, measured["batch"].value)
        ):
            return found["limit"]
    return Part(None)


def suites(document: Part, blocks: Sequence[tuple[str, Block]]) -> tuple[Suite, ...]:
    """Return the suites, the worst first, with what each measured.

    Parameters
    ----------
    document : Part
        The whole.
    blocks : sequence of (str, Block)
        Suite, and what it measured.
    """
    gates = list(document["gates"])
    places = {id(gate.value): gate for gate in gates}
    sets = list(dict.fromkeys(gate["dataset"].text for gate in gates))
    ordered = [places[id(one)] for one in worst_first([gate.value for gate in gates], sets)]
    found = []
    names = [gate["gate"].text.partition(".")[0] for gate in ordered]
    for name in dict.fromkeys([*names, *(suite for suite, _ in blocks)]):
        of = [gate for gate, suite in zip(ordered, names, strict=True) if suite == name]
        rows = tuple(gate_row(gate, document) for gate in of)
        worst = max((gate.value for gate in of), key=severity, default=None)
        found.append(
            Suite(
                name=name,
                title=_TITLES.get(name, name),
                verdict="" if worst is None else worst["verdict"],
                gates=rows,
                blocks=tuple(block for suite, block in blocks if suite == name),
            )
        )
    return tuple(found)


def known_suites() -> tuple[str, ...]:
    """Return the suites of the catalogue, in the order of reports."""
    return tuple(dict.fromkeys(gate.suite for gate in catalogue.CATALOGUE))
