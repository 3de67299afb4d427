"""A summary in Markdown, appended to the file that GitHub Actions shows beside a job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facenet_validate.gates.verdicts import format_number
from facenet_validate.reporting.diagnosis import cause_lines
from facenet_validate.reporting.merging import merged_lines
from facenet_validate.reporting.results import Ending, severity
from facenet_validate.reporting.words import failure_lines, unjudged_lines

VARIABLE = "GITHUB_STEP_SUMMARY"
"""Names the file; GitHub Actions sets it for every step of a job."""


def step_summary(ending: Ending, sentence: str) -> str:
    """Return the run's verdict as Markdown: the sentence, causes, failures, what was not judged.

    Parameters
    ----------
    ending : Ending
        The run as it ended.
    sentence : str
        Its verdict in words.
    """
    report, gates = ending.report, sorted(ending.gates, key=severity, reverse=True)
    lines = [f"## FaceNet validation: {ending.verdict}", "", _escaped(sentence), ""]
    lines += _bullets(cause_lines(ending.results.measurements))
    lines += _bullets(failure_lines(gates)) + _bullets(_errors(ending.results.errors))
    lines += _bullets(unjudged_lines(gates)) + _bullets(ending.stand_ins)
    facts = [
        f"{name}: {value}"
        for name, value in (
            ("data set", report.dataset.title if report.dataset else ""),
            ("model", report.model.source if report.model else ""),
            ("device", ending.environment.device),
            ("backend", f"{ending.environment.backend} {ending.environment.backend_version}"),
            *((f"engine {name}", one.recipe) for name, one in report.engines.items()),
        )
        if value
    ]
    lines += _bullets(facts)
    head = ("gate", "engine", "observed", "limit", "verdict", "detail")
    rows = [head, ("---",) * len(head), *(_row(gate) for gate in gates)]
    table = [f"| {' | '.join(row)} |" for row in rows]
    title = f"<details><summary>All {len(gates)} gates</summary>"
    return "\n".join([*lines, title, "", *table, "", "</details>", ""])


def merged_summary(merged: Mapping[str, Any]) -> str:
    """Return the verdict of several runs as Markdown, with a line for each run.

    Parameters
    ----------
    merged : mapping
        The joined report, as `merge_reports` returns it.
    """
    lines = [f"## FaceNet validation of several runs: {merged['verdict']}", ""]
    return "\n".join([*lines, _escaped(merged["sentence"]), "", *_bullets(merged_lines(merged))])


def append_step_summary(path: Path, text: str) -> None:
    """Append Markdown to the file; what other steps have written stays.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")


def _errors(errors: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"broke: {error['test'] or error['phase']}: {error['reason']}" for error in errors]


def _row(gate: Mapping[str, Any]) -> tuple[str, ...]:
    batch = f" b{gate['batch']}" if gate["batch"] else ""
    verdict = gate["verdict"] + (" (recipe only)" if gate["recipe_only"] else "")
    cells = (f"{gate['gate']}{batch}", gate["precision"], _number(gate["observed"]))
    return tuple(_escaped(c) for c in (*cells, _number(gate["limit"]), verdict, gate["detail"]))


def _number(value: float | str | None) -> str:
    return value if isinstance(value, str) else format_number(value)


def _bullets(lines: Sequence[str]) -> list[str]:
    return [*(f"- {_escaped(line)}" for line in lines), *([""] if lines else [])]


def _escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in one line, also in a cell."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
