"""What a run says at its end: the table, the verdict, and ``results.json``."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from facenet_validate.gates import catalogue
from facenet_validate.reporting.replacement import replacement_lines
from facenet_validate.reporting.report import AlignmentFacts, RunReport, SetFacts
from facenet_validate.reporting.results import SCHEMA, UNJUDGED, Ending, Results
from facenet_validate.reporting.robustness import robustness_lines
from facenet_validate.reporting.speed import speed_lines
from facenet_validate.reporting.terminal import gate_table
from facenet_validate.reporting.verification import verification_lines
from facenet_validate.reporting.words import failure_lines, unjudged_lines, verdict_sentence

_COLOURS = {"pass": "green", "fail": "red", "inconclusive": "yellow", "partial": "cyan"}


def write_summary(terminal: pytest.TerminalReporter, ending: Ending) -> None:
    """Print the verdict in words, the failures, the table of gates, and what they stand on."""
    results, verdict, sentence = ending.results, ending.verdict, ending_sentence(ending)
    verbosity = terminal.config.get_verbosity()
    width = shutil.get_terminal_size((120, 40)).columns
    terminal.section("facenet verdict", sep="=")
    brief, cannot_run = _brief(ending.gates, ending.environment.cannot_run)
    if verbosity >= 0:
        terminal.write_line(sentence)
        terminal.write_line("")
        for line in failure_lines(ending.gates):
            terminal.write_line(line, red=line.startswith("fail"))
        table = gate_table(brief, width=width, colour=terminal.hasmarkup, verbose=verbosity > 0)
        terminal.write_line(table)
    for line in (*unjudged_lines(ending.gates), *ending.stand_ins):
        terminal.write_line(line)
    if cannot_run:
        terminal.write_line("the engine is judged by its build alone")
    if verbosity >= 0:
        for line in _notes(ending.report, results):
            terminal.write_line(line)
    if results.report_error:
        terminal.write_line(f"results.json was not written: {results.report_error}", red=True)
    if results.unmet:
        terminal.write_line(f"required and not judged: {', '.join(results.unmet)}", red=True)
    counts = {name: sum(g["verdict"] == name for g in ending.gates) for name in _verdicts(ending)}
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    colour = {_COLOURS[verdict]: True}
    terminal.write_line(f"verdict: {verdict.upper()} ({text}): {sentence}", **colour)


def ending_sentence(ending: Ending) -> str:
    """Return the verdict of a run in words."""
    results, against = ending.results, ending.report.against
    ended = results.came_to_its_end(ending.exit_status)
    broken = [
        "" if ended else "The run ended before every gate was judged.",
        _broken(len(results.errors)),
        "Gates of a required data set were not judged." if results.unmet else "",
    ]
    return verdict_sentence(
        ending.gates,
        ending.verdict,
        against=Path(against.path).name if against and against.path else "",
        broken=" ".join(line for line in broken if line),
    )


def _broken(count: int) -> str:
    """Say how many tests broke; empty where none did."""
    tests = f"{count} tests" if count > 1 else "A test"
    return f"{tests} broke before a verdict." if count else ""


def _brief(gates: list[dict[str, Any]], cannot_run: str) -> tuple[list[dict[str, Any]], bool]:
    """Leave out of the table the reasons that stand below it; say whether no engine could run."""
    seen = [bool(cannot_run) and cannot_run in gate["detail"] for gate in gates]
    found = [
        {**gate, "detail": "see below"} if gate["verdict"] in UNJUDGED and gate["detail"] else gate
        for gate in gates
    ]
    return found, any(seen)


def suite_properties(ending: Ending) -> dict[str, str]:
    """Return what a reader of JUnit has to know of the whole run."""
    report, environment = ending.report, ending.environment
    found = {
        "facenet.verdict": ending.verdict,
        "facenet.sentence": ending_sentence(ending),
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
        "sentence": ending_sentence(ending),
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


def _verdicts(ending: Ending) -> list[str]:
    return list(dict.fromkeys(gate["verdict"] for gate in ending.gates))


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
    lines += verification_lines(results.measurements)
    lines += replacement_lines(results.measurements)
    lines += robustness_lines(results.measurements)
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
