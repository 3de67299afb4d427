"""Files: which paths may be opened, and how a file is written whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

CONFLICT_MARKERS = ("<<<<<<<", "|||||||", "=======", ">>>>>>>")
"""What a line begins with where a version control system left a merge conflict."""


def is_regular(path: Path) -> bool:
    """Return whether a path leads to a regular file.

    Ask before opening a file that a user named: opening a pipe waits for its writer, and a device
    may never end.

    Raises
    ------
    OSError
        If the path cannot be looked at, for example because nothing is there.
    """
    return stat.S_ISREG(path.stat().st_mode)


def check_regular(path: Path) -> None:
    """Check that a path leads to a regular file, before it is opened.

    Raises
    ------
    OSError
        If it leads to something else, which ``strerror`` names, or cannot be looked at.
    """
    if is_regular(path):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(path.stat().st_mode), "a device")
    raise OSError(errno.EINVAL, f"it is {kind}, expected a file", str(path))


def write_whole(
    path: Path,
    content: bytes | Callable[[IO[bytes]], object],
    *,
    durable: bool = True,
    name: str = "",
) -> None:
    """Write a file in one step: the path holds the old content or the new one, never a part.

    The content goes to a temporary file beside it first, which then takes the path's name.

    Parameters
    ----------
    path : Path
        The file. Its folder exists.
    content : bytes or callable
        What it will hold, or what writes that to an open file.
    durable : bool
        Whether the old file or the new one survives a crash of the machine too. That takes
        milliseconds a file: small files of a cache, which are checked when read, go without.
    name : str
        Of the file beside it, for a caller who holds a lock: what a killed process left there is
        overwritten. A name of its own by default.

    Raises
    ------
    OSError
        If it cannot be written. The path then holds what it held before.
    """
    # Short, since the file's own name may be as long as names can be.
    temporary = path.with_name(name or f".{uuid4().hex[:12]}")
    try:
        with temporary.open("wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        # Where the file could not be made it cannot be removed, and the first error matters.
        with suppress(OSError):
            temporary.unlink()
    if durable:
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    # The new file is in place. A file system that cannot sync a folder does not undo that.
    with suppress(OSError):
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
