"""A test's gates: the limits in force, what was recorded, and the test's verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from facenet_validate.gates.records import (
    GateRecord,
    Subject,
    gate_property,
    gates_of,
    measurement_property,
)
from facenet_validate.gates.verdicts import (
    GateResult,
    Verdict,
    at_least,
    at_most,
    not_evaluated,
    worst,
)
from facenet_validate.reporting.terminal import failure_table
from facenet_validate.run.outcomes import running_properties
from facenet_validate.run.run import Run

_OTHER_COMPARISONS = {
    "reference": {"accuracy.against_drop"},
    "against": {"accuracy.paired_drop"},
}
"""What a test that compares with the one engine does not judge."""

_OTHER_SPEEDS = {
    "fp32": {"performance.against"},
    "against": {"performance.fp32_ratio", "performance.stored", "performance.stored_ratio"},
}
"""What a test that times beside the one engine does not judge."""


class Gates:
    """Records a test's gates and gives the test its verdict.

    Parameters
    ----------
    limits : mapping
        Gate → limit, from ``gates.toml``, for this data set, precision and target.
    subject : Subject
        What is judged.
    properties : list
        The user properties of the test.
    inconclusive : str
        ``warn`` or ``fail``.
    running : callable
        Returns the properties of the test that runs now, and which try of it this is, from 1. It is
        another test's where a fixture of a wider scope records after its own test has ended.
    """

    def __init__(
        self,
        limits: Mapping[str, float],
        subject: Subject,
        properties: list[tuple[str, Any]],
        inconclusive: str,
        running: Callable[[], tuple[list[tuple[str, Any]], int]] | None = None,
    ) -> None:
        self.limits = limits
        self.subject = subject
        self._running = running or (lambda: (properties, 1))
        self._inconclusive = inconclusive

    def at_least(self, gate: str, observed: float, detail: str = "") -> GateResult:
        """Hold a value against its floor in ``gates.toml``; not evaluated where there is none."""
        limit = self.limits.get(gate)
        if limit is None:
            return self.without_limit(gate, f"measured {observed:.6g} {detail}")
        return at_least(gate, observed, limit, detail)

    def at_most(self, gate: str, observed: float, detail: str = "") -> GateResult:
        """Hold a value against its ceiling in ``gates.toml``; not evaluated where there is none."""
        limit = self.limits.get(gate)
        if limit is None:
            return self.without_limit(gate, f"measured {observed:.6g} {detail}")
        return at_most(gate, observed, limit, detail)

    def without_limit(self, gate: str, measured: str) -> GateResult:
        """Return a gate that is not evaluated because ``gates.toml`` has no limit for it."""
        subject = self.subject
        return not_evaluated(
            gate,
            f"no limit in gates.toml for {subject.dataset}, {subject.precision}, {subject.target}; "
            f"{measured}",
        )

    def measure(self, name: str, values: Mapping[str, Any]) -> None:
        """Record a measurement that no gate judges, for the reports.

        Numbers and arrays of numpy and paths are made plain; infinity and NaN become text.

        Raises
        ------
        MeasurementError
            If a value is of another kind, such as a time or a set; its key and type are named.
        """
        subject = self.subject
        values = {"precision": subject.precision, "dataset": subject.dataset, **values}
        properties, _ = self._running()
        properties.append(measurement_property(name, values))

    def check(self, *results: GateResult, table: str = "") -> None:
        """Record results and end the test with the worst verdict among them.

        A fail fails the test with one table of gates, and ``table`` below it. Inconclusive and not
        evaluated end it as a skip with their reason and a status of their own; neither counts as
        passed.
        """
        failing = {Verdict.FAIL}
        if self._inconclusive == "fail":
            failing.add(Verdict.INCONCLUSIVE)
        properties, attempt = self._running()
        recorded = [
            gate_property(
                GateRecord(
                    self.subject,
                    result,
                    fails=result.verdict in failing,
                    attempt=attempt,
                )
            )
            for result in results
        ]
        properties.extend(recorded)
        verdict = worst(result.verdict for result in results)
        reasons = "; ".join(
            f"{result.gate}: {result.detail}" for result in results if result.verdict is verdict
        )
        if verdict in failing:
            heading = (
                f"{self.subject.precision} ({self.subject.target}) on {self.subject.dataset}: "
                f"{verdict}"
            )
            text = failure_table(gates_of(recorded), heading=heading)
            pytest.fail(f"{text}\n\n{table}" if table else text, pytrace=False)
        if verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_EVALUATED):
            pytest.skip(f"{verdict}: {reasons}")


def gates_for(item: pytest.Item, run: Run, precision: str, *, recipe_only: bool) -> Gates:
    """Return the limits in force for a test, and the recorder of its gates."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    subject = Subject(
        precision=precision,
        target=run.target,
        dataset=parameters.get("facenet_set", run.dataset_name),
        recipe_only=recipe_only,
        batch=parameters.get("facenet_batch_size"),
    )
    others = _OTHER_COMPARISONS.get(parameters.get("facenet_compared_with", ""), set())
    others = others | _OTHER_SPEEDS.get(parameters.get("facenet_timed_beside", ""), set())
    limits = run.limits(subject.dataset, subject.precision)
    return Gates(
        {gate: limit for gate, limit in limits.items() if gate not in others},
        subject,
        item.user_properties,
        run.settings.inconclusive,
        lambda: running_properties(item),
    )


def judged_by(item: pytest.Item, run: Run) -> list[dict[str, Any]]:
    """Return the gates a test is marked to judge, as records name them."""
    marker = item.get_closest_marker("facenet_judges")
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if marker is None or "facenet_precision" not in parameters:
        return []
    judged = {
        "dataset": parameters.get("facenet_set", run.dataset_name),
        "precision": parameters["facenet_precision"],
        "batch": parameters.get("facenet_batch_size"),
    }
    return [{"gate": gate, **judged} for gate in marker.args]


def skip_what_cannot_run(item: pytest.Item, run: Run) -> None:
    """End a test whose engine can be built but not run here: its gates are not evaluated."""
    reason = run.backend.cannot_run
    if not reason:
        return
    marker = item.get_closest_marker("facenet_judges")
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    precision = parameters.get("facenet_precision")
    if marker is not None and precision is not None:
        gates = gates_for(item, run, precision, recipe_only=False)
        judged = [gate for gate in marker.args if gate in gates.limits]
        dataset = gates.subject.dataset
        unlimited = f"{reason}; and no limit in gates.toml for {dataset}"
        gates.check(
            *(not_evaluated(gate, reason, gates.limits[gate]) for gate in judged),
            *(not_evaluated(gate, unlimited) for gate in (() if judged else marker.args)),
        )
    pytest.skip(reason)
