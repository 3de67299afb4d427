"""``pairs.txt``: LFW's list of genuine and impostor pairs. A pair's position gives its fold."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from itertools import cycle, groupby
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
    """Read a pairs file in LFW's format, or in one of those that people make of it.

    A line is a pair: ``name i j`` or ``name i name j``, or two photos as
    ``name/name_0001 name/name_0002``, with or without ``.jpg``, ``.jpeg`` or ``.png``. Tabs
    separate the fields where there are any; names may then have spaces. Spaces separate them
    otherwise.

    The first line says how the pairs are in order, or is a pair itself:

    ============  ==================================================================================
    ``10 300``    ten folds; each lists 300 genuine pairs, then 300 impostor pairs
    ``500``       500 genuine pairs, then 500 impostor pairs; or 500 pairs together in any order
    no such line  pairs in any order
    ============  ==================================================================================

    Without folds in the first line they come from the order: where genuine and impostor pairs take
    turns in runs of one length, as in LFW's file, two runs are a fold. Pairs in any other order
    are dealt to ten folds in turn, genuine and impostor pairs separately.

    Raises
    ------
    DatasetError
        If the file cannot be read; if lines are malformed or of the wrong kind for their position
        (all are named by number); if the number of pairs differs from what the first line says,
        since a missing pair would shift every fold after it; or if a file without folds has fewer
        than ten pairs of a kind.
    """
    lines = read_lines(path, WHAT)
    first = lines[0] if lines else ""
    numbers = _numbers(first)
    if len(numbers) == 2 and numbers[0] >= 2:
        return _in_folds(path, lines, folds=numbers[0], per_kind=numbers[1])
    if len(numbers) == 1 or _pair(first, 0) is not None:
        return _in_any_order(path, lines, numbers)
    text = f"{quoted(first)}; expected {_HEADERS}"
    raise bad_lines(WHAT, path, [Fault(1, text)])


_HEADERS = (
    "the number of folds (at least 2) and of pairs of each kind in a fold, as in '10\\t300'; the "
    "number of pairs alone; or a pair."
)


def _numbers(line: str) -> list[int]:
    """Return the numbers that a line consists of; none if it has anything else."""
    fields = line.split()
    return [int(field) for field in fields] if all(map(_is_number, fields)) else []


def _in_folds(path: Path, lines: list[str], *, folds: int, per_kind: int) -> PairsFile:
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


def _in_any_order(path: Path, lines: list[str], numbers: list[int]) -> PairsFile:
    found: list[PhotoPair] = []
    faults: list[Fault] = []
    start = 1 + len(numbers)
    for number, line in enumerate(lines[len(numbers) :], start=start):
        pair = _pair(line, 0)
        if pair is None:
            faults.append(Fault(number, f"{quoted(line)}; expected {_ANY}."))
        else:
            found.append(pair)
    if faults:
        raise bad_lines(WHAT, path, faults)
    kinds = [pair.same for pair in found]
    if numbers:
        _check_promise(path, kinds, numbers[0])
    few = min(kinds.count(True), kinds.count(False))
    if few < _FEWEST_OF_A_KIND:
        raise DatasetError(
            f"{WHAT} {path}: {kinds.count(True)} genuine and {kinds.count(False)} impostor pairs, "
            f"and no number of folds in the first line; expected at least {_FEWEST_OF_A_KIND} of "
            "each kind."
        )
    folds = _folds_of(kinds)
    pairs = tuple(replace(pair, fold=fold) for pair, fold in zip(found, folds, strict=True))
    return PairsFile(pairs, max(folds) + 1)


def _check_promise(path: Path, kinds: list[bool], promised: int) -> None:
    """Check a file whose first line is one number: of all pairs, or of those of each kind."""
    if len(kinds) == promised or kinds == [True] * promised + [False] * promised:
        return
    text = (
        f"promises {promised} pairs, but {len(kinds)} follow; expected so many in all, or "
        f"{promised} genuine pairs and then {promised} impostor pairs. Get the whole file, or "
        "correct the number."
    )
    raise bad_lines(WHAT, path, [Fault(1, text)])


def _folds_of(kinds: list[bool]) -> list[int]:
    """Return the fold of each pair, by the order of genuine and impostor pairs."""
    runs = [len(list(run)) for _, run in groupby(kinds)]
    if kinds[0] and len(set(runs)) == 1 and len(runs) % 2 == 0 and len(runs) >= 4:
        return [index // (2 * runs[0]) for index in range(len(kinds))]
    turn = {kind: cycle(range(_FOLDS)) for kind in (True, False)}
    return [next(turn[kind]) for kind in kinds]


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
_ANY = (
    f"{_GENUINE}, {_IMPOSTOR}, or two photos 'name/name_0001 name/name_0002'; fields separated by "
    "tabs where names have spaces"
)


def _pair(line: str, fold: int) -> PhotoPair | None:
    """Return the pair in a line, None if the line is not a pair."""
    line = composed(line)
    # Names may have spaces where tabs separate. A line may also have both for separators.
    found = _pair_of(_by_tabs(line), fold) if "\t" in line else None
    return found or _pair_of(line.split(), fold)


def _by_tabs(line: str) -> list[str]:
    return [field.strip() for field in line.split("\t") if field.strip()]


def _pair_of(fields: list[str], fold: int) -> PhotoPair | None:
    match fields:
        case [person, i, j] if _is_name(person) and _is_number(i) and _is_number(j):
            left, right = PhotoRef(person, int(i)), PhotoRef(person, int(j))
        case [one, i, other, j] if (
            _is_name(one) and _is_name(other) and one != other and _is_number(i) and _is_number(j)
        ):
            left, right = PhotoRef(one, int(i)), PhotoRef(other, int(j))
        case [one, other] if (found := _photo(one)) and (also := _photo(other)):
            left, right = found, also
        case _:
            return None
    same = left.person == right.person
    return PhotoPair(left, right, same, fold) if left != right else None


def _photo(path: str) -> PhotoRef | None:
    """Return the photo that a path names, None if it is not ``name/name_0001``."""
    match = _PATH.fullmatch(path)
    if match is None or not _is_name(match["person"]) or not _is_number(match["number"]):
        return None
    photo = PhotoRef(match["person"], int(match["number"]))
    return photo if f"{match['person']}_{match['number']}" == photo.stem else None


def _is_name(text: str) -> bool:
    """Return whether a text can be the name of a folder."""
    return len(text) <= _LONGEST_NAME and text.isprintable() and "/" not in text


def _is_number(text: str) -> bool:
    # No photo has a longer number, and Python does not convert the longest ones.
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS and int(text) > 0


_PATH = re.compile(r"(?P<person>[^/]+)/(?P=person)_(?P<number>[0-9]{4,9})(\.(jpe?g|png))?", re.I)
_LONGEST_NAME = 100
_DIGITS = 9
_FOLDS = 10
_FEWEST_OF_A_KIND = 10
