"""A page as a reader takes it: its values with their places, and the text between them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "img", "br", "hr", "input"}


@dataclass(frozen=True)
class Shown:
    """A value on a page: its text, its place in the file, and the number given beside the text."""

    text: str
    path: str
    exact: str | None
    named: bool


@dataclass
class Reading(HTMLParser):
    """Reads a page.

    Attributes
    ----------
    values : list of Shown
        Every value.
    words : list of str
        Text outside of values and drawings.
    ids : list of str
        Every id.
    links : list of str
        Every address.
    elements : list of (str, dict)
        Every element with its attributes.
    """

    values: list[Shown] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self._value: tuple[int, str, str | None, bool] | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        self.ids += [found["id"] or ""] if found.get("id") else []
        self.links += [found[name] or "" for name in ("href", "src") if name in found]
        if tag not in VOID:
            self._open.append(tag)
        place = found.get("data-path") or found.get("data-name-of")
        if place is not None:
            named = "data-name-of" in found
            self._value, self._text = (len(self._open), place, found.get("value"), named), ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._value is not None and len(self._open) == self._value[0]:
            _, path, exact, named = self._value
            self.values.append(Shown(self._text, path, exact, named))
            self._value = None
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self._value is not None:
            self._text += data
        elif not {"svg", "style", "title", "code"} & set(self._open) and data.strip():
            self.words.append(data.strip())


def read(page: str) -> Reading:
    """Return a page read whole; every element is closed."""
    found = Reading()
    found.feed(page)
    found.close()
    assert not found._open
    return found


def at(document: Any, path: str) -> Any:
    """Return what stands at a JSON pointer.

    Raises
    ------
    KeyError, IndexError
        If nothing stands there.
    """
    for key in path.split("/")[1:]:
        name = key.replace("~1", "/").replace("~0", "~")
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def same(document: Any, shown: Shown) -> bool:
    """Say whether a value on a page is that of the file: exactly beside the text, and in it."""
    if shown.named:
        at(document, shown.path)
        key = shown.path.rpartition("/")[2].replace("~1", "/")
        return shown.text in (key, key.replace("_", " "))
    value = at(document, shown.path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        told = {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
        return shown.exact is None and shown.text == told
    return json.loads(shown.exact or "null") == value and _reads(shown.text, value)


def _reads(text: str, value: float) -> bool:
    """Say whether a text is a number to at least the digits that it shows."""
    if text.endswith(" %"):
        return abs(float(text[:-2]) / 100 - value) <= 0.5e-4
    if text.startswith(("1-", "1+")):
        return abs(float(text[1:]) - (value - 1)) <= 0.06 * abs(value - 1)
    return abs(float(text) - value) <= 0.6e-5 * abs(value)
