"""``results.json``: every gate of a run, whatever became of it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1
FILENAME = "results.json"
NOT_RUN = "not run"


@dataclass
class Results:
    """Collects reports during a run.

    Attributes
    ----------
    facts : dict
        Environment, model, data set, engines: what the gates were judged on.
    gates : list of dict
        Gate records in the order they came, each with its test.
    measurements : list of dict
        Measurements that no gate judges.
    errors : list of dict
        Tests that broke before a verdict, with the message.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    gates: list[dict[str, Any]] = field(default_factory=list)
    measurements: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)

    @property
    def touched(self) -> bool:
        """Whether any test of ours left something."""
        return bool(self.gates or self.measurements or self.errors)

    def add(
        self,
        test: str,
        phase: str,
        gates: Sequence[Mapping[str, Any]],
        measurements: Sequence[tuple[str, Mapping[str, Any]]],
        failure: str,
    ) -> None:
        """Keep what one phase of a test reported; pytest repeats properties in later phases."""
        if phase == "call":
            self.gates += [{**gate, "test": test} for gate in gates]
            self.measurements += [
                {"name": name, **values, "test": test} for name, values in measurements
            ]
        if failure and not gates:
            self.errors.append({"test": test, "phase": phase, "message": failure})

    def with_not_run(self, expected: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the gates, with those of ``expected`` that left no record as *not run*."""
        seen = {(gate["gate"], gate["precision"]) for gate in self.gates}
        absent = [
            {
                **gate,
                "verdict": NOT_RUN,
                "observed": None,
                "interval": None,
                "detail": "",
                "test": "",
            }
            for gate in expected
            if (gate["gate"], gate["precision"]) not in seen
        ]
        return [*self.gates, *absent]


def overall(gates: Sequence[Mapping[str, Any]], *, broken: bool) -> str:
    """Return the verdict of a run: fail, inconclusive, partial or pass.

    Partial means that nothing failed and something was not judged: not run, not evaluated, or
    judged as a recipe only. A run that broke is a fail.
    """
    verdicts = {gate["verdict"] for gate in gates}
    if broken or "fail" in verdicts:
        return "fail"
    if "inconclusive" in verdicts:
        return "inconclusive"
    partial = any(gate.get("recipe_only") for gate in gates)
    if not gates or partial or verdicts & {NOT_RUN, "not evaluated"}:
        return "partial"
    return "pass"


def write_results(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write ``results.json`` atomically; the one that was there moves to ``previous/``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILENAME
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".results-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            (folder / "previous").mkdir(exist_ok=True)
            path.replace(folder / "previous" / FILENAME)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path
