"""Who must not be calibrated on, and which photos count once: by names, folders and equal bytes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePath

from facenet_validate.datasets.copies import equal_files
from facenet_validate.datasets.pairs import composed
from facenet_validate.datasets.people import (
    Photo,
    PhotoFolder,
    named_people,
    people_of_folder,
    spelling,
)
from facenet_validate.datasets.verification_set import VerificationSet


@dataclass(frozen=True)
class Alike:
    """Files of the same bytes.

    Attributes
    ----------
    groups : tuple of tuple of Path
        Two or more files each.
    photos : mapping
        The folder's photos by their files.
    left_out : mapping
        By their files, images that do not fit the layout: their paths in the folder, and the people
        whose they are by a folder they are in or by their own names.
    judged : set of Path
        The photos of other sets that engines are judged by.
    """

    groups: tuple[tuple[Path, ...], ...]
    photos: Mapping[Path, Photo]
    left_out: Mapping[Path, tuple[str, Set[str]]]
    judged: Set[Path]

    @classmethod
    def among(cls, folder: PhotoFolder, others: Sequence[VerificationSet]) -> Alike:
        """Compare a folder's images with each other and with the photos of other sets.

        Images that do not fit the layout are compared too. They are used for nothing, and still
        they tell whom a photo of the same bytes may show.
        """
        photos = {photo.path: photo for photo in folder.photos.values()}
        left_out = _left_out(folder)
        judged = {path for other in others for path in other.paths}
        groups = equal_files([*photos, *left_out, *sorted(judged)])
        return cls(tuple(groups), photos, left_out, judged)

    def joined(self, people: Set[str]) -> Set[str]:
        """Return people and those whose photos are theirs, directly or by way of others'.

        People whose names differ only in case or in outer spaces are taken for one here.
        """
        known = _spelt({photo.person for photo in self.photos.values()})
        found = {name for person in people for name in (person, *known.get(spelling(person), ()))}
        waiting = [
            (self._people(group), any(path in self.judged for path in group))
            for group in self.groups
        ]
        waiting += [(one, False) for one in known.values() if len(one) > 1]
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
            for person in {photo.person for photo in self._of(group)}:
                stems = sorted(photo.stem for photo in self._of(group) if photo.person == person)
                kept = min(stems, key=lambda stem: (stem not in in_pairs, stem))
                found += [stem for stem in stems if stem != kept]
        return tuple(sorted(found))

    def two_people(self) -> tuple[str, ...]:
        """Return the images that are under two people or more."""
        return tuple(
            " = ".join(self._names(group)) for group in self.groups if len(self._people(group)) > 1
        )

    def _of(self, group: Iterable[Path]) -> list[Photo]:
        return [self.photos[path] for path in group if path in self.photos]

    def _names(self, group: Iterable[Path]) -> list[str]:
        unfit = [self.left_out[path] for path in group if path in self.left_out]
        return [
            *(photo.stem for photo in self._of(group)),
            *(name for name, people in unfit if people),
        ]

    def _people(self, group: Iterable[Path]) -> set[str]:
        unfit = [self.left_out[path][1] for path in group if path in self.left_out]
        return {photo.person for photo in self._of(group)}.union(*unfit)


def _left_out(folder: PhotoFolder) -> dict[Path, tuple[str, Set[str]]]:
    """Return the images that do not fit and the people of the folder they may show."""
    people = {photo.person for photo in folder.photos.values()}
    known = _spelt(people)
    found: dict[Path, tuple[str, Set[str]]] = {}
    for name in folder.left_out:
        path = PurePath(name)
        named = named_people(path.stem).union(composed(part) for part in path.parts[:-1])
        others = (known.get(spelling(one), ()) for one in named - people)
        found[folder.root / name] = (name, (named & people).union(*others))
    return found


def _spelt(people: Iterable[str]) -> dict[str, set[str]]:
    """Return people by what their names have in common with other spellings of them."""
    found: dict[str, set[str]] = {}
    for person in people:
        found.setdefault(spelling(person), set()).add(person)
    return found


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
            found = found.union(*map(people_of_folder, (path.parent.name, *Path(name).parts[:-1])))
            above = os.path.realpath(path)
            found |= {folders[str(one)] for one in Path(above).parents if str(one) in folders}
    return found
