"""Any set of photos in a folder, and who is on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.wording import path_text
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.notes import passed_over
from facenet_validate.datasets.pairs import composed
from facenet_validate.datasets.photo_files import ENDINGS, photos_below


@dataclass(frozen=True)
class PhotoSet:
    """Photos of a folder, in the order of their paths.

    Attributes
    ----------
    names : tuple of str
        Paths in the folder, as ``Ann/Ann_0001.jpg``.
    paths : tuple of Path
        The files.
    people : tuple of str or None
        The name of the folder that a photo lies in; None for one that lies in no folder.
    notes : tuple of str
        What was passed over, for messages.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    people: tuple[str | None, ...]
    notes: tuple[str, ...]


def photo_set(folder: Path) -> PhotoSet:
    """Return every photo in a folder and below it.

    In LFW's layout, with its ``pairs.txt``, these are the photos in its folder of people.

    Raises
    ------
    DatasetError
        If there is no such folder, it has no photo, or it cannot be read.
    """
    if not folder.is_dir():
        what = "it is a file" if folder.exists() else "no such folder"
        raise DatasetError(
            f"SET {path_text(folder)}: {what}. Expected a folder of photos, or of a folder for "
            "each person."
        )
    root = find_layout(folder).photos if (folder / "pairs.txt").exists() else folder
    found = photos_below(root)
    if not found.paths:
        raise DatasetError(
            f"SET {path_text(folder)}: no photo in it or below it ({', '.join(ENDINGS)})."
        )
    relative = [path.relative_to(root) for path in found.paths]
    return PhotoSet(
        tuple(path.as_posix() for path in relative),
        found.paths,
        tuple(composed(path.parts[-2]) if len(path.parts) > 1 else None for path in relative),
        tuple(passed_over([str(path.relative_to(root)) for path in found.no_files])),
    )
