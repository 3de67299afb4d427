"""What a run says at its end: the table, the verdict, and ``results.json``."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import Verdict
from facenet_validate.reporting.diagnosis import diagnosis_lines
from facenet_validate.reporting.replacement import replacement_lines
from facenet_validate.reporting.report import AlignmentFacts, RunReport, SetFacts
from facenet_validate.reporting.results import SCHEMA, Ending, Results
from facenet_validate.reporting.speed import speed_lines
from facenet_validate.reporting.terminal import gate_table
from facenet_validate.reporting.verification import verification_lines

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "partial": "cyan"}


def write_summary(terminal: pytest.TerminalReporter, ending: Ending) -> None:
    """Print the table of gates, what they were judged on, and the verdict."""
    gates, results, verdict = ending.gates, ending.results, ending.verdict
    terminal.section("facenet verdict", sep="=")
    width = shutil.get_terminal_size((120, 40)).columns
    cannot_run = ending.environment.cannot_run
    # Its reason stands below, once; results.json has it with every gate.
    shown = [
        {**gate, "detail": "cannot run here"}
        if cannot_run and cannot_run in gate["detail"]
        else gate
        for gate in gates
    ]
    # The same holds for the error that kept gates from being judged.
    brief = [
        {**gate, "detail": "see below"}
        if gate["verdict"] == Verdict.NOT_RUN and gate["detail"]
        else gate
        for gate in shown
    ]
    terminal.write_line(gate_table(brief, width=width, colour=terminal.hasmarkup))
    for line in _why_not_run(gates):
        terminal.write_line(line)
    if shown != gates:
        terminal.write_line(f"not evaluated: {cannot_run}; the engine is judged by its build alone")
    for line in _notes(ending.report, results):
        terminal.write_line(line)
    counts = {name: sum(g["verdict"] == name for g in gates) for name in _verdicts(gates)}
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    terminal.write_line(f"verdict: {verdict.upper()} ({text})", **{_COLOURS[verdict]: True})
    if results.report_error:
        terminal.write_line(f"results.json was not written: {results.report_error}", red=True)
    if results.unmet:
        terminal.write_line(f"required and not judged: {', '.join(results.unmet)}", red=True)
    if verdict == "partial":
        terminal.write_line(f"partial: {ending.why_partial}")
    if results.interrupted or ending.exit_status == pytest.ExitCode.INTERRUPTED:
        terminal.write_line("fail: the run was interrupted before every gate was judged", red=True)


def suite_properties(ending: Ending) -> dict[str, str]:
    """Return what a reader of JUnit has to know of the whole run."""
    report, environment = ending.report, ending.environment
    found = {
        "facenet.verdict": ending.verdict,
        "facenet.partial": ending.why_partial,
        "facenet.backend": f"{environment.backend} {environment.backend_version}",
        "facenet.cannot_run": environment.cannot_run,
        "facenet.device": environment.device,
        "facenet.target": environment.target,
        "facenet.dataset": report.dataset.title if report.dataset else "",
        "facenet.model_sha256": report.model.source_sha256 if report.model else "",
    }
    for name, engine in report.engines.items():
        found[f"facenet.engine.{name}"] = f"{engine.recipe} (sha256 {engine.sha256})"
    return {name: value for name, value in found.items() if value}


def report_document(ending: Ending) -> dict[str, Any]:
    """Return what ``results.json`` says."""
    results = ending.results
    return {
        "schema": SCHEMA,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "verdict": ending.verdict,
        "exit_status": ending.exit_status,
        "gate_titles": {gate.name: gate.observes for gate in catalogue.CATALOGUE},
        "protocol": next(
            (m["protocol"] for m in results.measurements if m["name"] == "verification"), None
        ),
        "partial": ending.why_partial,
        **ending.report.values(),
        "gates": ending.gates,
        "measurements": results.measurements,
        "errors": results.errors,
        "required_and_not_judged": results.unmet,
    }


def _why_not_run(gates: list[dict[str, Any]]) -> list[str]:
    """Return a line for each reason why gates were not run, with how many it kept."""
    reasons = Counter(g["detail"] for g in gates if g["verdict"] == Verdict.NOT_RUN and g["detail"])
    return [
        f"not run, {count} {'gate' if count == 1 else 'gates'}: {reason}"
        for reason, count in reasons.items()
    ]


def _verdicts(gates: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(gate["verdict"] for gate in gates))


def _notes(report: RunReport, results: Results) -> list[str]:
    lines = []
    if report.dataset is not None:
        data = report.dataset
        lines.append(
            f"data set: {data.title}: {data.pairs} pairs, {data.images} images, "
            f"{data.people} people"
        )
        lines += _file_lines(data, "data set")
    lines += _alignment_lines(report.alignment, "alignment")
    for name, data in report.sets.items():
        lines.append(f"data set {name}: {data.pairs} pairs, {data.images} images")
        lines += _file_lines(data, f"data set {name}")
        lines += _alignment_lines(data.alignment, f"alignment of {name}")
    for name, engine in report.engines.items():
        lines.append(f"engine {name}: {engine.recipe} ({engine.cache})")
        lines += engine.notes or ()
    for name, origin in report.embeddings.items():
        lines.append(f"embeddings, {name}: {origin}")
    lines += diagnosis_lines(results.measurements)
    lines += verification_lines(results.measurements)
    lines += replacement_lines(results.measurements)
    lines += speed_lines(results.measurements)
    return lines + [f"baseline {one.about}: {one.text}" for one in report.baselines]


def _file_lines(data: SetFacts, title: str) -> list[str]:
    from facenet_validate.datasets.notes import note_lines

    return [f"{title}: {line}" for line in note_lines(data.files)]


def _alignment_lines(alignment: AlignmentFacts | None, title: str) -> list[str]:
    if alignment is None:
        return []
    lines = []
    if names := alignment.undetected:
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        lines.append(f"{title}: no face found in {len(names)}, centre crop taken: {shown}")
    if names := alignment.several_faces:
        lines.append(
            f"{title}: several faces in {len(names)}, the largest near the centre was taken"
        )
    if pictures := alignment.pictures:
        lines.append(f"{title}: to look at: {', '.join(pictures)}")
    return lines
