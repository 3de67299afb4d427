"""What the reports say of the alignment: which photos to look at, and pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.reporting.picture_files import FOLDER, write_picture
from facenet_validate.reporting.report import AlignmentFacts

if TYPE_CHECKING:
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.datasets.framing import Framing


def alignment_facts(
    faces: AlignedFaces, paths: Sequence[Path], report: Path | None
) -> AlignmentFacts:
    """Return how a set was aligned, and draw the photos to look at into the report's folder.

    Parameters
    ----------
    faces : AlignedFaces
        The set's faces.
    paths : sequence of Path
        Its photos, in the order of rows.
    report : Path or None
        The report's folder; without one nothing is drawn.

    Returns
    -------
    AlignmentFacts
        The pictures' names are relative to the report's folder.

    Raises
    ------
    SettingsError
        If a picture cannot be written.
    """
    pictures = []
    if report is not None:
        rows = {name: row for row, name in enumerate(faces.names)}
        undetected = [rows[name] for name in faces.undetected]
        # First those where another face is as large: there the wrong one may have been taken.
        several = sorted(
            (rows[name] for name in faces.several), key=lambda row: -_rivalry(faces.framings[row])
        )
        sheets = (
            ("no-face-found", "no face found: the centre was cropped", undetected),
            ("several-faces", "several faces: the largest near the centre was taken", several),
        )
        for name, title, chosen in sheets:
            if chosen:
                file = f"{name}-{faces.digest[:12]}.png"
                write_picture(report / FOLDER / file, _sheet(faces, paths, chosen, title))
                pictures.append(f"{FOLDER}/{file}")
    return AlignmentFacts(
        faces.aligner, faces.digest, list(faces.undetected), list(faces.several), pictures
    )


def _rivalry(framing: Framing) -> float:
    """Return the largest other face's area in relation to that of the face taken."""
    taken, *others = ((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in framing.boxes)
    return max(others) / taken


def _sheet(faces: AlignedFaces, paths: Sequence[Path], rows: Sequence[int], title: str) -> bytes:
    from facenet_validate.reporting.pictures import PhotoWithBoxes, face_sheet

    photos = [PhotoWithBoxes(faces.names[row], paths[row], faces.framings[row]) for row in rows]
    return face_sheet(photos, f"{len(rows)} photos with {title}")
