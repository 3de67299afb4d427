"""``results.json``: every gate of a run, whatever became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from facenet_validate.gates.verdicts import SEVERITY, Verdict
from facenet_validate.reporting.report import EnvironmentFacts, RunReport

SCHEMA = 1

UNJUDGED = frozenset({Verdict.NOT_EVALUATED, Verdict.NOT_RUN})
"""Verdicts of gates that nobody judged."""

_ENDED = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)


@dataclass
class Results:
    """Collects reports during a run.

    Attributes
    ----------
    gates : list of dict
        Gate records in the order they came, each with its test: one for a gate and a try.
    measurements : list of dict
        Measurements that no gate judges.
    errors : list of dict
        Tests that broke before a verdict, and files that could not be collected: the message, and
        the gates that were to be judged there.
    unmet : list of str
        Gates of required data sets that nobody judged.
    collected : bool or None
        Whether tests of ours are to run; None until collection has ended.
    skipped : list of (dict, str)
        Gates whose test was skipped before it judged them, and why.
    interrupted : bool
        Whether the run was cut off, whatever its exit status.
    stopped : str
        The error that ended the run early; empty where none did.
    report_error : str
        Why ``results.json`` could not be written; empty if it could.
    """

    gates: list[dict[str, Any]] = field(default_factory=list)
    measurements: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    unmet: list[str] = field(default_factory=list)
    collected: bool | None = None
    skipped: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    interrupted: bool = False
    stopped: str = ""
    report_error: str = ""

    @property
    def touched(self) -> bool:
        """Whether any test of ours left something."""
        return bool(self.gates or self.measurements or self.errors)

    def came_to_its_end(self, exitstatus: int) -> bool:
        """Say whether the run was neither cut off nor broke."""
        return has_ended(exitstatus) and not self.interrupted

    def add(
        self,
        test: str,
        phase: str,
        gates: Sequence[Mapping[str, Any]],
        measurements: Sequence[tuple[str, Mapping[str, Any]]],
        failure: str,
        judges: Sequence[Mapping[str, Any]] = (),
        reason: str = "",
    ) -> None:
        """Keep what one phase of a test reported.

        A report repeats what earlier phases and tries of its test left, so each gate is kept once a
        try; of two records in one try the worse is kept.
        """
        for gate in gates:
            self._keep({**gate, "test": test})
        for name, values in measurements:
            measured = {"name": name, **values, "test": test}
            if measured not in self.measurements:
                self.measurements.append(measured)
        explained = phase == "call" and any(gate["fails"] for gate in gates)
        if failure and not explained:
            self.errors.append(broken(test, phase, failure, judges, reason))

    def _keep(self, record: dict[str, Any]) -> None:
        same = (record["test"], record.get("try"), _key(record))
        for place, known in enumerate(self.gates):
            if (known["test"], known.get("try"), _key(known)) == same:
                if severity(record) > severity(known):
                    self.gates[place] = record
                return
        self.gates.append(record)

    def with_not_run(self, expected: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the gates, with those of ``expected`` that left no record as *not run*, and why.

        The reason is the error or the skip of the test that was to judge the gate, else the error
        that ended the run. A gate whose test was not asked for has none.
        """
        seen = {_key(gate) for gate in self.gates}
        reasons = {_key(gate): reason for gate, reason in self.skipped}
        reasons |= {
            _key(gate): error["reason"]
            for error in reversed(self.errors)
            for gate in error["judges"]
        }
        absent = [
            {
                **gate,
                "verdict": Verdict.NOT_RUN.value,
                "observed": None,
                "interval": None,
                "detail": reasons.get(_key(gate), self.stopped),
                "test": "",
            }
            for gate in expected
            if _key(gate) not in seen
        ]
        return [*self.gates, *absent]


def broken(
    test: str,
    phase: str,
    message: str,
    judges: Sequence[Mapping[str, Any]] = (),
    reason: str = "",
) -> dict[str, Any]:
    """Return the record of what broke before a verdict.

    Parameters
    ----------
    test, phase : str
        Where.
    message : str
        The whole message.
    judges : sequence of mapping
        The gates that were to be judged there.
    reason : str
        The message in a line; its first line by default.
    """
    return {
        "test": test,
        "phase": phase,
        "message": message,
        "reason": reason or first_line(message),
        "judges": list(judges),
    }


def first_line(message: str) -> str:
    """Return the first line of a message that says something."""
    return next((line.strip() for line in message.splitlines() if line.strip()), "")


def severity(gate: Mapping[str, Any]) -> tuple[bool, int]:
    """Return how bad a gate's verdict is, for sorting; what fails the run is worst."""
    return bool(gate["fails"]), SEVERITY.index(Verdict(gate["verdict"]))


def _key(gate: Mapping[str, Any]) -> tuple[str, str, str, int | None]:
    return gate["gate"], gate["dataset"], gate["precision"], gate["batch"]


def has_ended(exitstatus: int) -> bool:
    """Say whether a session came to its end: it was not interrupted and did not break."""
    return exitstatus in _ENDED


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
    if not gates or partial or verdicts & UNJUDGED:
        return "partial"
    return "pass"


@dataclass(frozen=True)
class Ending:
    """A run as it ended.

    Attributes
    ----------
    report : RunReport
        What it found and built.
    results : Results
        What its tests left.
    gates : list of dict
        Every gate of the run, those among them that were not run.
    exit_status : int
        Of pytest.
    """

    report: RunReport
    results: Results
    gates: list[dict[str, Any]]
    exit_status: int

    @property
    def environment(self) -> EnvironmentFacts:
        """What the run stood on."""
        assert self.report.environment is not None
        return self.report.environment

    @property
    def verdict(self) -> str:
        """The overall verdict; errors and interruption make it a fail."""
        ended = self.results.came_to_its_end(self.exit_status)
        broken = bool(self.results.errors or self.results.unmet) or not ended
        return overall(self.gates, broken=broken)

    @property
    def stand_ins(self) -> list[str]:
        """What was judged on a stand-in, a line each."""
        return _stand_ins(self.gates)

    @property
    def why_partial(self) -> str:
        """What was not judged; empty unless the verdict is partial."""
        return _why_partial(self.gates) if self.verdict == "partial" else ""


def _stand_ins(gates: list[dict[str, Any]]) -> list[str]:
    """Say what was judged on a stand-in, and why that is not the engine."""
    precisions = {gate["precision"] for gate in gates if gate["recipe_only"]}
    told = {
        "fp16": "FP16 on a CPU speaks for the recipe, not for an engine (the provider computes "
        "most of it in FP32)",
        "int8": "INT8 for TensorRT speaks for the recipe, not for an engine (emulated here)",
    }
    return [reason for precision, reason in told.items() if precision in precisions]


def _why_partial(gates: list[dict[str, Any]]) -> str:
    reasons = _stand_ins(gates)
    for verdict in (Verdict.NOT_EVALUATED, Verdict.NOT_RUN):
        names = sorted({gate["gate"] for gate in gates if gate["verdict"] == verdict})
        if names:
            reasons.append(f"{verdict}: {', '.join(names)}")
    return "; ".join(reasons)
