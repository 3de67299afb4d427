"""LFW's layout on disk: which folder holds the photos, and which file the pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.pairs import PairsFile, composed, read_pairs

PHOTO_FOLDERS = ("lfw-deepfunneled", "lfw_funneled", "lfw", ".")


@dataclass(frozen=True)
class LfwLayout:
    """A folder recognised as a verification set.

    Attributes
    ----------
    pairs_path : Path
        Its ``pairs.txt``.
    photos : Path
        The folder with one folder a person.
    pairs : PairsFile
        The pairs read.
    """

    pairs_path: Path
    photos: Path
    pairs: PairsFile


def find_layout(folder: Path) -> LfwLayout:
    """Recognise the layouts people have: people's folders in it or one level below.

    Raises
    ------
    DatasetError
        If the folder, its ``pairs.txt`` or its photos are not found.
    """
    try:
        return _find_layout(folder)
    except OSError as error:
        raise DatasetError(
            f"LFW folder {folder}: {error.filename or folder} cannot be read ({error.strerror})."
        ) from None


def _find_layout(folder: Path) -> LfwLayout:
    if not folder.is_dir():
        raise DatasetError(
            f"LFW folder {folder}: no such folder. Expected a folder with pairs.txt and the "
            "photos in one folder a person; name it with --facenet-lfw or FACENET_LFW."
        )
    pairs_path = next(
        (p for p in (folder / "pairs.txt", folder.parent / "pairs.txt") if p.is_file()), None
    )
    if pairs_path is None:
        raise DatasetError(
            f"LFW folder {folder}: no pairs.txt in it or beside it. Put LFW's View 2 pairs.txt "
            "there."
        )
    pairs = read_pairs(pairs_path)
    first = pairs.pairs[0].left
    for name in PHOTO_FOLDERS:
        if _has_person(folder / name, first.person):
            return LfwLayout(pairs_path, (folder / name).resolve(), pairs)
    tried = ", ".join(str(folder / name) for name in PHOTO_FOLDERS)
    raise DatasetError(
        f"LFW folder {folder}: no photos of {first.person}, the first person of {pairs_path.name}. "
        f"Looked for a folder of that name in {tried}."
    )


def _has_person(photos: Path, person: str) -> bool:
    """Say whether a folder has a person's, in whatever Unicode form its name is."""
    if (photos / person).is_dir():
        return True
    if person.isascii() or not photos.is_dir():
        return False
    return any(composed(found.name) == person and found.is_dir() for found in photos.iterdir())
