"""Oddities of a set's files, for messages and for ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_NAMED = 5

_TEXTS = {
    "left_out": "images that are not PERSON/PERSON_NNNN.jpg or .png, used for nothing",
    "copies": "photos that are copies of another one of the same person, counted once",
    "two_people": "photos that are, byte for byte, under two people",
    "copy_pairs": "genuine pairs of a photo and its copy",
    "contradicted": "impostor pairs whose photos show one person by the genuine pairs and by equal "
    "bytes",
    "not_calibrated_on": "people outside the pairs who are in an evaluation photo nevertheless, "
    "not calibrated on",
}


@dataclass(frozen=True)
class FileNotes:
    """Oddities of a set's files.

    Attributes
    ----------
    left_out : tuple of str
        Images that do not fit LFW's layout, by their paths in the photos' folder.
    copies : tuple of str
        Photos that are copies of another photo of the same person. Galleries and calibration leave
        them out.
    two_people : tuple of str
        Photos of equal bytes under different people, as ``one = another``.
    copy_pairs : tuple of str
        Genuine pairs of two equal files, as ``one = another``.
    contradicted : tuple of str
        Impostor pairs of a packed set whose photos show one person by the genuine pairs and by
        equal bytes, as ``one = another``.
    not_calibrated_on : tuple of str
        People who are in no pair of the set, but in a photo of another set, or in a copy of an
        evaluation photo.
    """

    left_out: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    two_people: tuple[str, ...] = ()
    copy_pairs: tuple[str, ...] = ()
    contradicted: tuple[str, ...] = ()
    not_calibrated_on: tuple[str, ...] = ()

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return the count of each and the first few names, for ``results.json``."""
        found: dict[str, tuple[str, ...]] = asdict(self)
        return {kind: _fact(names) for kind, names in found.items()}


def passed_over(no_files: Sequence[str]) -> list[str]:
    """Return the line about entries with a photo's name that are not files; empty if none.

    Parameters
    ----------
    no_files : sequence of str
        Pipes, devices and links that lead nowhere.
    """
    what = "pipes, devices or links that lead nowhere, named like photos, passed over"
    return [_line(what, _fact(no_files))] if no_files else []


def _fact(names: Sequence[str]) -> dict[str, Any]:
    return {"count": len(names), "first": [printable(name) for name in names[:_NAMED]]}


def _line(text: str, fact: Mapping[str, Any]) -> str:
    count, first = fact["count"], fact["first"]
    return f"{text}: {count} ({', '.join(first)}{', …' if count > len(first) else ''})"


def printable(name: str) -> str:
    """Return a file's name, which may have any bytes, as printable text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def note_lines(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each kind of oddity that was found.

    Parameters
    ----------
    facts : mapping
        As :meth:`FileNotes.facts` gives them.
    """
    found = ((text, facts.get(kind, {})) for kind, text in _TEXTS.items())
    return [_line(text, fact) for text, fact in found if fact.get("count")]
