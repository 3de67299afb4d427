"""The report's folder: what stands in it before, during and after a run.

A run that dies leaves no finished report. An older one that says pass must not stand in its place.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.files import is_regular, write_whole

FILENAME = "results.json"
PAGE = "report.html"
"""The same to look at."""

PREVIOUS = "previous"
USAGE_ERROR = 4
"""Exit status of a run that ended before it began."""

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
    unfinished : bytes
        The report that this run began with.
    """

    path: Path
    before: Mapping[Path, bytes | None]
    made: tuple[Path, ...]
    unfinished: bytes

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
        begun = _text({**unfinished, "run": uuid4().hex})
        report, previous = path / FILENAME, path / PREVIOUS / FILENAME
        made = tuple(folder for folder in (previous.parent, path, *path.parents) if not _is(folder))
        pages = path / PAGE, path / PREVIOUS / PAGE
        before = {file: _content(file) for file in (report, previous, *pages)}
        path.mkdir(parents=True, exist_ok=True)
        _set_aside(path, before[report])
        write_whole(report, begun)
        pages[0].unlink(missing_ok=True)  # it is of another run than this one
        return cls(path, before, made, begun)

    def finish(self, document: Mapping[str, Any]) -> None:
        """Write the finished report in the place of the unfinished one.

        What another run finished meanwhile moves to ``previous/``.

        Raises
        ------
        OSError
            If it cannot be written. The unfinished one then stands.
        """
        if not self._is_ours():
            _set_aside(self.path, _content(self.path / FILENAME))
        write_whole(self.path / FILENAME, _text(document))

    def put_back(self) -> None:
        """Leave the folder as it was before the run, unless another run has written there.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        if not self._is_ours():
            return
        for file, content in self.before.items():
            if content is None:
                file.unlink(missing_ok=True)
            else:
                write_whole(file, content)
        for folder in self.made:
            with suppress(OSError):  # something else is in it, or it was never made
                folder.rmdir()

    def _is_ours(self) -> bool:
        return _content(self.path / FILENAME) == self.unfinished


def _set_aside(path: Path, report: bytes | None) -> None:
    """Keep a finished report and its page in ``previous/``."""
    if report is None or not _is_finished(report):
        return
    kept, page = path / PREVIOUS, _content(path / PAGE)
    kept.mkdir(exist_ok=True)
    write_whole(kept / FILENAME, report)
    if page is None:
        (kept / PAGE).unlink(missing_ok=True)
    else:
        write_whole(kept / PAGE, page)


def _text(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def _is_finished(content: bytes) -> bool:
    """Say whether a file is anything but a report of a run that judged nothing.

    That is one which did not come to its end, or which a usage error ended before it began.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return True
    if not isinstance(document, dict):
        return True
    return not (
        document.get("verdict") == UNFINISHED
        or (document.get("exit_status") == USAGE_ERROR and not document.get("gates"))
    )


def _content(path: Path) -> bytes | None:
    try:
        # Before it is opened, since opening a pipe waits for its writer.
        if not is_regular(path):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _is(folder: Path) -> bool:
    return os.path.lexists(folder)


def check_report_folder(folder: Path) -> None:
    """Check that a report could be written, before a run that asks for one.

    Raises
    ------
    SettingsError
        If the folder cannot be made or written to.
    """
    made = [one for one in (folder, *folder.parents) if not os.path.lexists(one)]
    probe = folder / f".writable-{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        for one in made:
            one.rmdir()
    except OSError as error:
        raise SettingsError(
            f"report folder {folder} cannot be written ({error.strerror}). Name another with "
            "--facenet-report."
        ) from None
