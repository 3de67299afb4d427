"""What a test leaves behind for the reports: gate results and measurements.

They travel as the user properties of pytest's own report, which reach the controller under xdist
and end up in JUnit. The terminal table, ``results.json`` and JUnit are all made from them, so they
cannot disagree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facenet_validate.gates.plain import plain
from facenet_validate.gates.verdicts import GateResult, Verdict, worst

GATE = "facenet.gate"
MEASUREMENT = "facenet.measurement"


@dataclass(frozen=True)
class Subject:
    """What a gate judged.

    Attributes
    ----------
    precision, target, dataset : str
        Which limits applied.
    recipe_only : bool
        Whether the result speaks for the recipe and not for an engine on its target.
    batch : int or None
        Batch size, where the test is about one.
    """

    precision: str
    target: str
    dataset: str
    recipe_only: bool
    batch: int | None = None


@dataclass(frozen=True)
class GateRecord:
    """A gate's result, what it judged, whether it fails the run, and in which try of its test."""

    subject: Subject
    result: GateResult
    fails: bool
    attempt: int = 1


def gate_property(record: GateRecord) -> tuple[str, str]:
    """Return a gate record as a user property."""
    result = record.result
    values = {
        "gate": result.gate,
        "precision": record.subject.precision,
        "target": record.subject.target,
        "dataset": record.subject.dataset,
        "recipe_only": record.subject.recipe_only,
        "batch": record.subject.batch,
        "verdict": result.verdict.value,
        "fails": record.fails,
        "try": record.attempt,
        "observed": _finite(result.observed),
        "limit": _finite(result.limit),
        "interval": None if result.interval is None else [_finite(v) for v in result.interval],
        "detail": result.detail,
    }
    return f"{GATE}:{result.gate}", json.dumps(values)


def measurement_property(name: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """Return a measurement that no gate judges as a user property.

    Raises
    ------
    MeasurementError
        If a value is none that a report can hold; its key and type are named.
    """
    told = plain(values, f"measurement {name}")
    return f"{MEASUREMENT}:{name}", json.dumps(told, allow_nan=False)


def gates_of(properties: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the gate records among a report's user properties."""
    return [value for _, value in _records(properties, GATE) if "gate" in value]


def measurements_of(properties: Sequence[Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the measurements among a report's user properties, by name."""
    return _records(properties, MEASUREMENT)


def _records(properties: Sequence[Any], kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the records of a kind; what other plugins and tests leave there may be anything."""
    found = []
    for entry in properties or ():
        if not isinstance(entry, tuple | list) or len(entry) != 2:
            continue
        name, text = entry
        if not (isinstance(name, str) and isinstance(text, str) and name.startswith(f"{kind}:")):
            continue
        try:
            value = json.loads(text)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append((name.removeprefix(f"{kind}:"), value))
    return found


def verdict_of(properties: Sequence[tuple[str, Any]]) -> Verdict | None:
    """Return the worst verdict among a report's gates; None without gates."""
    verdicts = [Verdict(gate["verdict"]) for gate in gates_of(properties)]
    return worst(verdicts) if verdicts else None


def _finite(value: float | None) -> float | str | None:
    """JSON has no infinity or NaN, which are written as text, and no numbers of numpy's."""
    if value is None or math.isfinite(value):
        return value if value is None or isinstance(value, int) else float(value)
    return str(float(value))
