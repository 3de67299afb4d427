"""What is odd about the files of a set: told to people and kept in ``results.json``."""

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
    "not_calibrated_on": "people outside the pairs who are in an evaluation photo all the same, "
    "not calibrated on",
}


@dataclass(frozen=True)
class FileNotes:
    """What is odd about the files of a set.

    Attributes
    ----------
    left_out : tuple of str
        Images that do not fit LFW's layout, by their paths in the photos' folder.
    copies : tuple of str
        Photos that are copies of another one of their person: out of galleries and calibration.
    two_people : tuple of str
        Photos of the same bytes that are said to show different people, as ``one = another``.
    copy_pairs : tuple of str
        Genuine pairs of the same bytes, as ``one = another``.
    not_calibrated_on : tuple of str
        People who are in no pair of the set, and yet in an evaluation photo: in a photo of another
        set, or in a copy.
    """

    left_out: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    two_people: tuple[str, ...] = ()
    copy_pairs: tuple[str, ...] = ()
    not_calibrated_on: tuple[str, ...] = ()

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return the count of each and the first few names, for ``results.json``."""
        found: dict[str, tuple[str, ...]] = asdict(self)
        return {kind: _fact(names) for kind, names in found.items()}


def passed_over(no_files: Sequence[str]) -> list[str]:
    """Return the line on what has a photo's name and is no file, if there is any.

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
    """Return a name as a line of text can have it: a file's may have any bytes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def note_lines(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each kind of which there is something.

    Parameters
    ----------
    facts : mapping
        As :meth:`FileNotes.facts` gives them.
    """
    found = ((text, facts.get(kind, {})) for kind, text in _TEXTS.items())
    return [_line(text, fact) for text, fact in found if fact.get("count")]
