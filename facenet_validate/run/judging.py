"""A test's gates: the limits in force, what was recorded, and the test's verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.gates import catalogue
from facenet_validate.gates.records import (
    GateRecord,
    Subject,
    gate_property,
    gates_of,
    measurement_property,
)
from facenet_validate.gates.verdicts import (
    GateResult,
    Observed,
    Verdict,
    hold,
    not_evaluated,
    worst,
)
from facenet_validate.reporting.terminal import failure_table
from facenet_validate.run.collecting import COMPARED, check_gate, judged_gates, parameters_of
from facenet_validate.run.diagnosing import Explainer, unexplained
from facenet_validate.run.outcomes import running_properties
from facenet_validate.run.run import Run


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
    marked : tuple of str
        The gates that the test is marked to judge; empty where it has no mark.
    explain : Explainer
        Says why the engine differs.
    """

    def __init__(
        self,
        limits: Mapping[str, float],
        subject: Subject,
        properties: list[tuple[str, Any]],
        inconclusive: str,
        running: Callable[[], tuple[list[tuple[str, Any]], int]] | None = None,
        marked: tuple[str, ...] = (),
        explain: Explainer = unexplained,
    ) -> None:
        self.limits = limits
        self.subject = subject
        self._running = running or (lambda: (properties, 1))
        self._inconclusive = inconclusive
        self._marked = marked
        self._explain = explain

    def hold(self, gate: str, value: float | None, detail: str = "") -> GateResult:
        """Hold a value against its limit in ``gates.toml``, a floor or a ceiling by the catalogue.

        Parameters
        ----------
        gate : str
            Its name.
        value : float or None
            What was observed; None where it cannot be told, which is *not evaluated*.
        detail : str
            What else the reader should know, or why the value cannot be told.

        Returns
        -------
        GateResult
            Not evaluated where there is no limit.

        Raises
        ------
        SettingsError
            If there is no such gate.
        """
        check_gate(gate, "facenet_gates.hold")
        limit = self.limits.get(gate)
        if limit is not None:
            return hold(Observed(gate, value, detail), limit, catalogue.row(gate).bound)
        measured = detail if value is None else f"measured {value:.6g} {detail}"
        return replace(self.without_limit(gate, measured), observed=value)

    def within_limit(
        self, gate: str, judge: Callable[[float], GateResult], measured: str
    ) -> GateResult:
        """Judge by the limit of ``gates.toml``; not evaluated where there is none.

        Parameters
        ----------
        gate : str
            Its name.
        judge : callable
            Takes the limit and returns the result.
        measured : str
            What was measured, for the reader of a gate without a limit.
        """
        limit = self.limits.get(gate)
        return self.without_limit(gate, measured) if limit is None else judge(limit)

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

    def check(self, *outcomes: GateResult | Observed, table: str = "") -> None:
        """Record gates and end the test with the worst verdict among them.

        A fail fails the test with one table of gates, and ``table`` below it. Where the engine was
        diagnosed the cause stands above them. Inconclusive and not evaluated end it as a skip with
        their reason and a status of their own; neither counts as passed.

        Parameters
        ----------
        *outcomes : GateResult or Observed
            Results, and observations that are held to their limits here. An observation of an
            optional gate without a limit is left out, unless nothing else is judged. Without any
            the test is skipped.

        Raises
        ------
        SettingsError
            If there is no such gate, or the test's mark does not name it.
        """
        if not outcomes:
            pytest.skip("no gate of this test applies to this run")
        results = self._judged(outcomes)
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
        told = self._explain(results)  # when all are recorded: no verdict waits for it
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
            pytest.fail(told.around(text, table), pytrace=False)
        if verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_EVALUATED):
            pytest.skip(f"{verdict}: {reasons}")

    def _judged(self, outcomes: tuple[GateResult | Observed, ...]) -> list[GateResult]:
        for one in outcomes:
            check_gate(one.gate, "facenet_gates.check")
            if self._marked and one.gate not in self._marked:
                raise SettingsError(
                    f"facenet_gates.check: this test judges {one.gate}, which its mark "
                    f"facenet_judges does not name. Add it to the mark: {', '.join(self._marked)}."
                )
        due = [
            one
            for one in outcomes
            if isinstance(one, GateResult)
            or one.gate in self.limits
            or not catalogue.row(one.gate).optional
        ]
        return [
            one if isinstance(one, GateResult) else self.hold(one.gate, one.value, one.detail)
            for one in due or outcomes
        ]


def gates_for(
    item: pytest.Item,
    run: Run,
    precision: str,
    explain: Explainer = unexplained,
    *,
    recipe_only: bool,
) -> Gates:
    """Return the limits in force for a test, and the recorder of its gates."""
    parameters = parameters_of(item)
    subject = Subject(
        precision=precision,
        target=run.target,
        dataset=parameters.get("facenet_set", run.dataset_name),
        recipe_only=recipe_only,
        batch=parameters.get("facenet_batch_size"),
    )
    beside = {
        family: parameters[name]
        for name, families in COMPARED.items()
        if name in parameters
        for family in families
    }
    limits = run.limits(subject.dataset, subject.precision)
    return Gates(
        {
            gate: limit
            for gate, limit in limits.items()
            if not _compares_with_another(catalogue.row(gate), beside)
        },
        subject,
        item.user_properties,
        run.settings.inconclusive,
        lambda: running_properties(item),
        judged_gates(item),
        explain,
    )


def _compares_with_another(gate: catalogue.Gate, beside: Mapping[str, str]) -> bool:
    """Say whether a gate compares with another engine than its test does, by family of gates."""
    return beside.get(gate.family, gate.beside) != gate.beside


def skip_what_cannot_run(item: pytest.Item, run: Run) -> None:
    """End a test whose engine can be built but not run here: its gates are not evaluated."""
    reason = run.backend.cannot_run
    if not reason or "facenet_engine" not in getattr(item, "fixturenames", ()):
        return
    precision, marked = parameters_of(item).get("facenet_precision"), judged_gates(item)
    if marked and precision is not None:
        gates = gates_for(item, run, precision, recipe_only=False)
        judged = [gate for gate in marked if gate in gates.limits]
        dataset = gates.subject.dataset
        unlimited = f"{reason}; and no limit in gates.toml for {dataset}"
        gates.check(
            *(not_evaluated(gate, reason, gates.limits[gate]) for gate in judged),
            *(not_evaluated(gate, unlimited) for gate in (() if judged else marked)),
        )
    pytest.skip(reason)


def skip_what_was_not_asked_for(item: pytest.Item, run: Run) -> None:
    """End a test that runs only where an option is given.

    The option is named by the test's ``facenet_needs`` marker.
    """
    for marker in item.iter_markers("facenet_needs"):
        for name in marker.args:
            if not getattr(run.settings, name):
                option = f"--facenet-{name.replace('_', '-')}"
                asked = f"facenet_{name}" in run.settings.origins
                pytest.skip(f"{option} off" if asked else f"runs where {option} is given")
