from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.pairs import PairsFile, PhotoPair, PhotoRef, read_pairs

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
            pairs.append(PhotoPair(PhotoRef(person, i), PhotoRef(person, j), True, fold))
        for _ in range(per_kind):
            left, right = draw(st.lists(NAMES, min_size=2, max_size=2, unique=True))
            pairs.append(
                PhotoPair(
                    PhotoRef(left, draw(NUMBERS)), PhotoRef(right, draw(NUMBERS)), False, fold
                )
            )
    return PairsFile(tuple(pairs), folds)


def format_pairs(file: PairsFile) -> str:
    """Return the text of a pairs file."""
    lines = [f"{file.folds}\t{len(file.pairs) // (2 * file.folds)}"]
    for pair in file.pairs:
        other = [] if pair.same else [pair.right.person]
        fields = (pair.left.person, pair.left.number, *other, pair.right.number)
        lines.append("\t".join(map(str, fields)))
    return "\n".join(lines) + "\n"


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
        (5, f"Cid\t{'9' * 5000}\tDan\t1", "line 5"),
        (5, "Cid\t²\tDan\t1", "line 5"),
        (5, "../Cid\t1\tDan\t1", "line 5"),
        (5, f"{'C' * 300}\t1\tDan\t1", "line 5"),
        (5, "Cid\0\t1\tDan\t1", "line 5"),
        (4, "", "line 4"),
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


def test_lines_that_are_no_pair_are_named_beside_a_wrong_count(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        _read(tmp_path, [*GOOD[:3], "", *GOOD[3:], "End of file"])
    said = str(error.value)
    assert "6 pairs, but its first line promises 4" in said
    assert "line 4: '' is no pair." in said
    assert "line 7: 'End of file' is no pair." in said


def test_every_bad_line_is_told_up_to_twenty(tmp_path: Path) -> None:
    lines = format_pairs(_many(2, 20)).splitlines()
    for index in range(3, 28):
        lines[index] = "?"
    with pytest.raises(DatasetError) as error:
        _read(tmp_path, lines)
    told = [number for number in range(1, 82) if f"line {number}: '?'" in str(error.value)]
    assert told == list(range(4, 24))
    assert "25 bad lines" in str(error.value)
    assert str(error.value).endswith("and 5 more")


def _many(folds: int, per_kind: int) -> PairsFile:
    refs = [PhotoRef(f"P{number}", 1) for number in range(per_kind + 1)]
    fold = [(ref, PhotoRef(ref.person, 2), True) for ref in refs[1:]]
    fold += [(refs[0], ref, False) for ref in refs[1:]]
    pairs = [PhotoPair(*pair, number) for number in range(folds) for pair in fold]
    return PairsFile(tuple(pairs), folds)


@given(st.binary(max_size=100) | st.text(st.sampled_from("2\t1\r\n Ann²\x1c\u2028-"), max_size=60))
def test_any_bytes_give_pairs_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "pairs.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with suppress(DatasetError):
        found = read_pairs(path)
        path.write_text(format_pairs(found))
        assert read_pairs(path) == found


WITHOUT_DIGITS = st.characters(exclude_characters="\n\r", exclude_categories=["Nd", "Cs"])
NO_PAIR = st.text(WITHOUT_DIGITS, max_size=30) | st.sampled_from(
    ["", " ", "A\t1", "A\t3\t3", "A\t1\tA\t2", "A\t0\t1", "A\t1\tB\tC", "A\t1\tB\t1\t1"]
)


@given(st.integers(2, 4), st.integers(1, 4), st.data(), NO_PAIR)
def test_the_one_bad_line_is_named(
    tmp_path_factory: pytest.TempPathFactory,
    folds: int,
    per_kind: int,
    data: st.DataObject,
    bad: str,
) -> None:
    lines = format_pairs(_many(folds, per_kind)).splitlines()
    spoilt = data.draw(st.integers(1, len(lines)))
    lines[spoilt - 1] = bad
    # What an empty last line is, nobody can tell: there the count is wrong.
    lines += [] if bad.strip() else ["P0\t1\t2"]
    with pytest.raises(DatasetError) as error:
        _read(tmp_path_factory.mktemp("fuzz"), lines)
    told = [n for n in range(1, len(lines) + 1) if f"line {n}: " in str(error.value)]
    assert told == [spoilt]


def test_line_numbers_are_those_of_an_editor(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_bytes("\r\n".join(GOOD).encode())
    assert len(read_pairs(path).pairs) == 4
    path.write_bytes("\n".join([*GOOD[:2], "Ann\x1c\u2028\t1\tBob\t1", "Cid", GOOD[4]]).encode())
    with pytest.raises(DatasetError, match=r"line 4: 'Cid'"):
        read_pairs(path)


def test_a_missing_or_binary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        read_pairs(tmp_path / "nowhere.txt")
    (tmp_path / "pairs.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="line 1: not text in UTF-8"):
        read_pairs(tmp_path / "pairs.txt")


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_a_pickle_is_named_and_not_opened(protocol: int, tmp_path: Path) -> None:
    """InsightFace's ``.bin`` sets: ([photos as bytes], [whether they are one person's])."""
    path = tmp_path / "pairs.txt"
    path.write_bytes(pickle.dumps(([b"\xff\xd8\xff\xe0"] * 4, [True, False]), protocol))
    if protocol == 0:
        path.write_bytes(pickle.dumps([b"photo"] * 4, protocol))
    with pytest.raises(DatasetError) as error:
        read_pairs(path)
    for text in (str(path), "Python pickle", "pickles run code", "a pair a line"):
        assert text in str(error.value)
    assert "Save it as UTF-8" not in str(error.value)


def test_a_binary_file_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_bytes(b"\x93NUMPY\x01\0" + b"\0" * 100)
    with pytest.raises(DatasetError, match=r"it is a binary file\. Expected a text file in UTF-8"):
        read_pairs(tmp_path / "pairs.txt")


def test_lfw_is_read_whole(lfw_folder: Path) -> None:
    found = read_pairs(lfw_folder / "pairs.txt")
    assert (len(found.pairs), found.folds) == (6000, 10)
    assert sum(pair.same for pair in found.pairs) == 3000
