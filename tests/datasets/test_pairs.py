from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
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


def _any_order(count: int = 12) -> list[tuple[PhotoRef, PhotoRef]]:
    """Return genuine and impostor pairs in turn."""
    pairs = []
    for number in range(count):
        ann, bob = f"Ann Lee {number}", f"Bob_{number}"
        pairs.append((PhotoRef(ann, 1), PhotoRef(ann, 12)))
        pairs.append((PhotoRef(ann, 1), PhotoRef(bob, 3)))
    return pairs


def _by_numbers(left: PhotoRef, right: PhotoRef) -> str:
    other = [] if left.person == right.person else [right.person]
    return "\t".join(map(str, (left.person, left.number, *other, right.number)))


LINES: dict[str, Callable[[PhotoRef, PhotoRef], str]] = {
    "numbers": _by_numbers,
    "padded": lambda left, right: f" {_by_numbers(left, right)} ".replace("\t", " \t\t "),
    "paths": lambda left, right: f"{left.person}/{left.stem}\t{right.person}/{right.stem}",
    "endings": lambda left, right: (
        f"{left.person}/{left.stem}.jpg\t{right.person}/{right.stem}.PNG"
    ),
    "one ending": lambda left, right: (
        f"{left.person}/{left.stem}.jpeg\t{right.person}/{right.stem}"
    ),
}


@pytest.mark.parametrize("form", LINES)
@pytest.mark.parametrize("first", ["", "24\n", "\ufeff", "\ufeff24\r\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_forms_that_people_write(tmp_path: Path, form: str, first: str, end: str) -> None:
    path = tmp_path / "pairs.txt"
    lines = [LINES[form](*pair) for pair in _any_order()]
    path.write_bytes((first + end.join(lines) + end * 2).encode())
    found = read_pairs(path)
    assert [(pair.left, pair.right) for pair in found.pairs] == _any_order()
    assert [pair.same for pair in found.pairs] == [True, False] * 12
    # Runs of one pair each: 12 folds, as LFW's file would have.
    assert (found.folds, found.pairs[-1].fold) == (12, 11)


def test_spaces_separate_where_there_are_no_tabs(tmp_path: Path) -> None:
    lines = [
        LINES["numbers"](*pair).replace("Ann Lee ", "Ann_").replace("\t", " ")
        for pair in _any_order()
    ]
    assert _read(tmp_path, lines).pairs[1].left == PhotoRef("Ann_0", 1)
    assert _read(tmp_path, ["12 1", *lines]) == _read(tmp_path, lines)
    lines[4] = "Ann Lee 1 2"
    with pytest.raises(
        DatasetError, match=r"line 5: 'Ann Lee 1 2'; expected .*separated by tabs where names"
    ):
        _read(tmp_path, lines)


def test_a_number_in_a_name_is_no_number_of_a_photo(tmp_path: Path) -> None:
    lines = ["2\t1", "Person 7\t1\t2", "Person 7\t1\tBob 8\t1", *GOOD[3:]]
    found = _read(tmp_path, lines)
    assert found.pairs[0] == PhotoPair(PhotoRef("Person 7", 1), PhotoRef("Person 7", 2), True, 0)
    assert found.pairs[1].right == PhotoRef("Bob 8", 1)


@pytest.mark.parametrize(
    ("kinds", "folds"),
    [
        ("++--" * 6, [index // 4 for index in range(24)]),
        ("+" * 12 + "-" * 12, [*range(10), 0, 1] * 2),
        ("--++" * 6, [index // 4 * 2 % 10 + index % 2 for index in range(24)]),
        ("+" * 11 + "-" * 11 + "+-", [*range(10), 0, *range(10), 0, 1, 1]),
    ],
)
def test_folds_without_a_first_line(tmp_path: Path, kinds: str, folds: list[int]) -> None:
    pairs = {kind: iter(_any_order(24)[kind == "-" :: 2]) for kind in "+-"}
    found = _read(tmp_path, [_by_numbers(*next(pairs[kind])) for kind in kinds])
    assert [pair.fold for pair in found.pairs] == folds
    assert found.folds == max(folds) + 1


def test_lfw_view_1_has_one_number(tmp_path: Path) -> None:
    pairs = _any_order(11)
    lines = [_by_numbers(*pair) for pair in (*pairs[::2], *pairs[1::2])]
    assert _read(tmp_path, ["11", *lines]) == _read(tmp_path, ["22", *lines])
    assert _read(tmp_path, ["11", *lines]).folds == 10
    for promised in (10, 12, 21):
        with pytest.raises(DatasetError, match=f"line 1: promises {promised} pairs, but 22 follow"):
            _read(tmp_path, [str(promised), *lines])
    turned = [_by_numbers(*pair) for pair in pairs]
    with pytest.raises(DatasetError, match="11 genuine pairs and then 11 impostor pairs"):
        _read(tmp_path, ["11", *turned])


@pytest.mark.parametrize(
    "line",
    [
        "Ann/Ann_0001.jpg",
        "Ann/Ann_0001.gif\tAnn/Ann_0002.gif",
        "Ann/Ann_0001.jpg\tAnn/Ann_0001",
        "Ann/Ann_1\tAnn/Ann_2",
        "Ann/Ann_00001\tAnn/Ann_00002",
        "Ann/Bob_0001\tAnn/Ann_0002",
        "../Ann/Ann_0001\tAnn/Ann_0002",
        "Ann/Ann_0001\tAnn/Ann_0002\t0",
        "Ann/Ann_0000\tAnn/Ann_0002",
        "",
    ],
)
def test_a_line_of_another_form_is_named(tmp_path: Path, line: str) -> None:
    lines = [_by_numbers(*pair) for pair in _any_order()]
    lines[6] = line
    for first, number in (("", 7), ("24", 8)):
        with pytest.raises(DatasetError, match=f"line {number}: .*; expected a genuine pair"):
            _read(tmp_path, [*[first][: bool(first)], *lines])


def test_few_pairs_need_folds_in_the_first_line(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="2 genuine and 2 impostor pairs, and no number of folds"
    ):
        _read(tmp_path, GOOD[1:])


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


def test_lfw_in_other_forms_is_the_same(lfw_folder: Path, tmp_path: Path) -> None:
    plain = read_pairs(lfw_folder / "pairs.txt")
    assert (
        _read(tmp_path, [LINES["endings"](pair.left, pair.right) for pair in plain.pairs]) == plain
    )
    assert _read(tmp_path, [_by_numbers(pair.left, pair.right) for pair in plain.pairs]) == plain


def test_lfw_is_read_whole(lfw_folder: Path) -> None:
    found = read_pairs(lfw_folder / "pairs.txt")
    assert (len(found.pairs), found.folds) == (6000, 10)
    assert sum(pair.same for pair in found.pairs) == 3000
    # As it was read when only LFW's own form was.
    text = "\n".join(f"{p.left.stem} {p.right.stem} {p.same} {p.fold}" for p in found.pairs)
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "f9f1f6168cb5e8ba39c606671dff67bc0c1cc190010e2bd3ce4507af05b0b9e4"
    )
