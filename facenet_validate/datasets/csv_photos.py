"""The photos that a CSV of pairs names: files below the folder of the CSV."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from facenet_validate.base.wording import quoted
from facenet_validate.datasets.pairs import composed


class RowError(Exception):
    """What is wrong with a row."""


class PhotoFinder:
    """Finds files below a folder, each once, and names them by their paths without links."""

    def __init__(self, folder: Path) -> None:
        self._root = os.path.realpath(folder)
        self._known: dict[str, str] = {}
        self._folders: dict[str, dict[str, str]] = {}

    def find(self, named: str) -> str:
        """Return a photo's path below the folder.

        Raises
        ------
        RowError
            If it is missing, is not a file, or lies outside the folder.
        """
        if named not in self._known:
            self._known[named] = self._look(named)
        return self._known[named]

    def _look(self, named: str) -> str:
        path = PurePosixPath(named)
        if path.is_absolute() or ".." in path.parts:
            raise RowError(
                f"{quoted(named)} leaves the folder of the CSV; expected a path below it."
            )
        if not named or "\0" in named:
            raise RowError(f"{quoted(named)} is not the name of a photo.")
        try:
            real = Path(os.path.realpath(self._found(path), strict=True))
            if real.is_relative_to(self._root) and real.is_file():
                return real.relative_to(self._root).as_posix()
        except OSError as error:
            hint = " Write paths with /." if "\\" in named else ""
            raise RowError(
                f"{quoted(named)}: no such photo in the folder of the CSV ({error.strerror}).{hint}"
            ) from None
        kind = "not a file" if real.is_relative_to(self._root) else "a link that leaves the folder"
        raise RowError(f"{quoted(named)} is {kind}.")

    def _found(self, path: PurePosixPath) -> str:
        """Return the path on the disk, where each part of it may have another Unicode form."""
        place = self._root
        for part in path.parts:
            step = f"{place}/{part}"
            if not part.isascii() and not os.path.lexists(step):
                step = f"{place}/{self._listed(place).get(composed(part), part)}"
            place = step
        return place

    def _listed(self, folder: str) -> dict[str, str]:
        """Return the names in a folder by their forms in NFC."""
        if folder not in self._folders:
            try:
                names = sorted(path.name for path in Path(folder).iterdir())
            except OSError:
                names = []
            self._folders[folder] = {composed(name): name for name in reversed(names)}
        return self._folders[folder]
