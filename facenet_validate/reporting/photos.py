"""Photos of people in reports: of which pairs they are shown, and what people are called."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from facenet_validate.reporting.picture_files import write_picture

if TYPE_CHECKING:
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.datasets.verification_set import VerificationSet

Photos = Literal["all", "changed", "none"]
"""Of which pairs photos are shown: of all that are worth seeing, of those whose decision changed,
or of none."""

MOST_PAIRS = 40
"""Changed pairs whose photos are shown, those furthest from the threshold."""

_SIDE, _QUALITY = 128, 75


@dataclass(frozen=True)
class PhotoRules:
    """What a report shows of a set.

    Attributes
    ----------
    shown : {"all", "changed", "none"}
        Of which pairs photos are shown.
    folder : Path or None
        The report's folder; None without a report.
    """

    shown: Photos
    folder: Path | None


def photos_of(dataset: VerificationSet, asked: Photos | None) -> Photos:
    """Return of which pairs of a set photos are shown: as asked, else by whose photos they are.

    LFW, known by its own list of pairs, ORL and the drawn faces are public. Of any other set
    nothing is shown unless that is asked for.
    """
    public = dataset.name in ("orl", "synthetic") or bool(dataset.suspect.size)
    return asked or ("changed" if public else "none")


def photo_lines(shown: Mapping[str, str]) -> list[str]:
    """Return a line for each set that says what is shown of it.

    Parameters
    ----------
    shown : mapping
        Set → of which pairs photos are shown.
    """
    told = {
        "all": "photos of all pairs worth seeing are shown",
        "changed": "photos of pairs whose decision changed are shown",
        "none": "no photos are shown, and rows stand for names",
    }
    return [
        f"photos of {name}: {told[mode]} (--facenet-report-photos {mode})"
        for name, mode in shown.items()
    ]


def row_names(count: int) -> tuple[str, ...]:
    """Return what photos are called where their names are not told: by their rows, from 0."""
    return tuple(f"row {row}" for row in range(count))


def set_without_names(dataset: VerificationSet) -> VerificationSet:
    """Return a set whose photos go by their rows; its notes keep their counts alone."""
    from facenet_validate.datasets.notes import FileNotes

    notes = dataset.notes
    hidden = FileNotes(**{kind: ("not told",) * len(getattr(notes, kind)) for kind in vars(notes)})
    return replace(dataset, names=row_names(len(dataset.names)), notes=hidden)


def faces_without_names(faces: AlignedFaces) -> AlignedFaces:
    """Return faces that go by their rows. Their digest stays."""
    return replace(faces, names=row_names(len(faces.names)))


def order_shown(kind: str, pairs: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the places of pairs in the order they are shown.

    Pairs whose decision changed are in the order of the set: those furthest from their threshold
    come first. The hardest pairs are in their order.
    """
    if kind != "changed":
        return list(range(len(pairs)))
    beyond = [abs(pair["distance"] - pair["threshold"]) for pair in pairs]
    return sorted(range(len(beyond)), key=lambda place: -beyond[place])


def with_pictures(
    worth_seeing: Mapping[str, Sequence[Mapping[str, Any]]],
    dataset: VerificationSet,
    faces: AlignedFaces,
    rules: PhotoRules,
) -> dict[str, list[dict[str, Any]]]:
    """Write the photos of pairs into the report's folder, and name them beside the pairs.

    Parameters
    ----------
    worth_seeing : mapping
        Of :func:`~facenet_validate.reporting.verification.pairs_worth_seeing`.
    dataset, faces : VerificationSet, AlignedFaces
        The pairs' set, and its faces.
    rules : PhotoRules
        What is shown.

    Returns
    -------
    dict
        The same pairs; those that are shown have ``left_picture`` and ``right_picture``, paths
        in the report's folder.

    Raises
    ------
    SettingsError
        If a picture cannot be written.
    """
    found = {kind: [dict(pair) for pair in pairs] for kind, pairs in worth_seeing.items()}
    if rules.folder is None or rules.shown == "none":
        return found
    for kind, pairs in found.items():
        if kind != "changed" and rules.shown != "all":
            continue
        for place in order_shown(kind, pairs)[:MOST_PAIRS]:
            pair = pairs[place]
            for side, rows in (("left", dataset.left), ("right", dataset.right)):
                pair[f"{side}_picture"] = _written(faces, int(rows[pair["pair"]]), rules.folder)
    return found


def _written(faces: AlignedFaces, row: int, folder: Path) -> str:
    """Write a face as a small JPEG; its name is its digest, so none replaces another."""
    content = _thumbnail(faces.read(row), faces.names[row])
    return write_picture(folder, f"face-{hashlib.sha256(content).hexdigest()[:16]}.jpg", content)


def _thumbnail(encoded: bytes, name: str) -> bytes:
    import cv2

    from facenet_validate.datasets.images import decode_image

    pixels = cv2.resize(
        decode_image(encoded, name=name), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA
    )
    _, made = cv2.imencode(
        ".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    return bytes(made.tobytes())
