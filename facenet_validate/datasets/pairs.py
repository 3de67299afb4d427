"""``pairs.txt``: LFW's list of genuine and impostor pairs. A pair's position gives its fold."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.wording import quoted
from facenet_validate.datasets.lines import Fault, bad_lines, read_lines

WHAT = "pairs file"


@dataclass(frozen=True)
class PhotoRef:
    """A photo as a pairs file names it: person, in Unicode's NFC, and one-based number."""

    person: str
    number: int

    @property
    def stem(self) -> str:
        """The file name LFW gives the photo, without its ending."""
        return f"{self.person}_{self.number:04d}"


def person_of(stem: str) -> str:
    """Return the person of a photo named as LFW names it."""
    return stem.rsplit("_", 1)[0]


def composed(name: str) -> str:
    """Return a name in Unicode's NFC, by which people are compared. macOS archives have NFD."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class PhotoPair:
    """Two photos, whether they show one person, and the pair's fold (from 0)."""

    left: PhotoRef
    right: PhotoRef
    same: bool
    fold: int


@dataclass(frozen=True)
class PairsFile:
    """The pairs of a file, in its order, and the number of folds."""

    pairs: tuple[PhotoPair, ...]
    folds: int


def read_pairs(path: Path) -> PairsFile:
    """Read a pairs file in LFW's format.

    The first line gives the number of folds and of pairs of each kind in a fold; then each fold
    lists its genuine pairs (``name i j``) and its impostor pairs (``name i name j``).

    Raises
    ------
    DatasetError
        If the file cannot be read; if lines are malformed or of the wrong kind for their position
        (all are named by number); or if the number of pairs differs from what the first line
        says, since a missing pair would shift every fold after it.
    """
    lines = read_lines(path, WHAT)
    folds, per_kind = _header(path, lines[0] if lines else "")
    expected = folds * per_kind * 2
    if len(lines) - 1 != expected:
        raise _wrong_count(path, lines, folds, per_kind)
    pairs, faults = [], []
    for index, line in enumerate(lines[1:]):
        fold, position = divmod(index, 2 * per_kind)
        genuine = position < per_kind
        pair = _pair(line, fold)
        if pair is None or pair.same != genuine:
            kind = _GENUINE if genuine else _IMPOSTOR
            text = f"{quoted(line)}; expected {kind} (fold {fold + 1})."
            faults.append(Fault(index + 2, text))
        else:
            pairs.append(pair)
    if faults:
        raise bad_lines(WHAT, path, faults)
    return PairsFile(tuple(pairs), folds)


def _header(path: Path, line: str) -> tuple[int, int]:
    fields = line.split()
    if len(fields) == 2 and all(_is_number(field) for field in fields):
        folds, per_kind = int(fields[0]), int(fields[1])
        if folds >= 2:
            return folds, per_kind
    expected = "the number of folds (at least 2) and of pairs of each kind in a fold, as in"
    text = f"{quoted(line)}; expected {expected} '10\\t300'."
    raise bad_lines(WHAT, path, [Fault(1, text)])


def _wrong_count(path: Path, lines: list[str], folds: int, per_kind: int) -> DatasetError:
    """Return the error. It names lines that are not pairs: they may be the cause."""
    expected = folds * per_kind * 2
    count = (
        f"{len(lines) - 1} pairs, but its first line promises {expected} ({folds} folds of "
        f"{per_kind} genuine and {per_kind} impostor pairs). A missing pair shifts every fold "
        "after it; get the whole file."
    )
    faults = [
        Fault(number, f"{quoted(line)} is no pair.")
        for number, line in enumerate(lines[1:], start=2)
        if _pair(line, 0) is None
    ]
    named = f"\n{bad_lines(WHAT, path, faults)}" if faults else ""
    return DatasetError(f"{WHAT} {path}: {count}{named}")


_GENUINE = "a genuine pair 'name i j' of two different photos"
_IMPOSTOR = "an impostor pair 'name i name j' of two different people"


def _pair(line: str, fold: int) -> PhotoPair | None:
    """Return the pair in a line, None if the line is not a pair."""
    match composed(line).split():
        case [person, i, j] if _is_name(person) and _is_number(i) and _is_number(j):
            left, right = PhotoRef(person, int(i)), PhotoRef(person, int(j))
            return PhotoPair(left, right, True, fold) if left != right else None
        case [one, i, other, j] if (
            _is_name(one) and _is_name(other) and one != other and _is_number(i) and _is_number(j)
        ):
            return PhotoPair(PhotoRef(one, int(i)), PhotoRef(other, int(j)), False, fold)
    return None


def _is_name(text: str) -> bool:
    """Return whether a text can be the name of a folder."""
    return len(text) <= _LONGEST_NAME and text.isprintable() and "/" not in text


def _is_number(text: str) -> bool:
    # No photo has a longer number, and Python does not convert the longest ones.
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) > 0


_LONGEST_NAME = 100
_DIGITS = 9
