"""Faces to calibrate INT8 on, for those who quantise outside a test run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import (
    AlignedFaces,
    align_photos,
    check_no_picture_shared,
    faces_as_they_are,
    is_aligned,
)
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import ENDINGS, VerificationSet, load_set
from facenet_validate.datasets.pairs import person_of
from facenet_validate.datasets.synthetic_cache import synthetic_folder
from facenet_validate.errors import DatasetError
from facenet_validate.models.quantization.recipes import MINIMUM_CALIBRATION_IMAGES

CALIBRATED_ON = 512
CHECKED_ON = 500

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class CalibrationFaces:
    """Aligned faces of people outside every evaluation pair.

    Attributes
    ----------
    faces : AlignedFaces
        Up to 512 to calibrate on.
    check : AlignedFaces
        500 to check a result on: others first, then those calibrated on.
    text : str
        Where they come from, for people.
    check_text : str
        What the check is made of, for people.
    drawn : bool
        Whether they are the project's drawn faces.
    """

    faces: AlignedFaces
    check: AlignedFaces
    text: str
    check_text: str
    drawn: bool = False


def drawn_faces(cache: Cache, progress: Progress | None = None) -> CalibrationFaces:
    """Return the calibration people of the drawn set."""
    found = load_set(find_layout(synthetic_folder(cache, progress)), name="synthetic", title="")
    faces = faces_as_they_are(found.calibration_names, found.calibration_paths)
    return _split(faces, "drawn faces", drawn=True)


def faces_outside(
    evaluation: VerificationSet, cache: Cache, workers: int, progress: Progress | None = None
) -> CalibrationFaces:
    """Return aligned photos of a verification set's people who are in no pair.

    Parameters
    ----------
    evaluation : VerificationSet
        Loaded with ``calibration_images=1012`` to have other faces to check on too.

    Raises
    ------
    DatasetError
        If there are fewer than 500.
    """
    names, paths = evaluation.calibration_names, evaluation.calibration_paths
    _check_count(len(paths), f"photos of people outside the pairs of {evaluation.title}")
    faces = _aligned(names, paths, cache, workers, progress)
    return _split(faces, f"photos of people outside the pairs of {evaluation.title}")


def faces_in(
    folder: Path,
    evaluation: VerificationSet | None,
    cache: Cache,
    workers: int,
    progress: Progress | None = None,
) -> CalibrationFaces:
    """Return the aligned faces in a folder.

    Parameters
    ----------
    evaluation : VerificationSet or None
        Whose people and pictures must not be among them; its photos are aligned to compare.

    Raises
    ------
    DatasetError
        If there are fewer than 500, they are not 160×160, or one shows a person or is a picture of
        the evaluation pairs.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder. Expected aligned faces, 160×160.")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS)
    _check_count(len(paths), f"faces in {folder}")
    if not is_aligned(paths[0]):
        raise DatasetError(
            f"{paths[0]}: not 160×160 pixels. INT8 is calibrated on aligned faces: what the engine "
            "will read. Align the photos, or name a folder in LFW's layout with --lfw: its photos "
            "are aligned here."
        )
    faces = faces_as_they_are([str(p.relative_to(folder).with_suffix("")) for p in paths], paths)
    if evaluation is not None:
        people = {person_of(name) for name in evaluation.names}
        for path in paths:
            seen = {person_of(path.stem), path.parent.name} & people
            if seen:
                raise DatasetError(
                    f"{path}: shows {seen.pop()}, who is in the evaluation pairs. An engine must "
                    "not be calibrated on whom it is judged by; remove these photos."
                )
        others = _aligned(evaluation.names, evaluation.paths, cache, workers, progress)
        check_no_picture_shared(faces, others)
    return _split(faces, f"faces in {folder}")


def _aligned(
    names: Sequence[str],
    paths: Sequence[Path],
    cache: Cache,
    workers: int,
    progress: Progress | None,
) -> AlignedFaces:
    if is_aligned(paths[0]):
        return faces_as_they_are(names, paths)
    return align_photos(names, paths, cache, workers=workers, progress=progress)


def _check_count(found: int, what: str) -> None:
    if found < MINIMUM_CALIBRATION_IMAGES:
        raise DatasetError(
            f"{found} {what}; INT8 is calibrated on at least {MINIMUM_CALIBRATION_IMAGES}. Add "
            "photos of other people."
        )


def _split(faces: AlignedFaces, what: str, *, drawn: bool = False) -> CalibrationFaces:
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
    )
