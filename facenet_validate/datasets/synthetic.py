"""Synthetic faces: the verification set for users without LFW.

A person is a draw of a parametric face; a photo is a draw of pose, light, expression and camera.
The set has LFW's layout and pairs file, so the same code reads both. It is about as difficult as
LFW, but its figures differ: absolute gates for LFW do not apply to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.progress import Report
from facenet_validate.datasets.face_parameters import Draws, Person, Photo
from facenet_validate.datasets.face_renderer import draw_face
from facenet_validate.datasets.images import encode_png

SYNTHETIC_VERSION = "synthetic-1"
"""Version of the pixels and pairs: it changes whenever one of them does."""

EVALUATION_PEOPLE = 110
"""People who appear in pairs, 11 to a fold."""

PHOTOS_PER_PERSON = 8
"""Photos of every person. They make 28 genuine pairs: 308 in a fold of 11 people, of which 300
are drawn."""

CALIBRATION_PEOPLE = 64
"""People who are in no pair. Their 512 photos are for calibration."""

_SIZE = 160
_FOLDS = 10
_PAIRS_OF_A_KIND = 300
_SEED = int.from_bytes(SYNTHETIC_VERSION.encode())
_PERSON_STREAM, _PHOTO_STREAM, _PAIRS_STREAM = 1, 2, 3


def render_photo(person: int, photo: int) -> NDArray[np.uint8]:
    """Draw one photo of one synthetic person.

    The pixels depend only on the arguments and `SYNTHETIC_VERSION`. They are the same after other
    calls, on every machine, and with every version of OpenCV and numpy.

    Parameters
    ----------
    person
        Zero-based number of the person. People below `EVALUATION_PEOPLE` appear in pairs; the
        next `CALIBRATION_PEOPLE` do not. A larger number gives a person outside the set.
    photo
        Zero-based number of the photo.

    Returns
    -------
    NDArray[np.uint8]
        RGB picture, shape (160, 160, 3), aligned as a detector's crop with margin 32.

    Raises
    ------
    ValueError
        If an argument is negative.
    """
    if person < 0 or photo < 0:
        raise ValueError(f"person and photo count from 0, not person {person}, photo {photo}")
    who = Person(Draws(_SEED, _PERSON_STREAM, person, 0))
    how = Photo(Draws(_SEED, _PHOTO_STREAM, person, photo), _SIZE)
    return draw_face(who, how, _SIZE)


def proof_faces() -> NDArray[np.uint8]:
    """Return the faces a model is proven on where the user gives none.

    Returns
    -------
    ndarray of shape (4, 160, 160, 3), uint8
        RGB: the first photo of each of the first four people.
    """
    return np.stack([render_photo(person, 0) for person in range(4)])


def write_synthetic_faces(folder: Path, progress: Report | None = None) -> None:
    """Write the whole set in the layout of LFW.

    Photos are ``folder/<name>/<name>_0001.png`` and so on, 160×160 RGB; ``folder/pairs.txt`` holds
    ten folds of 300 genuine and 300 impostor pairs. No two folds share a person. The people for
    calibration have folders too. ``pairs.txt`` is written last: if it exists, the set is complete.

    Parameters
    ----------
    folder
        Where to write. It is made if it is missing; files of the same names are overwritten.
    progress
        Called as ``progress(done, total)`` after each photo.

    Raises
    ------
    DatasetError
        If a folder or file cannot be written.
    """
    people = EVALUATION_PEOPLE + CALIBRATION_PEOPLE
    total = people * PHOTOS_PER_PERSON
    try:
        for person in range(people):
            name = _name(person)
            (folder / name).mkdir(parents=True, exist_ok=True)
            for photo in range(PHOTOS_PER_PERSON):
                path = folder / name / f"{name}_{photo + 1:04d}.png"
                path.write_bytes(encode_png(render_photo(person, photo)))
                if progress is not None:
                    progress(person * PHOTOS_PER_PERSON + photo + 1, total)
        (folder / "pairs.txt").write_text("\n".join(_pairs_lines()) + "\n", encoding="ascii")
    except OSError as error:
        raise DatasetError(
            f"cannot write the synthetic faces to {folder}: {error}; give a folder with 100 MB free"
        ) from error


def _name(person: int) -> str:
    return f"Synthetic_{person + 1:04d}"


def _pairs_lines() -> Iterator[str]:
    """Yield the lines of ``pairs.txt``: per fold the genuine pairs, then the impostor pairs."""
    yield f"{_FOLDS}\t{_PAIRS_OF_A_KIND}"
    people_of_a_fold = EVALUATION_PEOPLE // _FOLDS
    numbers = range(1, PHOTOS_PER_PERSON + 1)
    for fold in range(_FOLDS):
        people = range(fold * people_of_a_fold, (fold + 1) * people_of_a_fold)
        genuine = [
            f"{_name(person)}\t{first}\t{second}"
            for person, (first, second) in product(people, combinations(numbers, 2))
        ]
        impostor = [
            f"{_name(one)}\t{first}\t{_name(other)}\t{second}"
            for (one, other), first, second in product(combinations(people, 2), numbers, numbers)
        ]
        for kind, candidates in enumerate((genuine, impostor)):
            order = Draws(_SEED, _PAIRS_STREAM, fold, kind).order(len(candidates))
            yield from (candidates[index] for index in sorted(order[:_PAIRS_OF_A_KIND]))
