"""A verification set that this package writes into the cache: whole or absent, verified."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from filelock import FileLock

from facenet_validate.base.errors import CacheError
from facenet_validate.base.progress import Report
from facenet_validate.cache import Cache
from facenet_validate.datasets.sums import SUMS, changed_file, write_sums

Write = Callable[[Path, Report | None], None]
"""Writes a whole set into a folder, and reports progress."""


def written_folder(
    cache: Cache, folder: Path, write: Write, what: str, progress: Report | None = None
) -> Path:
    """Return a folder of the cache with a set in it, writing the set if needed.

    Every file is compared with the folder's list of digests at every use. Processes wait for the
    one that writes.

    Parameters
    ----------
    cache : Cache
        Whose folder it is.
    folder : Path
        Its name tells everything that decides its content.
    write : callable
        Writes the set; called with an empty folder.
    what : str
        Names the set in messages.
    progress : callable, optional
        Handed to `write`.

    Raises
    ------
    CacheError
        If the folder cannot be written.
    """
    if not cache.rebuild and _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if cache.rebuild or not _is_whole(folder):
                _write(folder, write, progress)
    except OSError as error:
        raise CacheError(
            f"{what} {folder}: cannot be written ({error.strerror}). Free space or name "
            "another folder with --facenet-cache."
        ) from None
    return folder


def _write(folder: Path, write: Write, progress: Report | None) -> None:
    staging = folder.with_name(f".drawing-{uuid4().hex}")
    staging.mkdir()
    try:
        write(staging, progress)
        write_sums(staging)
        if _is_whole(folder) and (folder / SUMS).read_bytes() == (staging / SUMS).read_bytes():
            return
        if folder.exists():
            # A damaged folder, or somebody else's, is set aside rather than deleted.
            folder.rename(staging.with_name(staging.name.replace(".drawing-", ".replaced-")))
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        return not changed_file(folder)
    except (OSError, ValueError):  # no folder, no list, or a list that is not text
        return False
