"""The diagnosis of a report: cause, evidence, what to do, what was tried."""

from __future__ import annotations

from facenet_validate.reporting.page.gates import run_of
from facenet_validate.reporting.page.model import Diagnosis, Table
from facenet_validate.reporting.page.parts import Line, Part, percent
from facenet_validate.reporting.page.pictures.walk import walk_figure


def diagnoses(document: Part) -> tuple[Diagnosis, ...]:
    """Return every diagnosis of a run."""
    found = [one for one in document["measurements"] if one["name"].value == "diagnosis"]
    return tuple(
        _diagnosis(f"diagnosis-{place}", one, run_of(document, one))
        for place, one in enumerate(found)
    )


def _diagnosis(name: str, found: Part, run: Line) -> Diagnosis:
    cause = next((one for one in found["tried"] if one["named"].value), None)
    walk = found["walk"]
    tables = []
    if found["tried"]:
        tables.append(_tried(found))
    if found["not_tried"]:
        rows = tuple((one["cause"].line(), one["reason"].line()) for one in found["not_tried"])
        tables.append(Table("Not tried", ("cause", "why"), rows))
    return Diagnosis(
        about=(*found["precision"].line(), *((" of run ", *run) if run else ())),
        cause=found["text"].line(),
        evidence=() if cause is None else _evidence(cause, found["faces"]),
        advice=found["advice"].line(),
        alike=tuple(one.line() for one in found["alike"]),
        notes=tuple(one.line() for one in (walk["untold"], *walk["notes"]) if one),
        tables=tuple(tables),
        figures=(walk_figure(f"{name}-walk", walk),) if walk["nodes"] else (),
        pictures=tuple(one.text for one in found["pictures"]),
    )


def _evidence(cause: Part, faces: Part) -> Line:
    detail: Line = (" (", cause["detail"].cell(), ")") if cause["detail"] else ()
    return (
        "Imitated on the FP32 reference",
        *detail,
        ", it explains ",
        cause["removed"].cell(percent),
        " of the difference on ",
        faces.cell(),
        " faces. Mean row cosine ",
        cause["cosine_before"].cell(),
        " without it, ",
        cause["cosine_after"].cell(),
        " with it.",
    )


def _tried(found: Part) -> Table:
    rows = tuple(
        (
            one["title"].line() or one["cause"].line(),
            (one["removed"].cell(percent),),
            (one["cosine_before"].cell(),),
            (one["cosine_after"].cell(),),
            one["detail"].line(),
        )
        for one in found["tried"]
    )
    head = ("imitated on FP32", "explains", "row cosine without", "row cosine with", "fitted")
    return Table("What was tried", head, rows)
