"""``results.json`` → the page: what stands on it, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facenet_validate.gates.verdicts import SEVERITY, Verdict
from facenet_validate.reporting.folder import UNFINISHED
from facenet_validate.reporting.page.diagnosed import diagnoses
from facenet_validate.reporting.page.gates import failing, gate_row, suites
from facenet_validate.reporting.page.measured import blocks
from facenet_validate.reporting.page.model import Page, Sheet
from facenet_validate.reporting.page.parts import Line, Part
from facenet_validate.reporting.page.tested import tested

_SHOWN = {
    "all": ". Photos of all pairs worth seeing are shown.",
    "changed": ". Photos of pairs whose decision changed are shown.",
    "none": ". No photos are shown, and rows stand for names.",
}
_NOT_ASKED = "their tests were not asked for"


def page_of(values: Mapping[str, Any]) -> Page:
    """Return the page of a report.

    Parameters
    ----------
    values : mapping
        What ``results.json`` holds. What an older version did not write is left out of the page.
    """
    document = Part(dict(values))
    of_suites, other = blocks(document)
    return Page(
        verdict=document["verdict"].cell(),
        sentence=document["sentence"].cell(),
        finished=document["finished_at"].cell(),
        counts=_counts(document),
        unfinished=document["verdict"].value == UNFINISHED,
        runs=_runs(document),
        failures=tuple(gate_row(gate, document) for gate in failing(document)),
        diagnoses=diagnoses(document),
        errors=tuple(
            (error["test"].line() or error["phase"].line(), error["reason"].line())
            for error in document["errors"]
        ),
        conflicts=tuple(one["text"].line() for one in document["conflicts"]),
        unjudged=_unjudged(document),
        tested=tested(document),
        suites=suites(document, of_suites),
        sheets=_sheets(document),
        photos=tuple(
            ("Photos of ", one.label, ": ", one.cell(), _SHOWN.get(one.text, ""))
            for _, one in document["photos"].items()
        ),
        other=other,
    )


def _counts(document: Part) -> tuple[Line, ...]:
    counts = document["counts"]
    found = [verdict for verdict in reversed(SEVERITY) if counts[verdict]]
    return tuple((counts[verdict].cell(), f" {verdict}") for verdict in found)


def _runs(document: Part) -> tuple[Line, ...]:
    """Return a line for each run of a joined report, and for each that left none."""
    runs = [
        (run["run"].cell(), ": ", run["verdict"].cell(), ". ", *run["sentence"].line())
        for run in document["runs"]
    ]
    missing = [(name.cell(), ": there is no report.") for name in document["missing_runs"]]
    return (*runs, *missing)


def _unjudged(document: Part) -> tuple[Line, ...]:
    """Return a line for each reason why gates were not judged."""
    reasons: dict[tuple[str, str], list[Part]] = {}
    for gate in document["gates"]:
        if gate["verdict"].value in (Verdict.NOT_EVALUATED, Verdict.NOT_RUN):
            key = gate["verdict"].text, gate["detail"].text
            reasons.setdefault(key, []).append(gate)
    lines: list[Line] = []
    for (verdict, detail), gates in reasons.items():
        line: list[Any] = [f"{verdict}: "]
        for place, name in enumerate(dict.fromkeys(gate["gate"].text for gate in gates)):
            first = next(gate for gate in gates if gate["gate"].text == name)
            line += [", "] * bool(place) + [first["gate"].cell()]
        line += [": ", gates[0]["detail"].cell() if detail else _NOT_ASKED, "."]
        lines.append(tuple(line))
    return tuple(lines)


def _sheets(document: Part) -> tuple[Sheet, ...]:
    alignments = [document["alignment"]]
    alignments += [one["alignment"] for _, one in document["sets"].items()]
    titles = {
        "no-face-found": "Photos without a face: the centre was cropped",
        "several-faces": "Photos with several faces: the largest near the centre was taken",
    }
    found = []
    for alignment in alignments:
        for picture in alignment["pictures"]:
            name = picture.text.rpartition("/")[2]
            title = next((text for key, text in titles.items() if name.startswith(key)), name)
            found.append(Sheet(title, picture.text))
    return tuple(found)
