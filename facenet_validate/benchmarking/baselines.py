"""Stored baselines: a file a configuration and machine, an accepted session a line.

The files are committed and reviewed, so they are small, and a line that stays is kept byte for
byte.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from facenet_validate.base.errors import BaselineError
from facenet_validate.base.files import CONFLICT_MARKERS, write_whole
from facenet_validate.benchmarking.sessions import Identity, Session, from_line, to_line

MAXIMUM_SESSIONS = 20
"""Most sessions a file holds."""

FIRST_SESSIONS = 5
"""The first sessions of an epoch: kept to the last, because slow creep is judged against them."""

CONFLICT = (
    "this is a merge conflict; keep the lines of both sides, delete the marker lines and order the "
    "rest by recorded_at"
)
_ATTRIBUTES = ".gitattributes"
_KEEP_BOTH_SIDES = b"*.jsonl merge=union\n"
"""For git: lines that two branches added are both kept. `BaselineStore.load` puts them in order."""

_NAME_PART = re.compile(r"[a-z0-9][a-z0-9._-]*", re.IGNORECASE)


def device_folder(name: str) -> str:
    """Return the name of a device's folder: readable, safe, and different for different names.

    Letters and digits are kept in lower case and whatever is between them becomes a hyphen; the
    eight digits behind come from the SHA-256 of the name, so that ``A-B`` and ``A B`` differ.
    Spaces are counted once, since CPUs pad their names with them.

    Raises
    ------
    BaselineError
        If the name is empty.

    Examples
    --------
    >>> device_folder("Intel(R) Xeon(R) Processor")
    'intel-xeon-processor-f94a4a25'
    """
    normal = " ".join(name.split())
    if not normal:
        msg = "the device has no name, so its baselines have no folder"
        raise BaselineError(msg)
    readable = re.sub(r"\((r|tm|c)\)", " ", normal.lower())
    words = re.sub(r"[^a-z0-9]+", "-", readable).strip("-")[:60].strip("-") or "device"
    return f"{words}-{hashlib.sha256(normal.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class _Line:
    text: str
    session: Session


class BaselineStore:
    """Reads and extends the baseline files below one folder.

    Parameters
    ----------
    root : Path
        The ``baselines`` folder; made when the first session is appended.
    lock_timeout : float
        Seconds to wait for another process that is writing the same file.
    """

    def __init__(self, root: Path, lock_timeout: float = 60.0) -> None:
        self.root = root
        self._lock_timeout = lock_timeout

    def path_for(self, identity: Identity) -> Path:
        """Return ``<root>/<device>/<backend>-<precision>-b<batch>.jsonl``.

        Sessions that differ in target, shape, scope or protocol share a file; their identities
        keep them apart.

        Raises
        ------
        BaselineError
            If backend or precision cannot be part of a file's name, or the device has no name.
        """
        for part in (identity.backend, identity.precision):
            if not _NAME_PART.fullmatch(part):
                msg = f"{part!r} cannot be part of a baseline file's name"
                raise BaselineError(msg)
        name = f"{identity.backend}-{identity.precision}-b{identity.batch}.jsonl"
        return self.root / device_folder(identity.device) / name

    def load(self, identity: Identity) -> tuple[Session, ...]:
        """Return every session of the file that `identity` belongs to, oldest first.

        Sessions of other identities are among them: `stored_gate` refuses those and says why. A
        line that is there twice, as after a merge that kept both sides, counts once.

        Raises
        ------
        BaselineError
            If the file cannot be read, holds a merge conflict, a corrupt line or one of a newer
            schema. The message names the file and the line.
        """
        return tuple(line.session for line in _read(self.path_for(identity)))

    def append(self, session: Session) -> Path:
        """Add a session to its file, and return the file.

        A file holds `MAXIMUM_SESSIONS`; the oldest beyond them are dropped. The session just added
        and the first five of each identity's newest epoch are kept, so a configuration that has the
        file to itself keeps the first five of its epoch and the newest fifteen. Four or more
        configurations may fill the file with their first five; then the oldest of all are dropped.

        The file is replaced in one step under a lock (``.<name>.lock`` beside it, which stays), so
        a process that is killed leaves either the old file or the new one, and two that append
        lose nothing. ``.gitattributes`` is written beside the folders of devices where there is
        none, so that two branches that record into one file are merged without a conflict.

        Raises
        ------
        BaselineError
            If the file cannot be loaded, locked or written; it is then left as it was.
        """
        path = self.path_for(session.identity)
        added = _Line(to_line(session), session)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not (self.root / _ATTRIBUTES).exists():
                write_whole(self.root / _ATTRIBUTES, _KEEP_BOTH_SIDES)
            with FileLock(path.with_name(f".{path.name}.lock"), timeout=self._lock_timeout):
                lines = [line for line in _read(path) if line.text != added.text]
                kept = _trimmed(_ordered([*lines, added]), added)
                write_whole(
                    path,
                    "".join(f"{line.text}\n" for line in kept).encode(),
                    name=f".{path.name}.tmp",
                )
        except Timeout as error:
            msg = (
                f"{path}: another process has held its lock for {self._lock_timeout:g} s; "
                "wait for it to end and record again"
            )
            raise BaselineError(msg) from error
        except OSError as error:
            msg = f"{path}: cannot be written ({error.strerror or error}); nothing was changed"
            raise BaselineError(msg) from error
        return path


def read_lines(content: bytes) -> Iterator[tuple[int, str, Session | BaselineError]]:
    """Yield the number, the text and the session of each line of a baseline file.

    Empty lines are left out. In place of a session there may be an error, which says why there is
    none: `CONFLICT`, no UTF-8, or what `from_line` says.
    """
    # Not splitlines(): JSON text may hold the other characters that it splits at.
    for number, raw in enumerate(content.split(b"\n"), start=1):
        try:
            text = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            why = "this is not UTF-8; restore the file from version control"
            yield number, "", BaselineError(why)
            continue
        if text.startswith(CONFLICT_MARKERS):
            yield number, text, BaselineError(CONFLICT)
        elif text:
            try:
                yield number, text, from_line(text)
            except BaselineError as error:
                yield number, text, error


def _read(path: Path) -> list[_Line]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise BaselineError(msg) from error
    lines: dict[str, _Line] = {}
    for number, text, session in read_lines(content):
        if isinstance(session, BaselineError):
            msg = f"{path}:{number}: {session}"
            raise BaselineError(msg) from session
        lines[text] = _Line(text, session)
    return _ordered(list(lines.values()))


def _ordered(lines: list[_Line]) -> list[_Line]:
    return sorted(lines, key=lambda line: line.session.recorded())


def _trimmed(lines: list[_Line], added: _Line) -> list[_Line]:
    surplus = len(lines) - MAXIMUM_SESSIONS
    if surplus <= 0:
        return lines
    by_identity: dict[Identity, list[_Line]] = {}
    for line in lines:
        by_identity.setdefault(line.session.identity, []).append(line)
    protected = set()
    for group in by_identity.values():
        newest = max(line.session.epoch for line in group)
        epoch = [line.text for line in group if line.session.epoch == newest]
        protected.update(epoch[:FIRST_SESSIONS])
    candidates = [line.text for line in lines if line is not added]
    candidates.sort(key=protected.__contains__)  # stable: the oldest unprotected line is first
    dropped = set(candidates[:surplus])
    return [line for line in lines if line.text not in dropped]
