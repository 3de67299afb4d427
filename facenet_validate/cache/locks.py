"""The lock of one entry, and what its holder may take for granted."""

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
    """Hold the lock of an entry, which need not exist, waiting for it as long as it takes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock_path(folder)):
        # Whoever built here before held this lock: what they left, they left for good.
        for left in folder.parent.glob(f"{BUILDING}{folder.name}-*"):
            rmtree(left, ignore_errors=True)
        yield


@contextmanager
def locked_if_free(folder: Path) -> Iterator[bool]:
    """Hold the lock of an entry if nobody else does, and say which.

    The lock's file goes with the last of the entry. It is unlinked while it is held; who opened
    it before and locks it after sees that it has no name any more, and starts again.
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
    """Return whether somebody builds or removes an entry now, as far as that can be told."""
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
    """Rename a whole folder to its place, under the lock.

    What was there is moved aside first: a good one goes, a damaged one is kept. A kill between the
    two renames leaves no entry, so the next who asks builds one.
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
    """Return a new name beside an entry, by which its lock is found again."""
    return folder.with_name(f"{prefix}{folder.name}-{uuid4().hex}")


def mark_used(folder: Path) -> bool:
    """Note that an entry is used, if that can be written; return whether it is there at all."""
    try:
        os.utime(folder)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # a cache that is read only, or somebody else's
    return True


def sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
