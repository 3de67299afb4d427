"""``results.json``: every gate of a run, whatever became of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from facenet_validate.errors import SettingsError

SCHEMA = 1
FILENAME = "results.json"
NOT_RUN = "not run"


@dataclass
class Results:
    """Collects reports during a run.

    Attributes
    ----------
    gates : list of dict
        Gate records in the order they came, each with its test.
    measurements : list of dict
        Measurements that no gate judges.
    errors : list of dict
        Tests that broke before a verdict, with the message.
    unmet : list of str
        Gates of required data sets that nobody judged.
    collected : bool
        Whether tests of ours are to run.
    report_error : str
        Why ``results.json`` could not be written; empty if it could.
    """

    gates: list[dict[str, Any]] = field(default_factory=list)
    measurements: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    unmet: list[str] = field(default_factory=list)
    collected: bool = False
    report_error: str = ""

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
        """Keep what one phase of a test reported; pytest repeats properties in later phases.

        A test whose engine cannot run here is judged in its set-up, and has no later phase but
        its teardown.
        """
        judged = phase == "call" or (phase == "setup" and bool(gates))
        if judged:
            self.gates += [{**gate, "test": test} for gate in gates]
            self.measurements += [
                {"name": name, **values, "test": test} for name, values in measurements
            ]
        explained = phase == "call" and any(gate["fails"] for gate in gates)
        if failure and not explained:
            self.errors.append({"test": test, "phase": phase, "message": failure})

    def with_not_run(self, expected: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the gates, with those of ``expected`` that left no record as *not run*."""
        seen = {_key(gate) for gate in self.gates}
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
            if _key(gate) not in seen
        ]
        return [*self.gates, *absent]


def _key(gate: Mapping[str, Any]) -> tuple[str, str, str, int | None]:
    return gate["gate"], gate["dataset"], gate["precision"], gate["batch"]


def overall(gates: Sequence[Mapping[str, Any]], *, broken: bool) -> str:
    """Return the verdict of a run: fail, inconclusive, partial or pass.

    A gate fails the run if it failed, or was not decided where that was asked to fail.

    Partial means that nothing failed and something was not judged: not run, not evaluated, or
    judged as a recipe only. A run that broke is a fail.
    """
    verdicts = {gate["verdict"] for gate in gates}
    if broken or any(gate["fails"] for gate in gates):
        return "fail"
    if "inconclusive" in verdicts:
        return "inconclusive"
    partial = any(gate.get("recipe_only") for gate in gates)
    if not gates or partial or verdicts & {NOT_RUN, "not evaluated"}:
        return "partial"
    return "pass"


def check_report_folder(folder: Path) -> None:
    """Create the report folder, before a run whose report could not be written.

    Raises
    ------
    SettingsError
        If it cannot be created or written.
    """
    probe = folder / f".writable-{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"report folder {folder} cannot be written ({error.strerror}). Name another with "
            "--facenet-report."
        ) from None


def write_results(folder: Path, document: Mapping[str, Any]) -> Path:
    """Write ``results.json`` atomically; the one that was there moves to ``previous/``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILENAME
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    temporary = folder / f".results-{uuid4().hex}"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            (folder / "previous").mkdir(exist_ok=True)
            path.replace(folder / "previous" / FILENAME)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
