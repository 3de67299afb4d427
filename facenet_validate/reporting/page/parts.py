"""Parts of ``results.json``, each with its place: what a page shows can be held against the file.

A place is a JSON pointer (RFC 6901), such as ``/gates/3/observed``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from facenet_validate.gates.verdicts import format_number


@dataclass(frozen=True)
class Cell:
    """A value as a page shows it.

    Attributes
    ----------
    text : str
        What is read.
    value : object
        The value in ``results.json``.
    path : str
        Its place there, a JSON pointer.
    named : bool
        Whether the text is the name of the place and not its value.
    """

    text: str
    value: Any
    path: str
    named: bool = False

    @property
    def number(self) -> bool:
        """Whether it is a number, which the page gives whole beside its text."""
        value = self.value
        return isinstance(value, int | float) and not isinstance(value, bool)


Line: TypeAlias = tuple[Cell | str, ...]
"""Words of the page, and values between them."""


@dataclass(frozen=True)
class Part:
    """A value of the document and its place; the value of what is not there is None."""

    value: Any
    path: str = ""

    def __getitem__(self, key: str | int) -> Part:
        """Return what stands below a key or a place of a list."""
        name = str(key).replace("~", "~0").replace("/", "~1")
        found = None
        if isinstance(self.value, dict) and isinstance(key, str):
            found = self.value.get(key)
        elif isinstance(self.value, list) and isinstance(key, int) and key < len(self.value):
            found = self.value[key]
        return Part(found, f"{self.path}/{name}")

    def __iter__(self) -> Iterator[Part]:
        """Return the parts of a list; none of anything else."""
        if isinstance(self.value, list):
            for place in range(len(self.value)):
                yield self[place]

    def __bool__(self) -> bool:
        """Say whether something is there: a value that is not empty."""
        return self.value not in (None, "", [], {})

    def items(self) -> Iterator[tuple[str, Part]]:
        """Return the parts of an object, by name."""
        if isinstance(self.value, dict):
            for name in self.value:
                yield name, self[name]

    @property
    def text(self) -> str:
        """The value as text; empty where nothing is there."""
        return "" if self.value is None else str(self.value)

    @property
    def floats(self) -> list[float]:
        """The numbers of a list, infinity and NaN from their text among them."""
        return [float(one) for one in self.value or ()]

    @property
    def float(self) -> float | None:
        """The number, also where it is written as text; None where there is none."""
        try:
            return None if self.value is None else float(self.value)
        except (TypeError, ValueError):
            return None

    def cell(self, shown: Callable[[Any], str] | None = None) -> Cell:
        """Return the value as it is shown: text as it is, numbers with six digits."""
        return Cell((shown or plain)(self.value), self.value, self.path)

    @property
    def name(self) -> Cell:
        """Its key."""
        key = self.path.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        return Cell(key, None, self.path, named=True)

    @property
    def label(self) -> Cell:
        """Its key as words."""
        return replace(self.name, text=self.name.text.replace("_", " "))

    def line(self) -> Line:
        """Return the value as a line of its own; empty where nothing is there."""
        return (self.cell(),) if self else ()


def plain(value: Any) -> str:
    """Return a value as text: numbers with six digits, a dash for what is not there."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return format_number(value) if isinstance(value, float) else str(value)


def joined(parts: Iterable[Part]) -> Line:
    """Return values with commas between them."""
    line: list[Cell | str] = []
    for part in parts:
        line += [", ", part.cell()]
    return tuple(line[1:])


def cells(*parts: Part) -> tuple[Line, ...]:
    """Return values as cells of a row, a line each."""
    return tuple((part.cell(),) for part in parts)


def percent(value: float) -> str:
    """Return a share in per cent with two digits behind the point."""
    return f"{100 * value:.2f} %"
