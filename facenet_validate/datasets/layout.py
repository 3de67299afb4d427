"""LFW's layout on disk: the folder of the photos and the file of the pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.pairs import PairsFile, composed, read_pairs

PHOTO_FOLDERS = ("lfw-deepfunneled", "lfw_funneled", "lfw", ".")


@dataclass(frozen=True)
class LfwLayout:
    """The parts of a folder in LFW's layout.

    Attributes
    ----------
    pairs_path : Path
        Its ``pairs.txt``.
    photos : Path
        The folder that has a folder for each person.
    pairs : PairsFile
        The content of ``pairs.txt``.
    """

    pairs_path: Path
    photos: Path
    pairs: PairsFile


def find_layout(folder: Path) -> LfwLayout:
    """Find pairs and photos in a folder: the folders of people are in it or one level below.

    Raises
    ------
    DatasetError
        If the folder, its ``pairs.txt`` or its photos are not found or cannot be read.
    """
    try:
        if not folder.is_dir():
            raise DatasetError(
                f"LFW folder {folder}: no such folder. Expected a folder with pairs.txt and the "
                "photos in one folder a person; name it with --facenet-lfw or FACENET_LFW."
            )
        places = (folder / "pairs.txt", folder.parent / "pairs.txt")
        pairs_path = next((path for path in places if path.is_file()), None)
        if pairs_path is None:
            raise DatasetError(
                f"LFW folder {folder}: no pairs.txt in it or beside it. Put LFW's View 2 pairs.txt "
                "there."
            )
        pairs = read_pairs(pairs_path)
        person = pairs.pairs[0].left.person
        for name in PHOTO_FOLDERS:
            if _has_person(folder / name, person):
                return LfwLayout(pairs_path, (folder / name).resolve(), pairs)
    except OSError as error:
        raise DatasetError(
            f"LFW folder {folder}: {error.filename or folder} cannot be read ({error.strerror})."
        ) from None
    tried = ", ".join(str(folder / name) for name in PHOTO_FOLDERS)
    raise DatasetError(
        f"LFW folder {folder}: no photos of {person}, the first person of {pairs_path.name}. "
        f"Looked for a folder of that name in {tried}."
    )


def _has_person(photos: Path, person: str) -> bool:
    """Return whether a folder has a folder of a person, whose name may be in any Unicode form."""
    if (photos / person).is_dir():
        return True
    if person.isascii() or not photos.is_dir():
        return False
    return any(composed(found.name) == person and found.is_dir() for found in photos.iterdir())
