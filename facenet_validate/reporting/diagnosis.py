"""What the reports have of diagnoses: a line in the summary, pictures in the report's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facenet_validate.reporting.node_walk import walk_picture
from facenet_validate.reporting.picture_files import write_picture

if TYPE_CHECKING:
    from facenet_validate.diagnosis.case import Case
    from facenet_validate.diagnosis.diagnosis import Diagnosis

MEASUREMENT = "diagnosis"
"""Its name among the measurements of ``results.json``."""

MOST_FACES = 6


def diagnosis_lines(measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each engine that was diagnosed."""
    made = [one for one in measurements if one["name"] == MEASUREMENT]
    lines = [
        # Of an engine that passes, what is not known needs no explaining.
        f"diagnosis, {one['precision']}: {one['text'] if one['explains'] else 'no cause is named'}"
        for one in made
    ]
    return list(dict.fromkeys(lines))


def cause_lines(measurements: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why engines fail and what to do, a line for each that was diagnosed."""
    lines = [
        f"why {one['precision'].upper()} differs: {one['text']}"
        + (f". What to do: {one['advice']}" if one.get("advice") else "")
        for one in measurements
        if one["name"] == MEASUREMENT and one["explains"]
    ]
    return list(dict.fromkeys(lines))


def diagnosis_pictures(case: Case, diagnosis: Diagnosis, report: Path | None) -> list[str]:
    """Draw the faces that moved most, and the walk over the nodes, into the report's folder.

    Returns
    -------
    list of str
        The pictures, relative to the report's folder; empty without one.

    Raises
    ------
    SettingsError
        If a picture cannot be written.
    """
    if report is None:
        return []
    walk = diagnosis.walk
    pictures = {
        ("worst-faces", "png"): _worst_faces(case, diagnosis),
        ("nodes", "svg"): walk_picture(walk).encode() if walk is not None and walk.nodes else b"",
    }
    written = []
    for (name, kind), content in pictures.items():
        if content:
            file = f"{name}-{hashlib.sha256(content).hexdigest()[:12]}.{kind}"
            written.append(write_picture(report, file, content))
    return written


def _worst_faces(case: Case, diagnosis: Diagnosis) -> bytes:
    """Return a strip of the faces that moved most, with their row cosines; empty without faces."""
    from facenet_validate.metrics.parity import row_cosines
    from facenet_validate.reporting.pictures import face_strip

    rows = [case.names.index(name) for name in diagnosis.worst[:MOST_FACES]]
    if not rows:
        return b""
    cosines = row_cosines(case.expected, case.found)
    captions = [f"{cosines[row]:.4f} {case.names[row]}" for row in rows]
    engine = case.engine.info
    title = f"{engine.precision} on {engine.backend}: row cosine to the reference, worst first"
    return face_strip([case.faces[row] for row in rows], captions, title)
