"""The report's folder: what stands in it before, during and after a run.

A run that dies leaves no finished report. An older one that says pass must not stand in its place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

FILENAME = "results.json"
PREVIOUS = "previous"
UNFINISHED = "unfinished"
"""The verdict of a report whose run has not come to its end."""


@dataclass(frozen=True)
class ReportFolder:
    """A report's folder during a run, and what it held before.

    Attributes
    ----------
    path : Path
        The folder.
    before : mapping
        File → its bytes before the run; None where there was no such file.
    made : tuple of Path
        Folders that did not exist before the run, the inner ones first.
    """

    path: Path
    before: Mapping[Path, bytes | None]
    made: tuple[Path, ...]

    @classmethod
    def begin(cls, path: Path, unfinished: Mapping[str, Any]) -> ReportFolder:
        """Write an unfinished report; a finished one moves to ``previous/``.

        Parameters
        ----------
        path : Path
            The folder. It is made where it does not exist.
        unfinished : mapping
            The document that stands until the run has come to its end. Its verdict is `UNFINISHED`.

        Raises
        ------
        OSError
            If a file cannot be read or written. The older report is then where it was.
        """
        report, previous = path / FILENAME, path / PREVIOUS / FILENAME
        made = tuple(folder for folder in (previous.parent, path, *path.parents) if not _is(folder))
        before = {report: _content(report), previous: _content(previous)}
        path.mkdir(parents=True, exist_ok=True)
        older = before[report]
        if older is not None and _is_finished(older):
            previous.parent.mkdir(exist_ok=True)
            write_whole(previous, older)
        write_whole(report, _text(unfinished))
        return cls(path, before, made)

    def finish(self, document: Mapping[str, Any]) -> None:
        """Write the finished report in the place of the unfinished one.

        Raises
        ------
        OSError
            If it cannot be written. The unfinished one then stands.
        """
        write_whole(self.path / FILENAME, _text(document))

    def put_back(self) -> None:
        """Leave the folder as it was before the run.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        for file, content in self.before.items():
            if content is None:
                file.unlink(missing_ok=True)
            else:
                write_whole(file, content)
        for folder in self.made:
            with suppress(OSError):  # something else is in it, or it was never made
                folder.rmdir()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is whole or, whatever interrupts, as it was.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}-{uuid4().hex}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _text(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _is_finished(content: bytes) -> bool:
    """Say whether a file is anything but a report of a run that did not come to its end."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return True
    return not (isinstance(document, dict) and document.get("verdict") == UNFINISHED)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is(folder: Path) -> bool:
    return os.path.lexists(folder)
