"""Verification sets in LFW's layout: where the photos are, and which pairs they form."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.digests import file_digest
from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.alike import EqualPhotos, people_shown
from facenet_validate.datasets.copies import copy_pairs
from facenet_validate.datasets.layout import LfwLayout
from facenet_validate.datasets.notes import FileNotes, printable
from facenet_validate.datasets.pairs import composed, person_of
from facenet_validate.datasets.people import Photo, PhotoFolder, read_folder
from facenet_validate.datasets.photo_files import ENDINGS
from facenet_validate.datasets.verification_set import VerificationSet

_NAMED = 3

_ERRATA = {
    # Listed as errata on LFW's site; positions in its pairs.txt, View 2.
    "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592": (
        112, 185, 201, 2498, 2550, 2551, 3651,
    ),
}  # fmt: skip
"""Genuine pairs known to show two people, by the digest of the pairs file."""


@dataclass(frozen=True)
class Gallery:
    """Every photo of the people in a set's pairs, without copies, for comparing all with all.

    Attributes
    ----------
    names, paths : tuple
        The photos, sorted by name.
    identities : ndarray of shape (G,)
        Each photo's person, numbered as in the set.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    identities: NDArray[np.intp]


def load_set(
    layout: LfwLayout,
    *,
    name: str,
    title: str,
    calibration_images: int = 512,
    others: Sequence[VerificationSet] = (),
) -> VerificationSet:
    """Find the files of all pairs, and choose calibration photos of other people.

    Calibration takes one photo a person, then a second one, until there are
    ``calibration_images``. People come in the order of the digests of their names: the choice is
    arbitrary, but the same on every machine.

    Parameters
    ----------
    layout : LfwLayout
        Where photos and pairs are.
    name, title : str
        See `VerificationSet`.
    calibration_images : int
        Photos to choose, if there are as many.
    others : sequence of VerificationSet
        Further sets that the same engines are judged by. People in them are not calibrated on.

    Raises
    ------
    DatasetError
        If the folder cannot be read, or a photo of a pair is missing.
    """
    folder = read_folder(layout.photos)
    photos = folder.photos
    pairs = layout.pairs.pairs
    references = sorted(
        {ref for pair in pairs for ref in (pair.left, pair.right)}, key=lambda ref: ref.stem
    )
    missing = [ref.stem for ref in references if ref.stem not in photos]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(references)} photos of {layout.pairs_path.name} are missing "
            f"from {layout.photos}, the first {missing[0]} ({', '.join(ENDINGS)})."
            f"{_in_their_place(folder, person_of(missing[0]))} Skipping pairs would shift the "
            "folds: get the whole set."
        )
    rows = {ref.stem: index for index, ref in enumerate(references)}
    people = _numbered(ref.person for ref in references)
    equal = EqualPhotos.found(folder, others)
    judged = equal.linked_people(people.keys() | people_shown(folder, others))
    copies = equal.copies(rows.keys())
    candidates = [
        photo for stem, photo in photos.items() if photo.person not in judged and stem not in copies
    ]
    calibration = _calibration_names(candidates, people.keys(), calibration_images)
    left = np.array([rows[pair.left.stem] for pair in pairs], np.intp)
    right = np.array([rows[pair.right.stem] for pair in pairs], np.intp)
    same = np.array([pair.same for pair in pairs], np.bool_)
    paths = tuple(photos[stem].path for stem in rows)
    digest = _digest(layout.pairs_path)
    return VerificationSet(
        name=name,
        title=title,
        names=tuple(rows),
        paths=paths,
        identities=np.array([people[ref.person] for ref in references], np.intp),
        left=left,
        right=right,
        same=same,
        folds=np.array([pair.fold for pair in pairs], np.intp),
        suspect=np.array(_ERRATA.get(digest, ()), np.intp),
        calibration_names=calibration,
        calibration_paths=tuple(photos[stem].path for stem in calibration),
        pairs_digest=digest,
        notes=FileNotes(
            left_out=folder.left_out,
            copies=copies,
            two_people=equal.two_people(),
            copy_pairs=copy_pairs(equal.groups, tuple(rows), paths, left[same], right[same]),
            not_calibrated_on=tuple(
                sorted({photo.person for photo in photos.values()} & judged - people.keys())
            ),
        ),
    )


def gallery(layout: LfwLayout, dataset: VerificationSet) -> Gallery:
    """Return every photo of the people in a set's pairs, whether it is in a pair or not.

    Of copies of one photo only one is returned. People to calibrate on are left out. LFW has 11,684
    such photos of 4,281 people, and no copies.

    Parameters
    ----------
    layout : LfwLayout
        Where the photos are.
    dataset : VerificationSet
        The set loaded from it.

    Raises
    ------
    DatasetError
        If the photos' folder cannot be read.
    """
    folder = read_folder(layout.photos)
    people = _numbered(folder.photos[name].person for name in dataset.names)
    copies = set(dataset.notes.copies)
    photos = [
        photo
        for stem, photo in folder.photos.items()
        if photo.person in people and stem not in copies
    ]
    return Gallery(
        names=tuple(photo.stem for photo in photos),
        paths=tuple(photo.path for photo in photos),
        identities=np.array([people[photo.person] for photo in photos], np.intp),
    )


def _in_their_place(folder: PhotoFolder, person: str) -> str:
    """Return a sentence that names images of a person with unexpected names; empty if none is."""
    found = [name for name in folder.left_out if composed(name.partition("/")[0]) == person]
    if not found:
        return ""
    more = ", …" if len(found) > _NAMED else ""
    return (
        f" The folder of {person} has images named otherwise "
        f"({', '.join(printable(name) for name in found[:_NAMED])}{more}); expected "
        f"{person}/{person}_NNNN, the number filled up with zeros to four digits."
    )


def _numbered(people: Iterable[str]) -> dict[str, int]:
    return {person: number for number, person in enumerate(sorted(set(people)))}


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise DatasetError(f"pairs file {path}: cannot be read ({error.strerror}).") from None


def _calibration_names(
    photos: Iterable[Photo], evaluation_people: Set[str], count: int
) -> tuple[str, ...]:
    by_person: dict[str, list[str]] = {}
    for photo in photos:
        by_person.setdefault(photo.person, []).append(photo.stem)
    overlap = by_person.keys() & evaluation_people
    if overlap:
        raise DatasetError(f"calibration shows people of the evaluation pairs: {sorted(overlap)}.")
    order = sorted(by_person, key=lambda person: hashlib.sha256(os.fsencode(person)).digest())
    chosen: list[str] = []
    depth = 0
    while len(chosen) < count and any(len(p) > depth for p in by_person.values()):
        chosen += [by_person[person][depth] for person in order if len(by_person[person]) > depth]
        depth += 1
    return tuple(chosen[:count])
