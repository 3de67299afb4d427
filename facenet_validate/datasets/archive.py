"""Photos out of a tar archive, trusting nothing it says.

An archive is read twice: first to the end, judging every member, then to write them. So a hostile
one leaves nothing behind. Only files and folders are taken, and of them only names and bytes: no
links, no devices, no owners, no permissions, no times.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.files import check_regular

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Limits:
    """What an archive may hold; the default is LFW several times over.

    Attributes
    ----------
    members : int
        Files and folders.
    file_bytes : int
        The largest file.
    total_bytes : int
        The archive decompressed, headers and all.
    """

    members: int = 100_000
    file_bytes: int = 16 * 2**20
    total_bytes: int = 2 * 2**30


@dataclass(frozen=True)
class Contents:
    """What an archive that was judged good holds: how many files, of how many bytes together."""

    files: int
    bytes: int


def inspect(archive: Path, limits: Limits = Limits()) -> Contents:
    """Judge a gzip-compressed tar archive without writing anything.

    Raises
    ------
    DatasetError
        If it cannot be read, is larger than the limits, or has a member that is neither a file nor
        a folder, would be written outside the folder, or collides with another. It is named.
    """
    files: set[PurePosixPath] = set()
    folders: set[PurePosixPath] = set()
    size = 0
    with _opened(archive, limits) as (_, members):
        for count, member in enumerate(members, start=1):
            if count > limits.members:
                raise _refused(archive, f"more than {limits.members} members")
            path = _path(archive, member)
            if path in files or (member.isfile() and path in folders):
                raise _refused(archive, f"{path} comes twice")
            if member.isfile():
                if member.size > limits.file_bytes:
                    raise _refused(archive, f"{path} has {member.size} bytes")
                files.add(path)
                size += member.size
            else:
                folders.add(path)
            folders.update(path.parents)
            if not files.isdisjoint(path.parents):
                raise _refused(archive, f"{path} lies in a file")
    return Contents(len(files), size)


def extract(
    archive: Path,
    folder: Path,
    limits: Limits = Limits(),
    progress: Progress | None = None,
) -> Contents:
    """Judge an archive, then write its files below an existing folder.

    Nothing that is there is overwritten.

    Parameters
    ----------
    progress : callable, optional
        Called as ``progress(files done, files)``.

    Raises
    ------
    DatasetError
        As `inspect`; and if the disk has too little room, or a file cannot be written.
    """
    contents = inspect(archive, limits)
    check_free(folder, contents.bytes + contents.files * _BLOCK, f"the photos of {archive.name}")
    done = 0
    with _opened(archive, limits) as (tar, members):
        for member in members:
            path = folder / _path(archive, member)
            if not member.isfile():
                path.mkdir(parents=True, exist_ok=True)
                continue
            data = tar.extractfile(member)
            assert data is not None  # it is a file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                shutil.copyfileobj(data, file)
            done += 1
            if progress is not None:
                progress(done, contents.files)
    return contents


def check_free(folder: Path, needed: int, what: str) -> None:
    """Check that a disk has room.

    Raises
    ------
    DatasetError
        If it has not.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DatasetError(
            f"{folder}: {free / 1e6:.0f} MB free; {what} need {needed / 1e6:.0f} MB. Free space, "
            "or name another folder."
        )


_BLOCK = 4096
"""Bytes a file may take on the disk beyond its own."""


class _Bounded:
    """A stream that ends in an error where it holds more than it may.

    tarfile takes a size of up to 8 GB at its word, and reads a header's name of that size into
    memory; so what lies between two members is bounded as well as the whole.
    """

    def __init__(self, stream: gzip.GzipFile, archive: Path, limits: Limits) -> None:
        self._stream = stream
        self._archive = archive
        self._left = limits.total_bytes
        self._of_a_member = limits.file_bytes + _HEADERS
        self._left_of_member = self._of_a_member

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        self._left_of_member -= len(data)
        if min(self._left, self._left_of_member) < 0:
            raise _refused(self._archive, "larger when decompressed than a set of photos is")
        return data

    def next_member(self) -> None:
        self._left_of_member = self._of_a_member


_HEADERS = 2**20
"""Bytes of headers a member may have, and of what tarfile reads ahead."""


@contextmanager
def _opened(archive: Path, limits: Limits) -> Iterator[tuple[tarfile.TarFile, _Members]]:
    """Open an archive for one pass; no error but DatasetError leaves the block."""
    try:
        check_regular(archive)
        with archive.open("rb") as file, gzip.open(file) as data:
            stream = _Bounded(data, archive, limits)
            source: Any = stream  # tarfile asks for no more than read
            with tarfile.open(fileobj=source, mode="r|") as tar:
                yield tar, _each(tar, stream)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise DatasetError(
            f"archive {archive}: not a gzip-compressed tar archive, or damaged ({error}). Download "
            "it again."
        ) from None
    except OSError as error:
        raise DatasetError(
            f"archive {archive}: cannot be extracted ({error.filename or 'writing'}: "
            f"{error.strerror})."
        ) from None


_Members = Iterator[tarfile.TarInfo]


def _each(tar: tarfile.TarFile, stream: _Bounded) -> _Members:
    for member in tar:
        stream.next_member()
        yield member


def _path(archive: Path, member: tarfile.TarInfo) -> PurePosixPath:
    """Return where a member belongs, relative to the folder."""
    name = member.name
    path = PurePosixPath(name)
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or member.sparse:
        raise _refused(archive, f"{name!r} is a link, a device or another special file")
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        raise _refused(archive, f"{name!r} may leave the folder")
    if member.isfile() and not path.parts:
        raise _refused(archive, "a file without a name")
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in path.parts):
        raise _refused(archive, f"{name[:_LONGEST_NAME]!r}… is too long a name")
    return path


_LONGEST_NAME = 255


def _refused(archive: Path, why: str) -> DatasetError:
    return DatasetError(
        f"archive {archive}: {why}; expected photos in folders. Nothing was extracted."
    )
