"""Reads sessions from baselines, pytest-benchmark's files and ``results.json``.

Folders are searched, because CI systems unpack artefacts into folders of their own making. Links
that lead out of the folder are not followed, and no file above `MAXIMUM_BYTES` is read: artefacts
may come from anywhere. What cannot be read is a `Problem` with its file and line; whatever stands
beside it is read all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import BaselineError
from facenet_validate.base.files import is_regular
from facenet_validate.benchmarking.baselines import CONFLICT, read_lines
from facenet_validate.benchmarking.sessions import Session, from_mapping

MAXIMUM_BYTES = 64 * 2**20
"""Size of the largest file that is read."""

DEFAULT_FOLDERS = ("baselines", ".benchmarks")
"""Where sessions are looked for when no source is named, below the current folder."""

# Files with these names are ours or pytest-benchmark's: one that is no JSON is damaged. Any other
# JSON file in a folder of artefacts is passed over unless it holds sessions.
_EXPECTED_NAME = re.compile(r"results\.json|[0-9]{4}_.*\.json")


@dataclass(frozen=True)
class Problem:
    """What could not be read.

    Attributes
    ----------
    where : str
        The file, with a line or the place in the document.
    why : str
        What was found and what to do.
    """

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


@dataclass(frozen=True)
class Found:
    """A session and where it was found.

    Attributes
    ----------
    session : Session
        As it was stored.
    accepted : bool
        Whether it stands in a baseline. Only then its epoch counts: somebody decided it. A run's
        report says epoch 1 whatever epoch the run belongs to.
    origin : Path
        The file.
    id : str
        SHA-256 of what was measured, 64 hexadecimal digits: see `session_id`.
    """

    session: Session
    accepted: bool
    origin: Path
    id: str


@dataclass
class Reading:
    """Everything that some sources hold.

    Attributes
    ----------
    found : dict of str to Found
        Sessions by their id, each once.
    problems : list of Problem
        What could not be read.
    files : int
        Files that were read.
    without_session : int
        Measurements of other tests or of earlier versions, which hold no session.
    """

    found: dict[str, Found] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0
    without_session: int = 0

    def add(self, session: Session, origin: Path, *, accepted: bool) -> None:
        """Add a session, once: of two copies the accepted one is kept."""
        new = Found(session, accepted, origin, session_id(session))
        known = self.found.get(new.id)
        if known is None or (accepted, session.epoch) > (known.accepted, known.session.epoch):
            self.found[new.id] = new


def session_id(session: Session) -> str:
    """Return a digest of a session's identity and blocks: equal for copies of one measurement.

    Other fields are left out. Epoch and reason are decided when a session is accepted, so a run's
    report lacks them; the time of recording differs between the files of one run. Two measurements
    never agree in every block to the nanosecond.
    """
    blocks = (session.latency_seconds, *session.block_seconds)
    content = session.identity.key.encode("utf-8", "backslashreplace")
    return hashlib.sha256(content + struct.pack(f"<{len(blocks)}d", *blocks)).hexdigest()


def default_sources(folder: Path) -> tuple[Path, ...]:
    """Return `DEFAULT_FOLDERS` that exist below `folder`."""
    return tuple(folder / name for name in DEFAULT_FOLDERS if _is_folder(folder / name))


def read(sources: Sequence[Path]) -> Reading:
    """Read every session of some files and folders.

    Parameters
    ----------
    sources : sequence of Path
        ``.jsonl`` baselines, JSON files of pytest-benchmark, ``results.json``, or folders that hold
        any of them at any depth.
    """
    reading = Reading()
    seen: set[str] = set()
    for source in sources:
        # A file that is missing, or a loop of links, becomes a problem when it is opened.
        files = _below(source, reading.problems) if _is_folder(source) else [source]
        for path in files:
            resolved = os.path.realpath(path)
            if resolved in seen:
                continue
            seen.add(resolved)
            _read_file(path, reading, named=path == source)
    return reading


# os.path, because the methods of Path raise where a link leads to itself, a name is too long or a
# folder cannot be searched.


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112


def _is_inside(link: Path, folder: str) -> bool:
    return Path(os.path.realpath(link)).is_relative_to(folder)


def _below(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """Yield the JSON files of a folder, in the order of their names."""
    inside = os.path.realpath(folder)

    def failed(error: OSError) -> None:
        problems.append(Problem(str(error.filename), f"cannot be read ({error.strerror})"))

    for parent, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in sorted(names):
            path = Path(parent, name)
            if path.suffix not in (".json", ".jsonl"):
                continue
            if not os.path.islink(path) or _is_inside(path, inside):  # noqa: PTH114
                yield path


def _read_file(path: Path, reading: Reading, *, named: bool) -> None:
    try:
        content = _content(path)
    except BaselineError as error:
        reading.problems.append(Problem(str(path), str(error)))
        return
    reading.files += 1
    if path.suffix == ".jsonl":
        _read_lines(path, content, reading, named=named)
    elif path.suffix == ".json":
        _read_document(path, content, reading, expected=named or _is_expected(path))
    else:
        why = "expected a .jsonl baseline, a .json file of pytest-benchmark, or results.json"
        reading.problems.append(Problem(str(path), why))


def _is_expected(path: Path) -> bool:
    return _EXPECTED_NAME.fullmatch(path.name) is not None


def _content(path: Path) -> bytes:
    """Return a file's bytes.

    Raises
    ------
    BaselineError
        If it is no regular file, too large or cannot be read.
    """
    try:
        # Before it is opened, since opening a pipe waits for its writer.
        if not is_regular(path):
            raise BaselineError("this is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError as error:
        raise BaselineError("there is no such file or folder") from error
    except OSError as error:
        raise BaselineError(f"cannot be read ({error.strerror or error})") from error
    if len(content) > MAXIMUM_BYTES:
        raise BaselineError(
            f"is larger than {MAXIMUM_BYTES // 2**20} MiB, the most that is read; "
            "name the files of single runs instead"
        )
    return content


def _read_lines(path: Path, content: bytes, reading: Reading, *, named: bool) -> None:
    conflicts = 0
    for number, text, session in read_lines(content):
        if isinstance(session, Session):
            reading.add(session, path, accepted=True)
            continue
        if not named and number == 1 and _is_foreign(text):
            return
        conflicts += str(session) == CONFLICT
        # A file's conflicts are one problem: the advice is for all its marker lines.
        if str(session) != CONFLICT or conflicts == 1:
            reading.problems.append(Problem(f"{path}:{number}", str(session)))


def _is_foreign(text: str) -> bool:
    """Whether a line is JSON of another tool, as other tools write .jsonl files too."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return not (isinstance(found, dict) and found.keys() & {"schema", "identity"})


def _read_document(path: Path, content: bytes, reading: Reading, *, expected: bool) -> None:
    if not expected and b'"session"' not in content:
        return
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        if expected:
            why = f"this is not JSON ({error}); fetch or write the file again"
            reading.problems.append(Problem(str(path), why))
        return
    entries = _entries(document)
    if entries is None:
        if expected:
            why = (
                'expected "benchmarks" as pytest-benchmark writes them, or "measurements" as '
                "--facenet-report does; it has neither"
            )
            reading.problems.append(Problem(str(path), why))
        return
    for where, holder in entries:
        if "session" not in holder:
            reading.without_session += 1
            continue
        try:
            reading.add(from_mapping(holder["session"]), path, accepted=False)
        except BaselineError as error:
            reading.problems.append(Problem(f"{path}, {where}", str(error)))


def _entries(document: Any) -> list[tuple[str, dict[str, Any]]] | None:
    """Return the objects that may hold a session, each with its place; None for other documents."""
    if not isinstance(document, dict):
        return None
    benchmarks, measurements = document.get("benchmarks"), document.get("measurements")
    if isinstance(benchmarks, list):
        infos = [one.get("extra_info") if isinstance(one, dict) else None for one in benchmarks]
        return [
            (f"benchmarks[{number}].extra_info", info if isinstance(info, dict) else {})
            for number, info in enumerate(infos)
        ]
    if isinstance(measurements, list):
        return [
            (f"measurements[{number}]", one)
            for number, one in enumerate(measurements)
            if isinstance(one, dict) and one.get("name") == "speed"
        ]
    return None
