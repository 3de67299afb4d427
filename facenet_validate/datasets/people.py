"""The photos of a folder in LFW's layout: ``PERSON/PERSON_NNNN.jpg``, the folder being the person.

Other images are not used, because it is unknown whom they show. They are named to the user.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.pairs import PhotoRef, composed, person_of
from facenet_validate.datasets.photo_files import ENDINGS, leads_to

_NUMBERED = re.compile(r"(?P<person>.+)_(?P<number>[0-9]{4,9})", re.DOTALL)
_NUMBER_AFTER = re.compile(r"[\s._()-]+[0-9]")
_SMALL_WORD_AT_END = re.compile(r"(?<=[^\s._()-])[\s._()-]+[a-z][^\s._()-]*[\s._()-]*$")


@dataclass(frozen=True)
class Photo:
    """A photo that fits the layout.

    Attributes
    ----------
    person : str
        Its folder's name, in Unicode's NFC.
    stem : str
        The file's name without its ending, in NFC: the person and the photo's number.
    path : Path
        The file.
    """

    person: str
    stem: str
    path: Path


@dataclass(frozen=True)
class PhotoFolder:
    """The images of a folder in LFW's layout.

    Attributes
    ----------
    root : Path
        The folder.
    photos : dict
        Photos by their stems, in alphabetical order.
    left_out : tuple of str
        Images that do not fit the layout, relative to the folder, in alphabetical order.
    """

    root: Path
    photos: dict[str, Photo]
    left_out: tuple[str, ...]


def read_folder(folder: Path) -> PhotoFolder:
    """Find the photos of a folder in LFW's layout.

    Hidden files and folders are ignored. An image that is not ``PERSON/PERSON_NNNN`` is left out.
    So is a second image of the same person and number, with another ending or in another Unicode
    form of the name.

    Raises
    ------
    DatasetError
        If the folder or one in it cannot be read.
    """
    found: list[Photo] = []
    left_out: list[str] = []
    taken: set[str] = set()
    try:
        for path in sorted(folder.iterdir()):
            if path.name.startswith("."):
                continue
            if not path.is_dir():
                left_out += [path.name] if _is_image(path.name) else []
                continue
            person = composed(path.name)
            for relative, is_file in _images(path, ""):
                stem = composed(relative.rpartition(".")[0])
                if is_file and stem not in taken and _fits(stem, person):
                    taken.add(stem)
                    found.append(Photo(person, stem, path / relative))
                else:
                    left_out.append(f"{path.name}/{relative}")
    except OSError as error:
        raise DatasetError(f"{error.filename}: cannot be read ({error.strerror}).") from None
    found.sort(key=lambda photo: photo.stem)
    return PhotoFolder(folder, {photo.stem: photo for photo in found}, tuple(left_out))


def spelling(name: str) -> str:
    """Return the common form of a person's names that differ only in case and outer spaces."""
    return composed(composed(name).casefold()).strip()


def named_people(name: str) -> set[str]:
    """Return the people that a photo's name, without its ending, may name.

    A person's name may end before a number, before words in small letters at the end, or before
    the last ``_``: ``Ann_0001_masked``, ``Ann-3``, ``Ann-masked`` and ``Ann_Masked`` may show Ann;
    ``Person_07_0001`` may show Person or Person_07.
    """
    name = composed(name)
    return {person_of(name)} | people_of_folder(name)


def people_of_folder(name: str) -> set[str]:
    """Return the people that a folder's name may name.

    A person's name may end before a number or before words in small letters at the end: ``Ann (1)``
    and ``Ann_masked`` may be Ann's. A word with a capital letter is part of the name, so
    ``Ann_Lee`` is not Ann's.
    """
    name = composed(name)
    found = {name} | {name[: number.start()] for number in _NUMBER_AFTER.finditer(name)}
    while (word := _SMALL_WORD_AT_END.search(name)) is not None:
        name = name[: word.start()]
        found.add(name)
    return found


def _images(folder: Path, below: str) -> Iterator[tuple[str, bool]]:
    """Yield the path in a folder of every image in it, sorted, and whether it is a file.

    Links to folders are not followed: they may form a circle.
    """
    with os.scandir(folder / below) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _images(folder, f"{below}{entry.name}/")
        elif _is_image(entry.name):
            yield f"{below}{entry.name}", leads_to(entry.is_file)


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _fits(stem: str, person: str) -> bool:
    match = _NUMBERED.fullmatch(stem)
    if match is None or match["person"] != person or int(match["number"]) < 1:
        return False
    return stem == PhotoRef(person, int(match["number"])).stem
