"""Photos out of a tar archive of known bytes."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path

from facenet_validate.base.digests import file_digest
from facenet_validate.base.errors import DatasetError
from facenet_validate.base.files import check_regular
from facenet_validate.base.progress import Report

_BLOCK = 4096
"""Bytes a file may take on the disk beyond its own."""


def extract(archive: Path, sha256: str, folder: Path, progress: Report | None = None) -> None:
    """Check the digest of a gzip-compressed tar archive, then write its files below a folder.

    The archive is opened only if it has the expected bytes, so what it holds is known: its size,
    the number of its files, and that no name comes twice. All members are checked before the first
    is written. Only files and folders are written, each inside the folder, without owners and
    without set-user-ID bits.

    Parameters
    ----------
    archive : Path
        The file.
    sha256 : str
        The digest it must have.
    folder : Path
        An existing, empty folder.
    progress : callable, optional
        Called as ``progress(members done, members)``.

    Raises
    ------
    DatasetError
        If the archive cannot be read, has another digest, has a member that is not a file or folder
        or lies outside the folder, or if the disk has too little room.
    """
    try:
        check_regular(archive)
        if file_digest(archive) != sha256:
            raise _refused(archive, f"not the expected file: its SHA-256 is not {sha256}")
        with tarfile.open(archive, "r:gz") as tar:
            members = [_checked(archive, member, folder) for member in tar]
            needed = sum(member.size + _BLOCK for member in members)
            check_free(folder, needed, f"the photos of {archive.name}")
            for done, member in enumerate(members, start=1):
                tar.extract(member, folder, filter="data")
                if progress is not None:
                    progress(done, len(members))
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


def check_free(folder: Path, needed: int, what: str) -> None:
    """Check that a disk has room.

    Raises
    ------
    DatasetError
        If fewer than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DatasetError(
            f"{folder}: {free / 1e6:.0f} MB free; {what} need {needed / 1e6:.0f} MB. Free space, "
            "or name another folder."
        )


def _checked(archive: Path, member: tarfile.TarInfo, folder: Path) -> tarfile.TarInfo:
    """Return a member as it may be extracted."""
    # The filter "data" lets links inside the folder pass. Photos need none.
    if not (member.isfile() or member.isdir()):
        why = f"{member.name!r} is a link, a device or another special file"
        raise _refused(archive, why)
    try:
        return tarfile.data_filter(member, str(folder))
    except tarfile.FilterError as error:
        raise _refused(archive, f"{member.name!r} may leave the folder ({error})") from None


def _refused(archive: Path, why: str) -> DatasetError:
    return DatasetError(
        f"archive {archive}: {why}; expected photos in folders. Nothing was extracted."
    )
