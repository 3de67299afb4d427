"""InsightFace's packed verification sets, ``.bin``: LFW, CFP-FP, AgeDB-30, CALFW, CPLFW and others.

A file is a pickle of two lists: encoded photos, two for each pair one behind the other, and whether
each pair is genuine. `plain_pickle` reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.files import check_regular
from facenet_validate.datasets.headers import (
    JPEG_START,
    PNG_START,
    image_size,
    is_complete_jpeg,
    is_complete_png,
)
from facenet_validate.datasets.images import check_image
from facenet_validate.datasets.notes import FileNotes
from facenet_validate.datasets.own_sets import (
    FOLDS,
    check_count,
    check_training,
    joined_photos,
    set_name,
)
from facenet_validate.datasets.plain_pickle import read_plain
from facenet_validate.datasets.plain_values import ByteArray, NotPlainError
from facenet_validate.datasets.verification_set import PackedPhotos, VerificationSet
from facenet_validate.models.file_kinds import is_pickle, kind_by_content

WHAT = "packed set"
ENDING = ".bin"

MOST_BYTES = 2**30
"""Bytes of a file: 14,000 photos of 112×112 have 60 MB as JPEG and 400 MB as PNG."""

MOST_PHOTOS = 100_000
MOST_PHOTO_BYTES = 16 * 2**20
MOST_PIXELS_A_SIDE = 1024

_EXPECTED = (
    "Expected InsightFace's form: a pickle of a list of encoded photos, two a pair, and a list of "
    "booleans, one a pair"
)
_NOT_RUN = "Nothing in it was run."
_HEAD = 4096


@dataclass(frozen=True)
class _Content:
    """What the pickle holds: photos in the file's order, and whether each pair is genuine."""

    photos: Sequence[bytes]
    same: NDArray[np.bool_]


def is_packed(path: Path) -> bool:
    """Return whether a file is a packed set: it begins as a pickle, or is called ``.bin``."""
    if path.suffix.lower() == ENDING:
        return True
    try:
        check_regular(path)
        with path.open("rb") as file:
            return is_pickle(file.read(_HEAD))
    except OSError:
        return False  # the reader of the set tells the reason


def load_bin(path: Path, name: str = "") -> VerificationSet:
    """Read a packed set.

    Photos ``2 i`` and ``2 i + 1`` are pair ``i``. The pairs are cut into ten folds in their order,
    as scikit-learn's ``KFold(10, shuffle=False)`` cuts them. Photos of equal bytes are one photo.

    The file names nobody. Photos that genuine pairs join, directly or over other photos, show one
    person. An impostor pair may contradict that: then its photos count as photos of their own, of
    two people more. There are no photos to calibrate on.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The set's name; by default the file's.

    Returns
    -------
    VerificationSet
        With `VerificationSet.packed`. Photos are named by their first place in the file, from 0.

    Raises
    ------
    DatasetError
        In one line: if the file cannot be read, is larger than 1 GiB, is no pickle, or is a pickle
        of anything else than these two lists; a photo is neither JPEG nor PNG, is truncated, or
        is not of the square size of the others; there are too few pairs, or the pairs outside a
        fold are of one kind.
    """
    name = set_name(WHAT, path, name)
    content = _read(path)
    found = _unpacked(path, content)
    same = found.same
    check_count(WHAT, path, same)
    folds = _folds(len(same))
    check_training(WHAT, path, same, folds)
    digests = _digests(found.photos)
    side = _side(path, found.photos, digests)
    places, left, right = _rows(digests, np.zeros(len(same), np.bool_))
    identities = joined_photos(len(places), left[same], right[same])
    contradicted = ~same & (identities[left] == identities[right])
    copied = same & (left == right)
    if contradicted.any():
        places, left, right = _rows(digests, contradicted)
        identities = joined_photos(len(places), left[same], right[same])
    return VerificationSet(
        name=name,
        title=f"the pairs of {path}",
        names=tuple(map(photo_name, places)),
        paths=(),
        identities=identities,
        left=left,
        right=right,
        same=same,
        folds=folds,
        suspect=np.array([], np.intp),
        calibration_names=(),
        calibration_paths=(),
        pairs_digest=hashlib.sha256(content).hexdigest(),
        notes=FileNotes(
            copy_pairs=tuple(_pair_names(copied)), contradicted=tuple(_pair_names(contradicted))
        ),
        packed=PackedPhotos(
            tuple(found.photos[place] for place in places),
            tuple(digests[place] for place in places),
            side,
        ),
    )


def photo_name(place: int) -> str:
    """Return the name of a photo: its place in the file, from 0."""
    return f"photo-{place:06d}"


def _pair_names(chosen: NDArray[np.bool_]) -> Iterator[str]:
    for pair in np.flatnonzero(chosen).tolist():
        yield f"{photo_name(2 * pair)} = {photo_name(2 * pair + 1)}"


def _read(path: Path) -> bytes:
    try:
        check_regular(path)
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{WHAT} {path}: cannot be read ({error.strerror}).") from None
    if len(content) > MOST_BYTES:
        raise DatasetError(
            f"{WHAT} {path}: larger than {MOST_BYTES >> 30} GiB; expected a few thousand faces."
        )
    if not is_pickle(content[:_HEAD]):
        kind = kind_by_content(path)
        looks = f"it looks like {kind.what}" if kind else "it does not begin as a pickle"
        raise DatasetError(
            f"{WHAT} {path}: {looks}. {_EXPECTED}, written with protocol 2 or later."
        )
    return content


def _unpacked(path: Path, content: bytes) -> _Content:
    try:
        value = read_plain(content)
    except NotPlainError as wrong:
        raise DatasetError(f"{WHAT} {path}: its pickle {wrong}. {_NOT_RUN} {_EXPECTED}.") from None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise _other(path, f"it holds {_count(value)}")
    photos, labels = value
    if not isinstance(photos, list | tuple):
        raise _other(path, f"in place of the photos it holds {_count(photos)}")
    if len(photos) > MOST_PHOTOS:
        raise _other(path, f"it holds {len(photos):,} photos, and at most {MOST_PHOTOS:,} are read")
    same = np.array(list(_labels(path, labels)), np.bool_)
    if len(photos) != 2 * len(same):
        raise _other(path, f"it holds {len(photos):,} photos and {len(same):,} booleans")
    return _Content([_photo(path, at, photo) for at, photo in enumerate(photos)], same)


def _other(path: Path, found: str) -> DatasetError:
    return DatasetError(f"{WHAT} {path}: {found}. {_EXPECTED}.")


def _count(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _labels(path: Path, labels: object) -> Iterator[bool]:
    if isinstance(labels, ByteArray):
        labels = list(labels.content)
    if not isinstance(labels, list | tuple):
        raise _other(path, f"in place of the booleans it holds {_count(labels)}")
    for at, label in enumerate(labels):
        if not isinstance(label, int) or label not in (0, 1):
            raise _other(path, f"boolean {at} is another number or a {type(label).__name__}")
        yield bool(label)


def _photo(path: Path, at: int, photo: object) -> bytes:
    if isinstance(photo, ByteArray) and photo.kind == "u1":
        photo = photo.content
    if not isinstance(photo, bytes):
        raise _other(path, f"in place of photo {at} it holds {_count(photo)}")
    if len(photo) > MOST_PHOTO_BYTES:
        raise _other(path, f"photo {at} has more than {MOST_PHOTO_BYTES >> 20} MiB")
    return photo


def _digests(photos: Sequence[bytes]) -> list[str]:
    """Return the SHA-256 of each photo. A pickle may hold one photo many times: it is read once."""
    known = {id(photo): photo for photo in photos}
    digests = {key: hashlib.sha256(photo).hexdigest() for key, photo in known.items()}
    return [digests[id(photo)] for photo in photos]


def _folds(pairs: int) -> NDArray[np.intp]:
    """Return the fold of each pair: of ten parts, the first ones take what is left over."""
    sizes = np.full(FOLDS, pairs // FOLDS)
    sizes[: pairs % FOLDS] += 1
    return np.repeat(np.arange(FOLDS), sizes)


def _rows(
    digests: Sequence[str], apart: NDArray[np.bool_]
) -> tuple[list[int], NDArray[np.intp], NDArray[np.intp]]:
    """Return the place of each row's photo, and the rows of each pair's photos.

    Parameters
    ----------
    digests : sequence of str
        Of the photos in the file's order.
    apart : ndarray of shape (P,)
        Pairs whose photos have rows of their own, whatever other photos are equal to them.
    """
    first: dict[str, int] = {}
    keys = [
        place if alone else first.setdefault(digest, place)
        for place, (digest, alone) in enumerate(zip(digests, np.repeat(apart, 2), strict=True))
    ]
    places, rows = np.unique(np.array(keys, np.intp), return_inverse=True)
    return places.tolist(), rows[0::2].astype(np.intp), rows[1::2].astype(np.intp)


def _side(path: Path, photos: Sequence[bytes], digests: Sequence[str]) -> int:
    """Return the width and height of all photos, after a look at the ends of each."""
    looked_at: set[str] = set()
    side = 0
    for place, (photo, digest) in enumerate(zip(photos, digests, strict=True)):
        if digest in looked_at:
            continue
        looked_at.add(digest)
        width, height = _size(photo, f"{WHAT} {path}: {photo_name(place)}")
        side = side or width
        if width != height or width != side or width > MOST_PIXELS_A_SIDE:
            others = f", and others {side}×{side}" if width == height != side else ""
            raise DatasetError(
                f"{WHAT} {path}: {photo_name(place)} has {width}×{height} pixels{others}; expected "
                f"aligned faces of one square size, at most {MOST_PIXELS_A_SIDE}×"
                f"{MOST_PIXELS_A_SIDE}."
            )
    return side


def _size(photo: bytes, name: str) -> tuple[int, int]:
    complete = (photo.startswith(JPEG_START) and is_complete_jpeg(photo)) or (
        photo.startswith(PNG_START) and is_complete_png(photo)
    )
    size = image_size(photo) if complete else None
    if size is None:
        check_image(photo, name=name)
        raise DatasetError(f"{name} has no size in its header; expected a JPEG or PNG.")
    return size
