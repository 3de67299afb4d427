"""``gates.toml`` as a document: bytes → tables, whatever lies in the file's place.

The file is committed and merged, edited on any system, and looked for in projects that are not
ours. So nothing is taken for granted: neither that it is a file, nor that it ends.
"""

from __future__ import annotations

import errno
import tomllib
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import BaselineError
from facenet_validate.base.files import CONFLICT_MARKERS, is_regular
from facenet_validate.base.wording import path_text, reason

LARGEST = 64 * 1024
"""Bytes of a gates file; the one that comes with this package has 6,000."""

LONGEST_LINE = 4096
"""Characters of a line: a key of very many parts takes the parser hours."""


def read_document(path: Path) -> dict[str, Any]:
    """Read a TOML file that may be anything.

    Raises
    ------
    BaselineError
        If it cannot be read, is no regular file, too large or not TOML. One line.
    """
    return parse_document(path, read_content(path))


def parse_document(path: Path, content: bytes) -> dict[str, Any]:
    """Return the tables of a file's content.

    Parameters
    ----------
    path : Path
        What the file is called, for messages.
    content : bytes
        What it holds.

    Raises
    ------
    BaselineError
        If it is too large or not TOML. One line.
    """
    text = _text(path, content)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(path, _conflict(text) or f"{error}") from None
    except RecursionError:
        raise _wrong(path, "too many brackets in one another; expected tables of limits") from None
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise _wrong(path, "a number in it has too many digits; expected limits") from None


def is_ours(path: Path) -> bool:
    """Return whether a file is a gates file of ours: it parses, and has ``schema`` and ``gates``.

    Other projects have a ``baselines/gates.toml`` too, or a folder ``baselines`` that this user
    may not read.
    """
    try:
        return {"schema", "gates"} <= read_document(path).keys()
    except BaselineError:
        return False


def may_be_there(path: Path) -> bool:
    """Return whether something is at a path, or the system does not say so.

    A path that cannot be one, as arguments that are no paths make it, holds nothing.
    """
    try:
        path.stat()
    except ValueError:  # a NUL character
        return False
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
    return True


def read_content(path: Path) -> bytes:
    """Return what a file holds, up to a byte more than is allowed.

    Raises
    ------
    BaselineError
        If it cannot be read, or is no regular file. One line.
    """
    try:
        # Before it is opened, since opening a pipe waits for its writer.
        if not is_regular(path):
            what = "a folder" if path.is_dir() else "not a regular file"
            raise _wrong(path, f"it is {what}; expected a TOML file")
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise _wrong(
            path,
            f"cannot be read ({reason(error)}). Copy the one that comes with this package: "
            "facenet-validate init .",
        ) from None
    except ValueError:
        raise _wrong(path, "cannot be read (its name has a NUL character).") from None


def _text(path: Path, content: bytes) -> str:
    if len(content) > LARGEST:
        raise _wrong(path, f"it is larger than {LARGEST // 1024} KiB; expected tables of limits")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _wrong(path, f"it is not UTF-8 (line {line}); save it as UTF-8") from None
    if "\0" in text:
        raise _wrong(path, "it has NUL characters; restore it from version control")
    for number, line_text in enumerate(text.split("\n"), start=1):
        if len(line_text) > LONGEST_LINE:
            raise _wrong(
                path, f"line {number} is longer than {LONGEST_LINE:,} characters; break it"
            )
    return text


def _conflict(text: str) -> str:
    """Return what to do about a merge conflict, if there is one: no TOML line begins like that."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(CONFLICT_MARKERS):
            return (
                f"line {number} is the mark of a merge conflict ({line[:7]}); keep the lines that "
                "hold, one of each limit, and delete the marker lines"
            )
    return ""


def _wrong(path: Path, what: str) -> BaselineError:
    return BaselineError(f"gates file {path_text(path)}: {what.rstrip('.')}.")
