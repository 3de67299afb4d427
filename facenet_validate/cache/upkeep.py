"""Check a cache and remove parts of it, while other processes use it.

An entry that a process builds or has used within the hour is kept, unless the caller asks for its
removal. An entry is renamed under its lock before it is deleted, so a reader finds all of it or
nothing. A removal that was killed after the rename leaves a folder that the next `prunable` names.
A reader notes the use of an entry between verifying and opening it; a removal that finds such a
note after its rename undoes the rename. Times are the file system's: where a clock ran ahead, an
entry counts as just used until that time comes.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from shutil import rmtree

from facenet_validate.base.errors import CacheError
from facenet_validate.cache import manifest
from facenet_validate.cache.contents import Item
from facenet_validate.cache.locks import REMOVING, beside, is_locked, locked_if_free

RECENT = 3600.0
"""Seconds for which an entry is kept after its last use."""

ABANDONED = 86400.0
"""Seconds after which an unfinished file without a lock is left over: no build takes a day."""

_GUARDED = re.compile(r"\.(?:building|removing|replaced)-(.+)-[0-9a-f]{32}")
_LOCK = re.compile(r"\.([0-9a-f]{64})\.lock")


@dataclass(frozen=True)
class Checked:
    """An item and what is wrong with it; an empty text if every byte is as its manifest says."""

    item: Item
    damage: str


def verify(items: Sequence[Item], checks: Mapping[str, Callable[[Path], str]]) -> Iterator[Checked]:
    """Check entries by their digests, and data sets' folders as their owners do.

    Parameters
    ----------
    items : sequence of Item
        From `contents`. Items of another version, set aside or left over are passed by.
    checks : mapping
        By kind, for data sets' folders: returns what is wrong with a folder, or an empty text.
    """
    for item in items:
        if item.state == "entry":
            yield Checked(item, manifest.verified(item.path, item.kind)[1])
        elif item.state == "folder" and item.kind in checks:
            yield Checked(item, checks[item.kind](item.path))


@dataclass(frozen=True)
class Removal:
    """An item to remove.

    Attributes
    ----------
    item : Item
        The item.
    why : str
        The reason, for people.
    unused_since : float
        The item stays if it was used later than this, in seconds since 1970.
    """

    item: Item
    why: str
    unused_since: float = inf


def prunable(
    items: Sequence[Item],
    *,
    now: float,
    older_than: float | None = None,
    keep_bytes: float | None = None,
) -> tuple[Removal, ...]:
    """Return what can be removed: leftovers, damaged entries set aside, other versions' entries.

    Parameters
    ----------
    items : sequence of Item
        From `contents`.
    now : float
        In seconds since 1970.
    older_than : float, optional
        Also items that were not used for so many seconds, less than an hour included.
    keep_bytes : float, optional
        Also the items used longest ago, until the rest has no more bytes than this.
    """
    recent = now - (RECENT if older_than is None else min(RECENT, older_than))
    removals = [Removal(item, "left by a killed process") for item in items if _left(item, now)]
    for item in items:
        if item.state == "set aside":
            removals.append(Removal(item, "damaged, replaced since"))
        elif item.state == "other version" and item.used <= recent:
            removals.append(Removal(item, "of another version's layout", recent))
    total = 0
    kept = [item for item in items if item.state in ("entry", "folder")]
    for item in sorted(kept, key=lambda item: -item.used):
        total += item.size
        if older_than is not None and item.used <= now - older_than:
            removals.append(Removal(item, "not used for longer than asked", now - older_than))
        elif keep_bytes is not None and total > keep_bytes and item.used <= recent:
            removals.append(Removal(item, "beyond the size to keep", recent))
    return tuple(removals)


def _left(item: Item, now: float) -> bool:
    if item.state != "left over":
        return False
    owner = _owner(item)
    return now - item.used > ABANDONED if owner is None else not is_locked(owner)


def _owner(item: Item) -> Path | None:
    """Return the entry whose lock guards an item; None if no lock does."""
    if item.state not in ("left over", "set aside"):
        return item.path
    guarded = _GUARDED.fullmatch(item.name)
    return item.path.with_name(guarded[1]) if guarded else None


def remove(removal: Removal) -> bool:
    """Remove an item unless it is in use; return whether it is gone.

    Raises
    ------
    CacheError
        If it cannot be removed.
    """
    path, owner = removal.item.path, _owner(removal.item)
    try:
        if owner is None:
            _delete(path)
            return True
        with locked_if_free(owner) as ours:
            if not ours or _used(path) > removal.unused_since:
                return False
            if owner == path:
                aside = beside(path, REMOVING)
                path.rename(aside)
                if _used(aside) > removal.unused_since:
                    aside.rename(path)
                    return False
                path = aside
            _delete(path)
            return True
    except FileNotFoundError:
        return True  # somebody else was faster
    except OSError as error:
        raise CacheError(f"{path} cannot be removed ({error.strerror}).") from None


def _used(path: Path) -> float:
    return path.lstat().st_mtime


def _delete(path: Path) -> None:
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()  # also a pipe, which rmtree would wait to open
        return
    rmtree(path, ignore_errors=True)
    if os.path.lexists(path):
        rmtree(path)  # says why


def remove_free_locks(root: Path) -> int:
    """Remove the lock files that nobody holds and whose entries are gone; return how many."""
    removed = 0
    for path in _globbed(root, "*/.*.lock", "v*/*/.*.lock"):
        entry = _LOCK.fullmatch(path.name)
        if entry and not os.path.lexists(path.with_name(entry[1])):
            with suppress(OSError), locked_if_free(path.with_name(entry[1])):
                pass  # leaving the context removes the file
            removed += not os.path.lexists(path)
    return removed


def _globbed(root: Path, *patterns: str) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        with suppress(OSError):  # no lock can be removed from a folder that cannot be read
            found += root.glob(pattern)
    return found
