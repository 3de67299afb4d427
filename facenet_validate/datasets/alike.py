"""Photos of equal bytes: who must not be calibrated on, and which photos count once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePath

from facenet_validate.datasets.copies import equal_files, equal_to
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
class EqualPhotos:
    """Images of equal bytes in a folder and in other verification sets.

    Attributes
    ----------
    groups : tuple of tuple of Path
        Files of equal bytes, two or more each.
    photos : mapping
        The folder's photos by their files.
    left_out : mapping
        Images that do not fit the layout, by their files: the path in the folder, and the people
        that it may show by the names of its folders or by its own.
    in_other_sets : set of Path
        The photos of other sets that engines are judged by, and the folder's images that are equal
        to a photo inside another set's file.
    """

    groups: tuple[tuple[Path, ...], ...]
    photos: Mapping[Path, Photo]
    left_out: Mapping[Path, tuple[str, Set[str]]]
    in_other_sets: Set[Path]

    @classmethod
    def found(cls, folder: PhotoFolder, others: Sequence[VerificationSet]) -> EqualPhotos:
        """Compare a folder's images with each other and with the photos of other sets.

        Images that do not fit the layout are compared too. They are not used, but they tell whom a
        photo of equal bytes may show.
        """
        photos = {photo.path: photo for photo in folder.photos.values()}
        left_out = _left_out(folder)
        in_other_sets = {path for other in others for path in other.paths}
        groups = equal_files([*photos, *left_out, *sorted(in_other_sets)])
        packed = [other.packed for other in others if other.packed is not None]
        in_files = equal_to([*photos, *left_out], packed)
        return cls(tuple(groups), photos, left_out, in_other_sets | in_files)

    def linked_people(self, people: Set[str]) -> set[str]:
        """Return people and everyone whom equal photos link to them or to another set.

        Links may lead over several people. People whose names differ only in case or in outer
        spaces are taken for one person here.
        """
        known = _by_spelling({photo.person for photo in self.photos.values()})
        found = {name for person in people for name in (person, *known.get(spelling(person), ()))}
        links = [*map(self._people, self.groups), *known.values()]
        alone = [(path,) for path in self.in_other_sets]
        for group in (*self.groups, *alone):
            if not self.in_other_sets.isdisjoint(group):
                found |= self._people(group)
        while new := [link for link in links if link & found and not link <= found]:
            found.update(*new)
        return found

    def copies(self, in_pairs: Set[str]) -> tuple[str, ...]:
        """Return the stems of photos that are copies of another photo of the same person.

        Of equal photos one counts and is not returned: the first by name, but one in a pair if any
        is.
        """
        found: list[str] = []
        for group in self.groups:
            for person in {photo.person for photo in self._of(group)}:
                stems = sorted(photo.stem for photo in self._of(group) if photo.person == person)
                kept = min(stems, key=lambda stem: (stem not in in_pairs, stem))
                found += [stem for stem in stems if stem != kept]
        return tuple(sorted(found))

    def two_people(self) -> tuple[str, ...]:
        """Return the images that stand under two people or more, as ``one = another``."""
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
    """Return the images that do not fit the layout, and whom of the folder they may show."""
    people = {photo.person for photo in folder.photos.values()}
    known = _by_spelling(people)
    found: dict[Path, tuple[str, Set[str]]] = {}
    for name in folder.left_out:
        path = PurePath(name)
        named = named_people(path.stem).union(composed(part) for part in path.parts[:-1])
        others = (known.get(spelling(one), ()) for one in named - people)
        found[folder.root / name] = (name, (named & people).union(*others))
    return found


def _by_spelling(people: Iterable[str]) -> dict[str, set[str]]:
    """Return people grouped by the common form of their names' spellings."""
    found: dict[str, set[str]] = {}
    for person in people:
        found.setdefault(spelling(person), set()).add(person)
    return found


def people_shown(folder: PhotoFolder, others: Sequence[VerificationSet]) -> set[str]:
    """Return the people whom the photos of other sets may show, by folder or by name."""
    if not others:
        return set()
    folders = {
        os.path.realpath(photo.path.parent): photo.person for photo in folder.photos.values()
    }
    found: set[str] = set()
    for other in others:
        # A set whose photos are in its own file has no paths, and names nobody.
        for name, path in zip(other.names, other.paths, strict=other.packed is None):
            found |= named_people(path.stem)
            found = found.union(*map(people_of_folder, (path.parent.name, *Path(name).parts[:-1])))
            above = os.path.realpath(path)
            found |= {folders[str(one)] for one in Path(above).parents if str(one) in folders}
    return found
