"""Faces to calibrate INT8 on, for the command that quantises outside a test run."""

from __future__ import annotations

from collections.abc import Sequence, Set
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.progress import Report
from facenet_validate.cache import Cache
from facenet_validate.datasets.copies import equal_files
from facenet_validate.datasets.faces import (
    AlignedFaces,
    Stage,
    already_aligned,
    check_no_picture_shared,
    faces_of,
)
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.notes import FileNotes, note_lines, passed_over
from facenet_validate.datasets.pairs import composed, person_of
from facenet_validate.datasets.people import named_people, people_of_folder, spelling
from facenet_validate.datasets.photo_files import photos_below
from facenet_validate.datasets.photos import kind_of, look_at
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.models.quantization.recipes import MINIMUM_CALIBRATION_IMAGES

CALIBRATED_ON = 512
CHECKED_ON = 500


@dataclass(frozen=True)
class CalibrationFaces:
    """Aligned faces of people outside every evaluation pair.

    Attributes
    ----------
    faces : AlignedFaces
        Up to 512 to calibrate on.
    check : AlignedFaces
        500 to check a result on: first faces that are not calibrated on, then those that are.
    text : str
        Number and origin of the faces, for messages.
    check_text : str
        Number and origin of the faces of the check, for messages.
    drawn : bool
        Whether they are the synthetic faces of this package.
    notes : tuple of str
        Oddities of the files of a folder, for messages.
    """

    faces: AlignedFaces
    check: AlignedFaces
    text: str
    check_text: str
    drawn: bool = False
    notes: tuple[str, ...] = ()


def drawn_faces(cache: Cache, progress: Report | None = None) -> CalibrationFaces:
    """Return the faces for calibration of the synthetic set."""
    found = load_set(find_layout(synthetic_folder(cache, progress)), name="synthetic", title="")
    faces = already_aligned(found.calibration_names, found.calibration_paths)
    return _split(faces, "drawn faces", drawn=True)


def faces_outside(
    evaluation: VerificationSet, cache: Cache, workers: int, stage: Stage = nullcontext
) -> CalibrationFaces:
    """Return aligned photos of a verification set's people who are in no pair.

    Parameters
    ----------
    evaluation : VerificationSet
        Loaded with ``calibration_images=1012``, so that the check has faces of its own.

    Raises
    ------
    DatasetError
        If there are fewer than 500, or some photos of the set are aligned and others are not.
    """
    names, paths = evaluation.calibration_names, evaluation.calibration_paths
    what = f"photos of people outside the pairs of {evaluation.title}"
    _check_count(len(paths), what)
    beside = kind_of(evaluation.names, look_at(evaluation.names, evaluation.paths).sizes)
    faces = faces_of(names, paths, cache, workers=workers, stage=stage, beside=beside)
    return _split(faces, what)


def faces_in(
    folder: Path,
    evaluation: VerificationSet | None,
    cache: Cache,
    workers: int,
    stage: Stage = nullcontext,
) -> CalibrationFaces:
    """Return the aligned faces in a folder.

    Parameters
    ----------
    evaluation : VerificationSet or None
        The set whose people and pictures must not be among the faces. Its photos are aligned to
        compare the pictures.

    Raises
    ------
    DatasetError
        If there are fewer than 500 faces, or a face is not 160×160, shows a person of the
        evaluation pairs, or is a picture of them.
    """
    photo_files = photos_below(folder)
    every = photo_files.paths
    if evaluation is not None:
        _check_strangers(folder, every, {composed(person_of(name)) for name in evaluation.names})
    paths, notes = _without_copies(folder, every)
    no_files = [str(path.relative_to(folder)) for path in photo_files.no_files]
    _check_count(len(paths), f"faces in {folder}")
    names = [str(path.relative_to(folder).with_suffix("")) for path in paths]
    faces = already_aligned(
        names,
        paths,
        "INT8 is calibrated on what the engine will read. Align the photos, or name a folder in "
        "LFW's layout with --lfw: its photos are aligned here.",
    )
    if evaluation is not None:
        others = faces_of(evaluation.names, evaluation.paths, cache, workers=workers, stage=stage)
        check_no_picture_shared(faces, others)
    lines = [*note_lines(notes.facts()), *passed_over(no_files)]
    return _split(faces, f"faces in {folder}", notes=lines)


def _check_strangers(folder: Path, paths: Sequence[Path], people: Set[str]) -> None:
    known = {spelling(person): person for person in sorted(people)}
    for path in paths:
        folders = (folder.resolve().name, *path.relative_to(folder).parts[:-1])
        named = named_people(path.stem).union(*map(people_of_folder, folders))
        seen = known.keys() & {spelling(name) for name in named}
        if seen:
            raise DatasetError(
                f"{path}: shows {known[min(seen)]}, who is in the evaluation pairs. An engine must "
                "not be calibrated on people that it is judged by; remove these photos."
            )


def _without_copies(folder: Path, paths: Sequence[Path]) -> tuple[list[Path], FileNotes]:
    """Return photos without copies of another photo of the same person, and what was found."""
    copies: set[Path] = set()
    two_people: list[str] = []
    for group in equal_files(paths):
        first: dict[str, Path] = {}
        for path in group:
            if first.setdefault(_person(folder, path), path) is not path:
                copies.add(path)
        if len(first) > 1:
            two_people.append(" = ".join(str(path.relative_to(folder)) for path in first.values()))
    notes = FileNotes(
        copies=tuple(str(path.relative_to(folder)) for path in paths if path in copies),
        two_people=tuple(two_people),
    )
    return [path for path in paths if path not in copies], notes


def _person(folder: Path, path: Path) -> str:
    """Return the person of a photo: its folder, or, without a folder, the person in its name."""
    parents = path.relative_to(folder).parts[:-1]
    return composed(parents[-1] if parents else person_of(path.stem))


def _check_count(found: int, what: str) -> None:
    if found < MINIMUM_CALIBRATION_IMAGES:
        raise DatasetError(
            f"{found} {what}; INT8 is calibrated on at least {MINIMUM_CALIBRATION_IMAGES}. Add "
            "photos of other people."
        )


def _split(
    faces: AlignedFaces, what: str, *, drawn: bool = False, notes: Sequence[str] = ()
) -> CalibrationFaces:
    found = len(faces.names)
    count = min(found, CALIBRATED_ON)
    rows = [*range(count, found), *range(count)][:CHECKED_ON]
    others = sum(row >= count for row in rows)
    return CalibrationFaces(
        faces.part(range(count)),
        faces.part(rows),
        f"{count} {what}",
        f"{len(rows)} faces, {others} of them not calibrated on",
        drawn,
        tuple(notes),
    )
