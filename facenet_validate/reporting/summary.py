"""What a run says at its end: the table, the verdict, and ``results.json``."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from facenet_validate.gates.limits import GATES
from facenet_validate.reporting.results import (
    NOT_RUN,
    SCHEMA,
    Results,
    overall,
)
from facenet_validate.reporting.speed import speed_lines
from facenet_validate.reporting.terminal import gate_table
from facenet_validate.reporting.verification import verification_lines
from facenet_validate.run.run import Run

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "partial": "cyan"}


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
        for batch in (run.settings.batch_sizes if gate.startswith("performance.") else (None,))
    ]


def unmet_requirements(run: Run, results: Results) -> list[str]:
    """Return the gates of required data sets that nobody judged in this run."""
    required = {*run.settings.require, *run.gates.require}
    return [
        f"{gate['gate']} ({gate['precision']})"
        for gate in results.with_not_run(expected_gates(run))
        if gate["dataset"] in required
        and gate["verdict"] in (NOT_RUN, "not evaluated")
        and gate["gate"] in run.gates.own(gate["dataset"], gate["precision"], gate["target"])
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
    run.facts["baselines"] = [asdict(one) for one in found]
    return not any(one.failed for one in found)


def verdict_of_run(run: Run, results: Results, exitstatus: int) -> str:
    """Return the overall verdict; errors and interruption make it a fail."""
    ended = results.came_to_its_end(exitstatus)
    broken = bool(results.errors or results.unmet) or not ended
    return overall(results.with_not_run(expected_gates(run)), broken=broken)


def write_summary(
    terminal: pytest.TerminalReporter, run: Run, results: Results, exitstatus: int
) -> None:
    """Print the table of gates, what they were judged on, and the verdict."""
    gates = results.with_not_run(expected_gates(run))
    terminal.section("facenet verdict", sep="=")
    width = shutil.get_terminal_size((120, 40)).columns
    cannot_run = run.backend.cannot_run
    # Its reason stands below, once; results.json has it with every gate.
    shown = [
        {**gate, "detail": "cannot run here"}
        if cannot_run and cannot_run in gate["detail"]
        else gate
        for gate in gates
    ]
    # The same holds for the error that kept gates from being judged.
    brief = [
        {**gate, "detail": "see below"} if gate["verdict"] == NOT_RUN and gate["detail"] else gate
        for gate in shown
    ]
    terminal.write_line(gate_table(brief, width=width, colour=terminal.hasmarkup))
    for line in _why_not_run(gates):
        terminal.write_line(line)
    if shown != gates:
        terminal.write_line(f"not evaluated: {cannot_run}; the engine is judged by its build alone")
    for line in _notes(run, results):
        terminal.write_line(line)
    verdict = verdict_of_run(run, results, exitstatus)
    counts = {name: sum(g["verdict"] == name for g in gates) for name in _verdicts(gates)}
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    terminal.write_line(f"verdict: {verdict.upper()} ({text})", **{_COLOURS[verdict]: True})
    if results.report_error:
        terminal.write_line(f"results.json was not written: {results.report_error}", red=True)
    if results.unmet:
        terminal.write_line(f"required and not judged: {', '.join(results.unmet)}", red=True)
    if verdict == "partial":
        terminal.write_line(f"partial: {_why_partial(gates)}")
    if results.interrupted or exitstatus == pytest.ExitCode.INTERRUPTED:
        terminal.write_line("fail: the run was interrupted before every gate was judged", red=True)


def suite_properties(run: Run, results: Results, exitstatus: int) -> dict[str, str]:
    """Return what a reader of JUnit has to know of the whole run."""
    gates = results.with_not_run(expected_gates(run))
    verdict = verdict_of_run(run, results, exitstatus)
    environment, facts = run.facts["environment"], run.facts
    found = {
        "facenet.verdict": verdict,
        "facenet.partial": _why_partial(gates) if verdict == "partial" else "",
        "facenet.backend": f"{environment['backend']} {environment['backend_version']}",
        "facenet.cannot_run": run.backend.cannot_run,
        "facenet.device": run.device,
        "facenet.target": run.target,
        "facenet.dataset": facts.get("dataset", {}).get("title", ""),
        "facenet.model_sha256": facts.get("model", {}).get("source_sha256", ""),
    }
    for name, engine in facts.get("engines", {}).items():
        found[f"facenet.engine.{name}"] = f"{engine['recipe']} (sha256 {engine['sha256']})"
    return {name: value for name, value in found.items() if value}


def report_document(run: Run, results: Results, exitstatus: int) -> dict[str, Any]:
    """Return what ``results.json`` says."""
    gates = results.with_not_run(expected_gates(run))
    verdict = verdict_of_run(run, results, exitstatus)
    return {
        "schema": SCHEMA,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": verdict,
        "exit_status": exitstatus,
        "gates_file": str(run.gates.path),
        "gate_titles": dict(GATES),
        "protocol": next(
            (m["protocol"] for m in results.measurements if m["name"] == "verification"), None
        ),
        "partial": _why_partial(gates) if verdict == "partial" else "",
        "settings": {
            "precisions": list(run.settings.precisions),
            "batch_sizes": list(run.settings.batch_sizes),
            "workspace_mib": run.settings.workspace,
            "optimization_level": run.settings.optimization_level,
            "scope": run.settings.scope,
            "protocol": run.settings.protocol,
        },
        **run.facts,
        "gates": gates,
        "measurements": results.measurements,
        "errors": results.errors,
        "required_and_not_judged": results.unmet,
    }


def _why_not_run(gates: list[dict[str, Any]]) -> list[str]:
    """Return a line for each reason why gates were not run, with how many it kept."""
    reasons = Counter(g["detail"] for g in gates if g["verdict"] == NOT_RUN and g["detail"])
    return [
        f"not run, {count} {'gate' if count == 1 else 'gates'}: {reason}"
        for reason, count in reasons.items()
    ]


def _verdicts(gates: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(gate["verdict"] for gate in gates))


def _why_partial(gates: list[dict[str, Any]]) -> str:
    reasons = []
    stand_ins = {gate["precision"] for gate in gates if gate["recipe_only"]}
    if "fp16" in stand_ins:
        reasons.append(
            "FP16 on a CPU speaks for the recipe, not for an engine (the provider computes most of "
            "it in FP32)"
        )
    if "int8" in stand_ins:
        reasons.append("INT8 for TensorRT speaks for the recipe, not for an engine (emulated here)")
    for verdict in ("not evaluated", "not run"):
        names = sorted({gate["gate"] for gate in gates if gate["verdict"] == verdict})
        if names:
            reasons.append(f"{verdict}: {', '.join(names)}")
    return "; ".join(reasons)


def _notes(run: Run, results: Results) -> list[str]:
    facts = run.facts
    lines = []
    if "dataset" in facts:
        data = facts["dataset"]
        lines.append(
            f"data set: {data['title']}: {data['pairs']} pairs, {data['images']} images, "
            f"{data['people']} people"
        )
        lines += _file_lines(data, "data set")
    lines += _alignment_lines(facts.get("alignment", {}), "alignment")
    for name, data in facts.get("sets", {}).items():
        lines.append(f"data set {name}: {data['pairs']} pairs, {data['images']} images")
        lines += _file_lines(data, f"data set {name}")
        lines += _alignment_lines(data.get("alignment", {}), f"alignment of {name}")
    for name, engine in facts.get("engines", {}).items():
        lines.append(f"engine {name}: {engine['recipe']} ({engine['cache']})")
        lines += run.backend.artefact_lines(name, engine["path"])
    for name, origin in facts.get("embeddings", {}).items():
        lines.append(f"embeddings, {name}: {origin}")
    lines += verification_lines(results.measurements)
    lines += speed_lines(results.measurements)
    return lines + [f"baseline {one['about']}: {one['text']}" for one in facts.get("baselines", ())]


def _file_lines(data: dict[str, Any], title: str) -> list[str]:
    from facenet_validate.datasets.notes import note_lines

    return [f"{title}: {line}" for line in note_lines(data.get("files", {}))]


def _alignment_lines(alignment: dict[str, Any], title: str) -> list[str]:
    lines = []
    if names := alignment.get("undetected"):
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        lines.append(f"{title}: no face found in {len(names)}, centre crop taken: {shown}")
    if names := alignment.get("several_faces"):
        lines.append(
            f"{title}: several faces in {len(names)}, the largest near the centre was taken"
        )
    if pictures := alignment.get("pictures"):
        lines.append(f"{title}: to look at: {', '.join(pictures)}")
    return lines
