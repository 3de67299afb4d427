"""``gates.toml`` with other limits: lines are changed or added, and all others stay as they are.

TOML libraries write a document anew, and tables as far apart as ours trouble them. So lines are
edited, and what comes out is parsed: it must hold the wanted limits and all others as before.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import BaselineError
from facenet_validate.base.wording import path_text
from facenet_validate.gates import catalogue
from facenet_validate.gates.document import LARGEST, parse_document
from facenet_validate.gates.limits import gates_in

MARK = "# gates propose: "
"""What the comment above a proposed limit begins with; the next proposal replaces it."""

_VALUE = re.compile(r"(?P<before>[^=]*=\s*)(?P<value>[^\s#]+)(?P<after>.*)", re.DOTALL)

Keys = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """A limit to write.

    Attributes
    ----------
    table : tuple of str
        Data set, precision, target.
    gate : str
        Its name.
    limit : float
        The limit.
    reason : str
        What it stands on, for the comment above it. One line.
    """

    table: tuple[str, str, str]
    gate: str
    limit: float
    reason: str

    @property
    def keys(self) -> Keys:
        """Where it stands in the document."""
        return ("gates", *self.table, *self.gate.split("."))


@dataclass(frozen=True)
class _Line:
    """A line that opens a table, or holds one value."""

    place: int
    keys: Keys
    opens: bool


def number_text(limit: float) -> str:
    """Return a number as TOML has it, and people write it.

    Examples
    --------
    >>> number_text(0.98), number_text(1e-5)
    ('0.98', '1e-5')
    """
    return re.sub(r"e-0(?=\d)", "e-", repr(limit))


def with_limits(path: Path, content: bytes, changes: Sequence[Change]) -> bytes:
    """Return the content of a gates file with other limits.

    Parameters
    ----------
    path : Path
        What the file is called, for messages.
    content : bytes
        What it holds: a valid gates file.
    changes : sequence of Change
        Limits to write, each into the table that is named, which is made where it is not there.

    Raises
    ------
    BaselineError
        If a limit is written in a form that lines do not show, such as an inline table, or the file
        would become too large.
    """
    for change in changes:
        wanted = _wanted(parse_document(path, content), change)
        lines = content.decode("utf-8").split("\n")
        content = "\n".join(_changed(lines, change)).encode()
        if len(content) > LARGEST:
            raise BaselineError(
                f"gates file {path_text(path)}: with {change.gate} it would be larger than "
                f"{LARGEST // 1024} KiB. Delete what is no longer true in it."
            )
        try:
            found = parse_document(path, content)
        except BaselineError:
            found = {}
        if found != wanted:
            table, line = ".".join(change.table), f"{change.gate} = {number_text(change.limit)}"
            raise BaselineError(
                f"gates file {path_text(path)}: {change.gate} of {table} is written in a form that "
                f"is not edited. Write it as {line}, a line below [gates.{table}]."
            )
        gates_in(path, found)
    return content


def _wanted(document: dict[str, Any], change: Change) -> dict[str, Any]:
    """Return the document with a limit changed."""
    wanted = table = copy.deepcopy(document)
    *above, name = change.keys
    for key in above:
        table = table.setdefault(key, {})
    table[name] = change.limit
    return wanted


def _changed(lines: Sequence[str], change: Change) -> list[str]:
    found = _read(lines)
    end = "\r" if lines[0].endswith("\r") else ""
    comment = f"{MARK}{change.reason}{end}"
    here = next((one for one in found if one.keys == change.keys and not one.opens), None)
    if here is not None:
        before = list(lines[: here.place])
        if before and before[-1].startswith(MARK):
            before.pop()
        return [*before, comment, _with_value(lines[here.place], change), *lines[here.place + 1 :]]
    place, opened = _place(found, change)
    table = ["", f"[gates.{'.'.join(change.table)}]"] if not opened else []
    added = [*(line + end for line in table), comment]
    added.append(f"{change.gate} = {number_text(change.limit)}{end}")
    if place is None:
        # After the last line, which ends the file and is empty, unless the file ends without one.
        whole = list(lines) if lines[-1] == "" else [*lines[:-1], lines[-1] + end, ""]
        return [*whole[:-1], *added, ""]
    if place == len(lines) - 1:
        return [*lines[:-1], lines[-1] + end, *added, ""]
    return [*lines[: place + 1], *added, *lines[place + 1 :]]


def _with_value(line: str, change: Change) -> str:
    match = _VALUE.fullmatch(line)
    assert match is not None, line
    return f"{match['before']}{number_text(change.limit)}{match['after']}"


def _place(found: Sequence[_Line], change: Change) -> tuple[int | None, bool]:
    """Return the line after which a new limit stands, and whether its table is open there.

    In its table: after the gates that the catalogue names before it. A new table: after the last
    one of the same data set and precision, of the same data set, else at the end of the file.
    """
    table = ("gates", *change.table)
    names = catalogue.names()
    inside = _inside(found, table)
    if inside:
        order = names.index(change.gate)
        before = [one for one in inside if one.opens or names.index(".".join(one.keys[4:])) < order]
        return before[-1].place, True
    for length in (3, 2):
        beside = [one.place for one in found if one.keys[:length] == table[:length]]
        if beside:
            return beside[-1], False
    return None, False


def _inside(found: Sequence[_Line], table: Keys) -> list[_Line]:
    """Return the line that opens a table, and those of its values."""
    inside: list[_Line] = []
    for one in found:
        if one.opens and one.keys == table:
            inside = [one]
        elif one.opens and inside:
            break
        elif inside:
            inside.append(one)
    return inside


def _read(lines: Sequence[str]) -> list[_Line]:
    """Return the lines that open a table or hold one value, with their whole keys."""
    found: list[_Line] = []
    table: Keys = ()
    for place, line in enumerate(lines):
        bare = line.removeprefix("\ufeff").strip()
        opens = bare.startswith("[")
        if not opens and "=" not in bare.partition("#")[0]:
            continue
        try:
            keys = _only_keys(tomllib.loads(bare))
        except (tomllib.TOMLDecodeError, ValueError, RecursionError):
            continue
        if opens:
            table = keys
        if keys:
            found.append(_Line(place, keys if opens else (*table, *keys), opens))
    return found


def _only_keys(value: Any) -> Keys:
    """Return the keys that lead to the one value of a line; nothing where there are several."""
    keys: list[str] = []
    while isinstance(value, dict) and value:
        if len(value) > 1:
            return ()
        ((key, value),) = value.items()
        keys.append(key)
    return tuple(keys)
