"""``pairs.txt``: LFW's list of genuine and impostor pairs. The fold is the pair's position."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from facenet_validate.errors import DatasetError


@dataclass(frozen=True)
class PhotoRef:
    """A photo as a pairs file names it: person and one-based number."""

    person: str
    number: int

    @property
    def stem(self) -> str:
        """The file name LFW gives the photo, without its ending."""
        return f"{self.person}_{self.number:04d}"


@dataclass(frozen=True)
class Pair:
    """Two photos, whether they show one person, and the fold the pair belongs to (from 0)."""

    left: PhotoRef
    right: PhotoRef
    same: bool
    fold: int


@dataclass(frozen=True)
class PairsFile:
    """The pairs of a file in its order, and how many folds it has."""

    pairs: tuple[Pair, ...]
    folds: int


def read_pairs(path: Path) -> PairsFile:
    """Read a pairs file in LFW's format.

    The first line gives the number of folds and of pairs of each kind in a fold; then each fold
    lists its genuine pairs (``name i j``) and its impostor pairs (``name i name j``).

    Raises
    ------
    DatasetError
        If the file is missing, a line is malformed (its number is named), a line is of the wrong
        kind for its position, or the count is not what the first line promises: a missing pair
        would shift every fold after it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"pairs file {path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise DatasetError(f"pairs file {path}: not text. Expected LFW's pairs.txt.") from None
    lines = text.splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    folds, per_kind = _header(path, lines[0] if lines else "")
    expected = folds * per_kind * 2
    if len(lines) - 1 != expected:
        raise DatasetError(
            f"pairs file {path}: {len(lines) - 1} pairs, but its first line promises {expected} "
            f"({folds} folds of {per_kind} genuine and {per_kind} impostor pairs). A missing pair "
            "shifts every fold after it; get the whole file."
        )
    pairs = []
    for index, line in enumerate(lines[1:]):
        fold, position = divmod(index, 2 * per_kind)
        pairs.append(_pair(path, index + 2, line, fold, genuine=position < per_kind))
    return PairsFile(tuple(pairs), folds)


def format_pairs(file: PairsFile) -> str:
    """Return the text ``read_pairs`` reads back as the same pairs."""
    per_kind = len(file.pairs) // (2 * file.folds)
    lines = [f"{file.folds}\t{per_kind}"]
    for pair in file.pairs:
        fields = [pair.left.person, str(pair.left.number)]
        fields += [] if pair.same else [pair.right.person]
        lines.append("\t".join([*fields, str(pair.right.number)]))
    return "\n".join(lines) + "\n"


def _header(path: Path, line: str) -> tuple[int, int]:
    fields = line.split()
    if len(fields) == 2 and all(_is_number(field) for field in fields):
        folds, per_kind = int(fields[0]), int(fields[1])
        if folds >= 2 and per_kind >= 1:
            return folds, per_kind
    raise DatasetError(
        f"pairs file {path}, line 1: {line[:60]!r}; expected the number of folds (at least 2) and "
        "of pairs of each kind in a fold, as in '10\\t300'."
    )


def _pair(path: Path, number: int, line: str, fold: int, *, genuine: bool) -> Pair:
    match line.split():
        case [person, i, j] if genuine and _is_number(i) and _is_number(j) and int(i) != int(j):
            return Pair(PhotoRef(person, int(i)), PhotoRef(person, int(j)), True, fold)
        case [left, i, right, j] if (
            not genuine and _is_number(i) and _is_number(j) and left != right
        ):
            return Pair(PhotoRef(left, int(i)), PhotoRef(right, int(j)), False, fold)
    expected = (
        "a genuine pair 'name i j' of two different photos"
        if genuine
        else "an impostor pair 'name i name j' of two different people"
    )
    raise DatasetError(
        f"pairs file {path}, line {number}: {line[:80]!r}; expected {expected} (fold {fold + 1})."
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0
