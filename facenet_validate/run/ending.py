"""How a run ends: which gates were due, which requirements are unmet, which sessions are stored."""

from __future__ import annotations

from typing import Any

from facenet_validate.gates import catalogue
from facenet_validate.reporting.report import BaselineFacts
from facenet_validate.reporting.results import NOT_RUN, Ending, Results
from facenet_validate.run.run import Run


def ending_of(run: Run, results: Results, exit_status: int) -> Ending:
    """Return a run as it ended: what was found, judged and not run."""
    return Ending(run.report, results, results.with_not_run(expected_gates(run)), exit_status)


def expected_gates(run: Run) -> list[dict[str, Any]]:
    """Return every gate of ``gates.toml`` that applies to this run, without a verdict."""
    return [
        {
            "gate": gate,
            "precision": precision,
            "target": run.target,
            "dataset": dataset,
            "recipe_only": False,
            "batch": batch,
            "fails": False,
            "limit": limit,
        }
        for dataset in run.set_names
        for precision in run.settings.precisions
        for gate, limit in run.limits(dataset, precision).items()
        for batch in (run.settings.batch_sizes if catalogue.row(gate).per == "batch" else (None,))
    ]


def unmet_requirements(run: Run, results: Results) -> list[str]:
    """Return the gates of required data sets that nobody judged in this run."""
    required = {*run.settings.require, *run.gates.require}
    return [
        f"{gate['gate']} ({gate['precision']})"
        for gate in results.with_not_run(expected_gates(run))
        if gate["dataset"] in required
        and gate["verdict"] in (NOT_RUN, "not evaluated")
        and gate["gate"] in run.gates.named_for(gate["dataset"], gate["precision"], gate["target"])
    ]


def record_sessions(run: Run, results: Results, exitstatus: int) -> bool:
    """Store what was timed, where that was asked for and no gate of its engine failed.

    Returns
    -------
    bool
        False if a session that may be stored could not be.
    """
    mode = run.settings.update_baselines
    if mode is None or not run.measured:
        return True
    from facenet_validate.benchmarking.baselines import BaselineStore
    from facenet_validate.benchmarking.recording import record

    broken = ""
    if not results.came_to_its_end(exitstatus):
        broken = "the run did not come to its end"
    elif results.errors:
        broken = f"{results.errors[0]['test']} broke before a verdict"
    failed: dict[str, list[str]] = {}
    for gate in results.gates:
        if gate["verdict"] == "fail":
            failed.setdefault(gate["precision"], []).append(gate["gate"])
    found = record(
        run.measured,
        BaselineStore(run.settings.baselines),
        mode=mode,
        reason=run.settings.reason or "",
        refusals={
            precision: broken
            or (f"this engine fails {', '.join(dict.fromkeys(gates))}" if gates else "")
            for precision in run.settings.precisions
            for gates in (failed.get(precision, []),)
        },
    )
    run.report.baselines = [BaselineFacts(one.about, one.text, one.failed) for one in found]
    return not any(one.failed for one in found)
