"""A user's own verification set: a CSV of pairs beside the photos that it names."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.digests import file_digest
from facenet_validate.base.errors import DatasetError
from facenet_validate.base.wording import quoted
from facenet_validate.datasets.copies import copy_pairs, equal_files
from facenet_validate.datasets.csv_photos import PhotoFinder, RowError
from facenet_validate.datasets.lines import Fault, bad_lines, read_lines
from facenet_validate.datasets.notes import FileNotes
from facenet_validate.datasets.own_sets import (
    FOLDS,
    check_count,
    check_training,
    joined_photos,
    set_name,
)
from facenet_validate.datasets.verification_set import VerificationSet

WHAT = "pairs CSV"
_HEADER = ["left", "right", "same"]
_OPTIONAL = ("fold", "group")
_HEADERS = [[*_HEADER, *some] for some in ((), ("fold",), ("group",), _OPTIONAL)]
_LONGEST_GROUP = 60
_MOST_GROUPS = 100
_SAME = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_DIGITS = 6


@dataclass(frozen=True)
class _Row:
    """A row: its line number, the two photos below the folder, and what it says of them."""

    line: int
    left: str
    right: str
    same: bool
    fold: int | None
    group: str

    @property
    def photos(self) -> frozenset[str]:
        return frozenset((self.left, self.right))


def load_csv(path: Path, name: str = "") -> VerificationSet:
    """Read a set of pairs and check every row.

    The first line is ``left,right,same``, and may go on with ``fold``, with ``group`` or with both
    in this order. Each further line is a pair: two photos, relative to the file's folder; 1, true
    or yes if they show one person, else 0, false or no; the fold, numbered from 0 or from 1; and
    the group that both photos belong to. Without folds, the pairs are dealt to ten folds in turn,
    genuine and impostor pairs separately. A pair whose group is empty counts in no group.

    The pairs tell who is who: photos that genuine pairs join, directly or over other photos, show
    one person. There are no photos to calibrate on.

    Parameters
    ----------
    path : Path
        The CSV: UTF-8, commas.
    name : str
        The set's name. The default is the name of the file, or of its folder if the file is
        ``pairs.csv``.

    Returns
    -------
    VerificationSet
        Photos are named by their paths below the folder, with links resolved.

    Raises
    ------
    DatasetError
        If the file cannot be read, its name or header is not as expected, there are too few pairs,
        or folds are missing. An error about rows names all bad rows by their lines: a field is
        missing or unreadable, a photo is missing or outside the folder, a pair has one photo twice
        or is a repetition, or an impostor pair shows one person according to the genuine pairs.
    """
    name = set_name(WHAT, path, name)
    lines = read_lines(path, WHAT)
    columns = _header(path, lines[0] if lines else "")
    rows = _rows(path, lines, columns)
    same = np.array([row.same for row in rows], np.bool_)
    check_count(WHAT, path, same)
    names = sorted({photo for row in rows for photo in row.photos})
    numbers = {photo: number for number, photo in enumerate(names)}
    left = np.array([numbers[row.left] for row in rows], np.intp)
    right = np.array([numbers[row.right] for row in rows], np.intp)
    identities = joined_photos(len(names), left[same], right[same])
    joined = np.flatnonzero(~same & (identities[left] == identities[right]))
    if len(joined):
        text = "an impostor pair, but by the genuine pairs the photos show one person."
        raise bad_lines(WHAT, path, [Fault(rows[pair].line, text) for pair in joined])
    folds = _checked_folds(path, rows, same) if "fold" in columns else _dealt(same)
    groups = tuple(sorted({row.group for row in rows if row.group}))
    if len(groups) > _MOST_GROUPS:
        raise DatasetError(
            f"{WHAT} {path}: {len(groups)} groups; expected at most {_MOST_GROUPS}. A group is of "
            "many people: with each group the run must see more to call one worse."
        )
    root = Path(os.path.realpath(path.parent))
    paths = tuple(root / photo for photo in names)
    return VerificationSet(
        name=name,
        title=f"the pairs of {path}",
        names=tuple(names),
        paths=paths,
        identities=identities,
        left=left,
        right=right,
        same=same,
        folds=folds,
        groups=groups,
        group_of=np.array([groups.index(row.group) if row.group else -1 for row in rows], np.intp),
        suspect=np.array([], np.intp),
        calibration_names=(),
        calibration_paths=(),
        pairs_digest=file_digest(path),
        notes=_notes(names, paths, identities, left[same], right[same]),
    )


def _notes(
    names: Sequence[str],
    paths: Sequence[Path],
    identities: NDArray[np.intp],
    left: NDArray[np.intp],
    right: NDArray[np.intp],
) -> FileNotes:
    """Return equal photos of two people, and genuine pairs of two equal photos."""
    groups = equal_files(paths)
    row_of = {path: row for row, path in enumerate(paths)}
    rows = [[row_of[path] for path in group] for group in groups]
    return FileNotes(
        two_people=tuple(
            " = ".join(names[row] for row in group)
            for group in rows
            if len({int(identities[row]) for row in group}) > 1
        ),
        copy_pairs=copy_pairs(groups, names, paths, left, right),
    )


def _header(path: Path, line: str) -> list[str]:
    """Return the names of the columns."""
    fields = _fields(line)
    found = [] if fields is None else [field.lower() for field in fields]
    if found not in _HEADERS:
        text = (
            f"{quoted(line)}; expected the header left,right,same or left,right,same,fold, and "
            "group behind it where there are groups."
        )
        raise bad_lines(WHAT, path, [Fault(1, text)])
    return found


def _fields(line: str) -> list[str] | None:
    """Return a line's fields; None if it is not CSV.

    Every line is read by itself, so a missing quotation mark spoils only its own row.
    """
    if line.count('"') % 2:
        return None
    try:
        return [field.strip() for field in next(csv.reader([line], skipinitialspace=True), [])]
    except csv.Error:
        return None


def _rows(path: Path, lines: Sequence[str], columns: Sequence[str]) -> list[_Row]:
    """Return the rows. One error names all bad rows and repeated pairs; empty lines are ignored."""
    photos = PhotoFinder(path.parent)
    rows: list[_Row] = []
    faults: list[Fault] = []
    first: dict[frozenset[str], _Row] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            row = _row(number, line, photos, columns)
            before = first.setdefault(row.photos, row)
            if before is not row:
                raise RowError(_again(before, row))
            rows.append(row)
        except RowError as wrong:
            faults.append(Fault(number, str(wrong)))
    if faults:
        raise bad_lines(WHAT, path, faults)
    return rows


def _again(before: _Row, row: _Row) -> str:
    if before.same == row.same:
        return f"the pair of line {before.line} again."
    kinds = ("impostor", "genuine")
    return (
        f"{kinds[row.same]}, but line {before.line} has the same two photos as "
        f"{kinds[before.same]}."
    )


def _row(number: int, line: str, photos: PhotoFinder, columns: Sequence[str]) -> _Row:
    fields = _fields(line)
    if fields is None:
        raise RowError(
            f"{quoted(line)} is not a row of CSV: a quotation mark without its partner, or a field "
            "without an end."
        )
    if len(fields) != len(columns):
        raise RowError(
            f"{len(fields)} fields; the header has {len(columns)}. Fields are separated by "
            'commas, and names with commas stand in "quotation marks".'
        )
    same = _SAME.get(fields[2].lower())
    if same is None:
        raise RowError(f"same is {quoted(fields[2])}; expected 1, true or yes, or 0, false or no.")
    told = dict(zip(columns, fields, strict=True))
    fold = _fold(told["fold"]) if "fold" in told else None
    group = _group(told.get("group", ""))
    left, right = (photos.find(field) for field in fields[:2])
    if left == right:
        raise RowError("a pair of a photo with itself.")
    return _Row(number, left, right, same, fold, group)


def _fold(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise RowError(f"fold is {quoted(text)}; expected a whole number.")
    return int(text)


def _group(text: str) -> str:
    if not text.isprintable() or len(text) > _LONGEST_GROUP:
        raise RowError(
            f"group is {quoted(text)}; expected a name of at most {_LONGEST_GROUP} characters, or "
            "nothing for a pair of no group."
        )
    return text


def _dealt(same: NDArray[np.bool_]) -> NDArray[np.intp]:
    folds = np.empty(len(same), np.intp)
    for kind in (True, False):
        of_kind = same == kind
        folds[of_kind] = np.arange(of_kind.sum()) % FOLDS
    return folds


def _checked_folds(path: Path, rows: Sequence[_Row], same: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the folds from 0, after a check that none is missing and all can be trained."""
    folds = np.array([row.fold for row in rows], np.intp)
    found = set(folds.tolist())
    first, last = min(found), max(found)
    missing = sorted(set(range(min(first, 1), last + 1)) - found)
    if missing or len(found) < 2:
        known = f"no pair is in fold {missing[0]}" if missing else "all pairs are in one"
        raise DatasetError(
            f"{WHAT} {path}: folds {first} to {last}, but {known}; expected all of 0 to K−1, or of "
            "1 to K, and at least two."
        )
    check_training(WHAT, path, same, folds)
    return np.asarray(folds - first, np.intp)
