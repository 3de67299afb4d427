"""Digests and sizes of photos, and whether they are aligned already.

Either all photos of a set are aligned faces already, 160×160, or none is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.files import check_regular
from facenet_validate.base.progress import Report, silent
from facenet_validate.datasets.headers import image_size
from facenet_validate.datasets.images import decode_image

SIZE = 160

Size = tuple[int, int]

_NAMED = 3
_READERS = 4


@dataclass(frozen=True)
class Kind:
    """Whether photos of a set are aligned already.

    Attributes
    ----------
    aligned : bool
        True if all photos are 160×160, False if none is.
    names : tuple of str
        The photos.
    """

    aligned: bool
    names: tuple[str, ...]


@dataclass(frozen=True)
class Photos:
    """What one reading of photos found.

    Attributes
    ----------
    names : tuple of str
    paths : tuple of Path
    digests : tuple of str
        SHA-256 of each file.
    sizes : tuple of (int, int)
        Width and height of each.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    digests: tuple[str, ...]
    sizes: tuple[Size, ...]


def look_at(names: Sequence[str], paths: Sequence[Path], progress: Report = silent) -> Photos:
    """Read photos' digests and sizes, each file once.

    Raises
    ------
    DatasetError
        If a file cannot be read or has no image's header.
    """

    def look(path: Path) -> tuple[str, Size]:
        data = read_photo(path)
        return hashlib.sha256(data).hexdigest(), _size(data, path)

    found: list[tuple[str, Size]] = []
    with ThreadPoolExecutor(_READERS) as pool:
        for one in pool.map(look, paths):
            found.append(one)
            progress(len(found), len(paths))
    digests, sizes = tuple(one[0] for one in found), tuple(one[1] for one in found)
    return Photos(tuple(names), tuple(paths), digests, sizes)


def kind_of(names: Sequence[str], sizes: Sequence[Size], beside: Kind | None = None) -> Kind:
    """Return whether photos are aligned faces, 160×160, already.

    Parameters
    ----------
    names : sequence of str
        The photos, at least one.
    sizes : sequence of (int, int)
        Width and height of each.
    beside : Kind, optional
        Other photos of the same set.

    Raises
    ------
    DatasetError
        If some are and others are not. It tells how many, and names the first of both.
    """
    aligned: list[str] = []
    unaligned: list[str] = []
    for name, size in zip(names, sizes, strict=True):
        (aligned if size == (SIZE, SIZE) else unaligned).append(name)
    if beside is not None:
        # First in the message: users know the set by these photos.
        (aligned if beside.aligned else unaligned)[:0] = beside.names
    if aligned and unaligned:
        raise DatasetError(
            f"{_first(unaligned)}: not {SIZE}×{SIZE} pixels, while of the "
            f"{len(aligned) + len(unaligned)} photos of the set {len(aligned)} are, as aligned "
            f"faces are ({_first(aligned)}), and {len(unaligned)} are not. Align all photos or "
            "none."
        )
    return Kind(bool(aligned), tuple(names))


def read_photo(path: Path) -> bytes:
    """Return a photo's bytes.

    Raises
    ------
    DatasetError
        If it is not a file or cannot be read.
    """
    try:
        check_regular(path)
        with path.open("rb", buffering=0) as file:  # a quarter quicker than `read_bytes`
            return file.readall()
    except OSError as error:
        raise DatasetError(f"photo {path}: cannot be read ({error.strerror}).") from None


def _size(data: bytes, path: Path) -> Size:
    size = image_size(data)
    if size is None:
        # Decoding raises the error that names what is wrong with the file.
        height, width = decode_image(data, name=str(path)).shape[:2]
        return width, height
    return size


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
