"""Who must not be calibrated on, and which photos count once: by names, folders and equal bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.datasets.copies import equal_files
from facenet_validate.datasets.pairs import composed
from facenet_validate.datasets.people import Photo, PhotoFolder, named_people

if TYPE_CHECKING:
    from facenet_validate.datasets.lfw import VerificationSet


@dataclass(frozen=True)
class Alike:
    """Files of the same bytes.

    Attributes
    ----------
    groups : tuple of tuple of Path
        Two or more files each.
    photos : mapping
        The folder's photos by their files.
    judged : set of Path
        The photos of other sets that engines are judged by.
    """

    groups: tuple[tuple[Path, ...], ...]
    photos: Mapping[Path, Photo]
    judged: Set[Path]

    @classmethod
    def among(cls, folder: PhotoFolder, others: Sequence[VerificationSet]) -> Alike:
        """Compare a folder's photos with each other and with those of other sets."""
        photos = {photo.path: photo for photo in folder.photos.values()}
        judged = {path for other in others for path in other.paths}
        groups = equal_files([*photos, *sorted(judged)])
        return cls(tuple(groups), photos, judged)

    def joined(self, people: Set[str]) -> Set[str]:
        """Return people and those whose photos are theirs, directly or by way of others'."""
        found = set(people)
        waiting = [
            (self._people(group), any(path in self.judged for path in group))
            for group in self.groups
        ]
        while hit := [one for one, judged in waiting if judged or one & found]:
            waiting = [(one, judged) for one, judged in waiting if not (judged or one & found)]
            found.update(*hit)
        return found

    def copies(self, in_pairs: Set[str]) -> tuple[str, ...]:
        """Return the stems of photos that are copies of another one of their person.

        The one that counts is in a pair if any is, and else the first by name.
        """
        found: list[str] = []
        for group in self.groups:
            for person in self._people(group):
                stems = sorted(photo.stem for photo in self._of(group) if photo.person == person)
                kept = min(stems, key=lambda stem: (stem not in in_pairs, stem))
                found += [stem for stem in stems if stem != kept]
        return tuple(sorted(found))

    def two_people(self) -> tuple[str, ...]:
        """Return the photos that are under two people or more."""
        return tuple(
            " = ".join(photo.stem for photo in self._of(group))
            for group in self.groups
            if len(self._people(group)) > 1
        )

    def _of(self, group: Iterable[Path]) -> list[Photo]:
        return [self.photos[path] for path in group if path in self.photos]

    def _people(self, group: Iterable[Path]) -> set[str]:
        return {photo.person for photo in self._of(group)}


def people_shown(folder: PhotoFolder, others: Sequence[VerificationSet]) -> set[str]:
    """Return the people that the photos of other sets show, by folder or by name."""
    if not others:
        return set()
    folders = {
        os.path.realpath(photo.path.parent): photo.person for photo in folder.photos.values()
    }
    found: set[str] = set()
    for other in others:
        for name, path in zip(other.names, other.paths, strict=True):
            found |= named_people(path.stem)
            found |= {composed(part) for part in (path.parent.name, *Path(name).parts[:-1])}
            above = os.path.realpath(path)
            found |= {folders[str(one)] for one in Path(above).parents if str(one) in folders}
    return found
