"""The photos in a folder and in those below it, whatever the layout."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from facenet_validate.base.errors import DatasetError

ENDINGS = (".jpg", ".jpeg", ".png")

MOST_VISITS = 100_000
"""Repeated visits to folders, by links, after which the links count as endless."""

Identity = tuple[int, int]
"""Device and inode of a folder: the same under every path to it."""


@dataclass(frozen=True)
class PhotoFiles:
    """The entries of a folder that have a photo's name.

    Attributes
    ----------
    paths : tuple of Path
        The files, sorted.
    no_files : tuple of Path
        Entries that are not files: pipes, devices, links that lead nowhere; sorted.
    """

    paths: tuple[Path, ...]
    no_files: tuple[Path, ...]


def photos_below(folder: Path) -> PhotoFiles:
    """Return the photos in a folder and in those below it.

    Hidden files and folders are ignored. Links to folders are followed, except to a folder that
    holds the link.

    Raises
    ------
    DatasetError
        If there is no such folder, a folder cannot be read, or links to folders lead to each other
        endlessly.
    """
    try:
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder. Expected aligned faces, 160×160.")
        found = sorted(_Walk(folder).below(folder, ()))
    except OSError as error:
        where = error.filename or folder
        raise DatasetError(f"{where}: cannot be read ({error.strerror}).") from None
    return PhotoFiles(
        tuple(path for path, is_file in found if is_file),
        tuple(path for path, is_file in found if not is_file),
    )


@dataclass
class _Walk:
    """A walk through folders that remembers the folders it visited."""

    start: Path
    seen: set[Identity] = field(default_factory=set)
    again: int = 0

    def below(self, folder: Path, above: tuple[Identity, ...]) -> Iterator[tuple[Path, bool]]:
        """Yield every entry with a photo's name, and whether it is a file."""
        status = folder.stat()
        identity = status.st_dev, status.st_ino
        if identity in above:
            return
        self.again += identity in self.seen
        if self.again > MOST_VISITS:
            raise DatasetError(
                f"{self.start}: links in it lead to the same folders more than {MOST_VISITS} "
                "times. Name a folder without links to folders that hold each other."
            )
        self.seen.add(identity)
        with os.scandir(folder) as entries:
            listed = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in listed:
            path = folder / entry.name
            if leads_to(entry.is_dir):
                yield from self.below(path, (*above, identity))
            elif path.suffix.lower() in ENDINGS:
                yield path, leads_to(entry.is_file)


def leads_to(kind: Callable[[], bool]) -> bool:
    """Return whether an entry of a folder is of a kind; False for a link to itself.

    Parameters
    ----------
    kind : callable
        The entry's ``is_file`` or ``is_dir``.
    """
    try:
        return kind()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False
