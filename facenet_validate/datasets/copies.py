"""Files of equal bytes: one photo under several names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.digests import file_digest
from facenet_validate.base.files import check_regular
from facenet_validate.datasets.verification_set import PackedPhotos

_TAIL = 512


def equal_files(paths: Iterable[Path]) -> list[tuple[Path, ...]]:
    """Return groups of files of equal bytes, two or more in each.

    Lengths are compared first, then the last bytes; only files that still agree are read. Empty
    files and files that cannot be read are left out: whoever uses a file reports its errors.

    Parameters
    ----------
    paths : iterable of Path
        Files. Groups and the files in them are in this order.
    """
    groups = _parted([list(dict.fromkeys(paths))], _length)
    groups = _parted(groups, _tail)
    return [tuple(group) for group in _parted(groups, file_digest)]


def equal_to(paths: Iterable[Path], packed: Iterable[PackedPhotos]) -> set[Path]:
    """Return the files whose bytes are those of a photo inside another set's file.

    Only files of the length of such a photo are read. Files that cannot be read are left out.
    """
    known: defaultdict[int, set[str]] = defaultdict(set)
    for photos in packed:
        for encoded, digest in zip(photos.encoded, photos.digests, strict=True):
            known[len(encoded)].add(digest)
    found: set[Path] = set()
    for path in paths if known else ():
        with suppress(OSError):
            digests = known.get(_length(path) or 0)
            if digests and file_digest(path) in digests:
                found.add(path)
    return found


def copy_pairs(
    groups: Iterable[Sequence[Path]],
    names: Sequence[str],
    paths: Sequence[Path],
    left: NDArray[np.intp],
    right: NDArray[np.intp],
) -> tuple[str, ...]:
    """Return the pairs of a photo and its own copy.

    Parameters
    ----------
    groups : iterable of sequences of Path
        Files of equal bytes.
    names, paths : sequences
        The photos.
    left, right : ndarray of shape (P,)
        Rows of each pair's photos.
    """
    group_of = {path: number for number, group in enumerate(groups) for path in group}
    numbers = np.array([group_of.get(path, -1 - row) for row, path in enumerate(paths)], np.intp)
    equal = np.flatnonzero(numbers[left] == numbers[right])
    return tuple(f"{names[left[pair]]} = {names[right[pair]]}" for pair in equal)


def _parted(groups: list[list[Path]], key: Callable[[Path], Hashable | None]) -> list[list[Path]]:
    """Split groups by a key, and drop parts of one file."""
    parts: list[list[Path]] = []
    for group in groups:
        by_key: defaultdict[Hashable, list[Path]] = defaultdict(list)
        for path in group:
            try:
                value = key(path)
            except OSError:
                continue
            if value is not None:
                by_key[value].append(path)
        parts += [part for part in by_key.values() if len(part) > 1]
    return parts


def _length(path: Path) -> int | None:
    check_regular(path)
    return path.stat().st_size or None


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        file.seek(max(0, length - _TAIL))
        return file.read(_TAIL)
