"""The lock of one entry, and what only the holder of the lock may do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from uuid import uuid4

from filelock import FileLock, Timeout

BUILDING = ".building-"
REPLACED = ".replaced-"
REMOVING = ".removing-"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an entry, and wait for it without a limit. The entry need not exist."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock_path(folder)):
        # Only the holder of this lock builds here, so other builds were given up.
        for left in folder.parent.glob(f"{BUILDING}{folder.name}-*"):
            rmtree(left, ignore_errors=True)
        yield


@contextmanager
def locked_if_free(folder: Path) -> Iterator[bool]:
    """Hold the lock of an entry if nobody else holds it; yield whether it is held.

    If the entry is gone in the end, the lock's file is removed too, while the lock is held. Another
    process that opened the file before and locks it afterwards finds that it was removed, and opens
    a new one.
    """
    lock = FileLock(_lock_path(folder))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
        if not os.path.lexists(folder):
            with suppress(OSError):
                _lock_path(folder).unlink()
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Return whether a process builds or removes an entry now; also if that cannot be found out."""
    if not os.path.lexists(_lock_path(folder)):
        return False
    lock = FileLock(_lock_path(folder))
    try:
        lock.acquire(blocking=False)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def _lock_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def publish(made: Path, folder: Path, *, keep: bool) -> None:
    """Rename a finished folder to its place; the caller holds the lock.

    An entry that is there is moved aside first, and then removed unless it is to be kept. A kill
    between the two renames leaves no entry, so the next process that asks builds one.

    Parameters
    ----------
    made : Path
        The finished folder.
    folder : Path
        The entry's place.
    keep : bool
        Whether to keep what is moved aside: a damaged entry is kept.
    """
    if os.path.lexists(folder):
        aside = beside(folder, REPLACED if keep else REMOVING)
        folder.rename(aside)
        made.rename(folder)
        if not keep:
            rmtree(aside, ignore_errors=True)
    else:
        made.rename(folder)


def beside(folder: Path, prefix: str) -> Path:
    """Return a new path beside an entry; the entry's name in it leads to the lock."""
    return folder.with_name(f"{prefix}{folder.name}-{uuid4().hex}")


def mark_used(folder: Path) -> bool:
    """Note that an entry is used, if the cache can be written; return whether it is there."""
    try:
        os.utime(folder)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # the cache is read-only, or belongs to another user
    return True


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
