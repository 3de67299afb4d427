"""Verification sets in LFW's layout: where the photos are, and which pairs they form."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.datasets.layout import LfwLayout
from facenet_validate.datasets.pairs import Pair, PhotoRef
from facenet_validate.errors import DatasetError

ENDINGS = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class VerificationSet:
    """Photos and pairs.

    Attributes
    ----------
    name : str
        ``lfw`` or ``synthetic``: selects the gates.
    title : str
        For people.
    names : tuple of str
        The evaluation photos' names, sorted; rows of every embedding matrix.
    paths : tuple of Path
        Their files, same order.
    left, right : ndarray of shape (P,)
        Rows of each pair's photos.
    same : ndarray of shape (P,)
        Whether a pair is genuine.
    folds : ndarray of shape (P,)
        Each pair's fold.
    calibration_names, calibration_paths : tuple
        Photos of people who are in no pair, for calibration.
    pairs_digest : str
        SHA-256 of the pairs file.
    """

    name: str
    title: str
    names: tuple[str, ...]
    paths: tuple[Path, ...]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    same: NDArray[np.bool_]
    folds: NDArray[np.intp]
    calibration_names: tuple[str, ...]
    calibration_paths: tuple[Path, ...]
    pairs_digest: str

    @cached_property
    def people(self) -> int:
        """How many people the pairs show."""
        return len({name.rsplit("_", 1)[0] for name in self.names})


def load_set(
    layout: LfwLayout, *, name: str, title: str, calibration_images: int = 512
) -> VerificationSet:
    """Resolve every pair to files, and choose calibration photos of other people.

    Calibration takes one photo a person, people in the order of the digests of their names, so
    that the choice is arbitrary, fixed, and the same on every machine; further photos of the same
    people follow until there are ``calibration_images``.

    Raises
    ------
    DatasetError
        If a photo of a pair is missing, or no other people are there to calibrate on.
    """
    photos = _photos(layout.photos)
    references = sorted(
        {p for pair in layout.pairs.pairs for p in (pair.left, pair.right)}, key=_by_stem
    )
    missing = [ref.stem for ref in references if ref.stem not in photos]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(references)} photos of {layout.pairs_path.name} are missing "
            f"from {layout.photos}, the first {missing[0]} ({', '.join(ENDINGS)}). Skipping pairs "
            "would shift the folds: get the whole set."
        )
    rows = {ref.stem: index for index, ref in enumerate(references)}
    people = {ref.person for ref in references}
    calibration = _calibration_names(sorted(photos), people, calibration_images)
    pairs = layout.pairs.pairs
    return VerificationSet(
        name=name,
        title=title,
        names=tuple(rows),
        paths=tuple(photos[stem] for stem in rows),
        left=_rows(pairs, "left", rows),
        right=_rows(pairs, "right", rows),
        same=np.array([pair.same for pair in pairs], np.bool_),
        folds=np.array([pair.fold for pair in pairs], np.intp),
        calibration_names=calibration,
        calibration_paths=tuple(photos[stem] for stem in calibration),
        pairs_digest=hashlib.sha256(layout.pairs_path.read_bytes()).hexdigest(),
    )


def _by_stem(ref: PhotoRef) -> str:
    return ref.stem


def _rows(pairs: tuple[Pair, ...], side: str, rows: dict[str, int]) -> NDArray[np.intp]:
    return np.array([rows[getattr(pair, side).stem] for pair in pairs], np.intp)


def _photos(folder: Path) -> dict[str, Path]:
    """Return every photo by its stem; of equal stems the first in alphabetical order."""
    found: dict[str, Path] = {}
    for person in sorted(folder.iterdir()):
        if person.is_dir():
            for photo in sorted(person.iterdir()):
                if photo.suffix.lower() in ENDINGS:
                    found.setdefault(photo.stem, photo)
    return found


def _calibration_names(
    stems: list[str], evaluation_people: set[str], count: int
) -> tuple[str, ...]:
    by_person: dict[str, list[str]] = {}
    for stem in stems:
        person = stem.rsplit("_", 1)[0]
        if person not in evaluation_people:
            by_person.setdefault(person, []).append(stem)
    order = sorted(by_person, key=lambda person: hashlib.sha256(person.encode()).digest())
    chosen: list[str] = []
    depth = 0
    while len(chosen) < count and any(len(p) > depth for p in by_person.values()):
        chosen += [by_person[person][depth] for person in order if len(by_person[person]) > depth]
        depth += 1
    chosen = chosen[:count]
    overlap = {stem.rsplit("_", 1)[0] for stem in chosen} & evaluation_people
    if overlap:
        raise DatasetError(f"calibration shows people of the evaluation pairs: {sorted(overlap)}.")
    return tuple(chosen)
