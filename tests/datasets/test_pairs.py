from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.datasets.pairs import Pair, PairsFile, PhotoRef, format_pairs, read_pairs
from facenet_validate.errors import DatasetError

NAMES = st.from_regex(r"[A-Z][a-z]{1,6}(_[A-Z][a-z]{1,6})?", fullmatch=True)
NUMBERS = st.integers(1, 9999)


@st.composite
def pairs_files(draw: st.DrawFn) -> PairsFile:
    folds, per_kind = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    pairs = []
    for fold in range(folds):
        for _ in range(per_kind):
            person = draw(NAMES)
            i, j = draw(st.lists(NUMBERS, min_size=2, max_size=2, unique=True))
            pairs.append(Pair(PhotoRef(person, i), PhotoRef(person, j), True, fold))
        for _ in range(per_kind):
            left, right = draw(st.lists(NAMES, min_size=2, max_size=2, unique=True))
            pairs.append(
                Pair(PhotoRef(left, draw(NUMBERS)), PhotoRef(right, draw(NUMBERS)), False, fold)
            )
    return PairsFile(tuple(pairs), folds)


@given(pairs_files())
def test_written_pairs_read_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: PairsFile
) -> None:
    path = tmp_path_factory.mktemp("pairs") / "pairs.txt"
    path.write_text(format_pairs(pairs))
    assert read_pairs(path) == pairs


GOOD = ["2\t1", "Ann\t1\t2", "Ann\t1\tBob\t1", "Cid\t1\t2", "Cid\t1\tDan\t1"]


def _read(tmp_path: Path, lines: list[str]) -> PairsFile:
    path = tmp_path / "pairs.txt"
    path.write_text("\n".join(lines) + "\n")
    return read_pairs(path)


def test_fold_is_the_position(tmp_path: Path) -> None:
    found = _read(tmp_path, GOOD)
    assert [(p.fold, p.same) for p in found.pairs] == [
        (0, True), (0, False), (1, True), (1, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("number", "line", "says"),
    [
        (1, "2", "line 1"),
        (1, "1\t2", "at least 2"),
        (1, "two\tfolds", "line 1"),
        (2, "Ann\t1", "line 2"),
        (2, "Ann\t1\tx", "line 2"),
        (2, "Ann\t1\t1", "two different photos"),
        (2, "Ann\t1\tBob\t1", "expected a genuine pair"),
        (3, "Ann\t1\t2", "line 3"),
        (3, "Ann\t1\tAnn\t2", "two different people"),
        (5, "Cid\t0\tDan\t1", "line 5"),
        (5, "Cid\t1\tDan\t1\textra", "fold 2"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, number: int, line: str, says: str) -> None:
    lines = GOOD.copy()
    lines[number - 1] = line
    with pytest.raises(DatasetError) as error:
        _read(tmp_path, lines)
    assert says in str(error.value)


@pytest.mark.parametrize("lines", [GOOD[:-1], [*GOOD, GOOD[-1]]])
def test_a_wrong_count_is_refused(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(DatasetError, match=rf"{len(lines) - 1} pairs, .* promises 4"):
        _read(tmp_path, lines)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_pairs(tmp_path / "nowhere.txt")
    (tmp_path / "pairs.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="not text"):
        read_pairs(tmp_path / "pairs.txt")


def test_lfw_is_read_whole(lfw_folder: Path) -> None:
    found = read_pairs(lfw_folder / "pairs.txt")
    assert (len(found.pairs), found.folds) == (6000, 10)
    assert sum(pair.same for pair in found.pairs) == 3000
