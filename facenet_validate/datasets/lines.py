"""Text files that people write by hand: one error names all bad lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.files import check_regular
from facenet_validate.models.file_kinds import is_pickle

MOST_BYTES = 64 * 2**20
"""Bytes of a pairs file: a million pairs. A larger file is something else."""

MOST_TOLD = 20
"""Bad lines that an error names. It counts the others."""

_BEGINNING = 4096
_WIDE_TEXT = (b"\xff\xfe", b"\xfe\xff")
_EXPECTED = (
    "Expected a text file in UTF-8 that names photos beside it, a pair a line "
    "(docs/guide/datasets.md): write one from your set."
)


@dataclass(frozen=True)
class Fault:
    """What is wrong with a line, and the line's number in an editor (from 1)."""

    line: int
    text: str


def read_lines(path: Path, what: str) -> list[str]:
    """Return a file's lines without their ends, without a byte-order mark and empty last lines.

    Lines end with LF or CRLF, as in an editor, so that line numbers agree with it.

    Raises
    ------
    DatasetError
        If the path is not a regular file, or the file cannot be read, is larger than 64 MiB, is
        binary or a Python pickle, or is not UTF-8.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"{what} {path}: cannot be read ({error.strerror}).") from None
    if is_pickle(content):
        raise DatasetError(
            f"{what} {path}: it is a Python pickle, as InsightFace's .bin sets are, and is not "
            "opened, since pickles run code. Name such a set with --facenet-pairs NAME=FILE.bin, "
            f"which reads it without running it. {_EXPECTED}"
        )
    if len(content) > MOST_BYTES:
        raise DatasetError(
            f"{what} {path}: larger than {MOST_BYTES >> 20} MiB; expected a list of pairs, a line "
            "each."
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in content[:_BEGINNING] and not content.startswith(_WIDE_TEXT):
            raise DatasetError(f"{what} {path}: it is a binary file. {_EXPECTED}") from None
        line = content.count(b"\n", 0, error.start) + 1
        raise DatasetError(
            f"{what} {path}, line {line}: not text in UTF-8. Save it as UTF-8."
        ) from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def bad_lines(what: str, path: Path, faults: Sequence[Fault]) -> DatasetError:
    """Return the error that names bad lines: the first twenty with what is wrong."""
    if len(faults) == 1:
        return DatasetError(f"{what} {path}, line {faults[0].line}: {faults[0].text}")
    named = [f"  line {fault.line}: {fault.text}" for fault in faults[:MOST_TOLD]]
    if len(faults) > MOST_TOLD:
        named.append(f"  and {len(faults) - MOST_TOLD} more")
    return DatasetError("\n".join([f"{what} {path}: {len(faults)} bad lines.", *named]))
