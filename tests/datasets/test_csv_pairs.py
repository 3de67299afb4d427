from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.csv_pairs import load_csv
from facenet_validate.datasets.lines import MOST_BYTES

PEOPLE = 12
Write = Callable[[Sequence[str]], Path]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos each of twelve people; only their names are looked at."""
    folder = tmp_path_factory.mktemp("own") / "staff"
    for person in range(PEOPLE):
        (folder / f"p{person}").mkdir(parents=True)
        for photo in range(3):
            (folder / f"p{person}" / f"{photo}.jpg").write_bytes(b"")
    (folder / "a, b.jpg").write_bytes(b"")
    (folder / "inside.jpg").symlink_to("p0/0.jpg")
    (folder.parent / "outside.jpg").write_bytes(b"")
    (folder / "out.jpg").symlink_to(folder.parent / "outside.jpg")
    (folder / "round.jpg").symlink_to("round.jpg")
    return folder


@pytest.fixture
def write(photos: Path) -> Write:
    def write(lines: Sequence[str]) -> Path:
        path = photos / "pairs.csv"
        path.write_bytes(("\n".join(lines) + "\n").encode())
        return path

    return write


def _rows(*, folds: int = 0) -> list[str]:
    """Return 24 genuine and 24 impostor pairs, and their header."""
    rows = []
    for person in range(PEOPLE):
        other = (person + 1) % PEOPLE
        fold = f",{person % folds}" if folds else ""
        rows += [
            f"p{person}/0.jpg,p{person}/1.jpg,1{fold}",
            f"p{person}/1.jpg,p{other}/2.jpg,0{fold}",
            f"p{person}/0.jpg,p{person}/2.jpg,yes{fold}",
            f"p{person}/0.jpg,p{other}/0.jpg,No{fold}",
        ]
    return ["left,right,same" + (",fold" if folds else ""), *rows]


def _error(path: Path) -> str:
    with pytest.raises(DatasetError) as error:
        load_csv(path)
    return str(error.value)


def test_a_good_file_is_read(write: Write, photos: Path) -> None:
    found = load_csv(write(_rows()))
    assert (found.name, found.people, len(found.names)) == ("staff", PEOPLE, 36)
    assert list(found.names) == sorted(found.names)
    assert all(path == photos / name for name, path in zip(found.names, found.paths, strict=True))
    assert found.names[found.left[1]] == "p0/1.jpg"
    assert found.names[found.right[1]] == "p1/2.jpg"
    assert found.same.tolist() == [True, False] * 24
    by_folder = [name.split("/")[0] for name in found.names]
    assert len(set(zip(by_folder, found.identities.tolist(), strict=True))) == PEOPLE
    assert not found.suspect.size
    assert not found.calibration_names


def test_without_folds_both_kinds_are_dealt_out_in_turn(write: Write) -> None:
    found = load_csv(write(_rows()))
    for kind in (True, False):
        assert found.folds[found.same == kind].tolist() == [i % 10 for i in range(24)]


@pytest.mark.parametrize("first", [0, 1])
def test_folds_are_counted_from_0_or_1(write: Write, first: int) -> None:
    head, *rows = _rows(folds=3)
    rows = [f"{row[:-1]}{int(row[-1]) + first}" for row in rows]
    found = load_csv(write([head, *rows]))
    assert found.folds.tolist() == [person % 3 for person in range(PEOPLE) for _ in range(4)]


def test_what_editors_and_spreadsheets_do_to_a_file_does_not_matter(photos: Path) -> None:
    rows = [*_rows(), 'p0/0.jpg , "a, b.jpg" ,FALSE', '"p0/1.jpg",./p3//1.jpg, 0']
    plain = load_csv(_write(photos / "plain.csv", "\n".join(rows).encode()))
    rows[0] = "Left, RIGHT ,same"
    rows.insert(3, "  ")
    content = b"\xef\xbb\xbf" + "\r\n".join([*rows, "", ""]).encode()
    found = load_csv(_write(photos / "Plain.csv", content))
    assert found.names == plain.names
    assert "a, b.jpg" in found.names
    for name in ("left", "right", "same", "folds", "identities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_link_inside_the_folder_is_the_photo_it_leads_to(write: Write) -> None:
    found = load_csv(write([*_rows(), "inside.jpg,p5/1.jpg,0"]))
    assert found.names[found.left[-1]] == "p0/0.jpg"
    assert "a pair of a photo with itself" in _error(write([*_rows(), "inside.jpg,p0/0.jpg,1"]))
    assert "the pair of line 2 again" in _error(write([*_rows(), "inside.jpg,p0/1.jpg,1"]))


BAD = [
    ("p0/0.jpg,p5/1.jpg", "2 fields; the header has 3"),
    ("p0/0.jpg,p5/1.jpg,0,1", "4 fields; the header has 3"),
    ("p0/0.jpg;p5/1.jpg;0", "1 fields"),
    ("p0/0.jpg,p5/1.jpg,2", "same is '2'; expected 1, true or yes"),
    ("p0/0.jpg,p5/1.jpg,", "same is ''"),
    ('p0/0.jpg,"p5/1.jpg,0', "a quotation mark without its partner"),
    ("p0/0.jpg,p5/9.jpg,0", "'p5/9.jpg': no such photo in the folder of the CSV (No such file"),
    ("p0/0.jpg,p5\\1.jpg,0", "Write paths with /"),
    ("p0/0.jpg,p5,0", "'p5' is not a file"),
    ("p0/0.jpg,,0", "'' is not the name of a photo"),
    ("p0/0.jpg,p5/1\0.jpg,0", "is not the name of a photo"),
    (f"p0/0.jpg,{'x' * 5000},0", "File name too long"),
    ("p0/0.jpg,round.jpg,0", "symbolic links"),
    ("p0/0.jpg,/etc/passwd,0", "'/etc/passwd' leaves the folder"),
    ("p0/0.jpg,../outside.jpg,0", "'../outside.jpg' leaves the folder"),
    ("p0/0.jpg,p5/../p5/1.jpg,0", "leaves the folder"),
    ("p0/0.jpg,out.jpg,0", "'out.jpg' is a link that leaves the folder"),
    ("p0/0.jpg,p0/0.jpg,1", "a pair of a photo with itself"),
    ("p0/1.jpg,p0/0.jpg,1", "the pair of line 2 again"),
    ("p0/1.jpg,p0/0.jpg,0", "impostor, but line 2 has the same two photos as genuine"),
    ("p2/2.jpg,p1/1.jpg,1", "genuine, but line 7 has the same two photos as impostor"),
    ("p0/1.jpg,p0/2.jpg,0", "an impostor pair, but by the genuine pairs the photos show one"),
]


@pytest.mark.parametrize(("row", "says"), BAD)
@pytest.mark.parametrize("where", [9, 49])
def test_a_bad_row_is_named_by_its_line(write: Write, row: str, says: str, where: int) -> None:
    rows = _rows()
    rows.insert(where, row)
    said = _error(write(rows))
    assert f"pairs.csv, line {where + 1}: " in said
    assert says in said


def test_a_bad_fold_is_named_by_its_line(write: Write) -> None:
    for fold in ("one", "-1", "1.0", "²", "9" * 5000):
        rows = [*_rows(folds=3), f"p0/0.jpg,p5/1.jpg,0,{fold}"]
        assert "line 50: fold is '" in _error(write(rows))


def test_every_bad_row_is_told_up_to_twenty(write: Write) -> None:
    rows = [*_rows(), *(row for row, _ in BAD[:-1])]
    said = _error(write(rows))
    assert f"{len(BAD) - 1} bad lines" in said
    assert [f"  line {50 + i}: " in said for i in range(len(BAD) - 1)] == [True] * 20 + [False]
    assert said.endswith("and 1 more")


@pytest.mark.parametrize(
    ("folds", "says"),
    [
        ("0134", "folds 0 to 4, but no pair is in fold 2"),
        ("2345", "folds 2 to 5, but no pair is in fold 1"),
        ("1111", "all pairs are in one"),
    ],
)
def test_folds_have_no_gaps(write: Write, folds: str, says: str) -> None:
    head, *rows = _rows(folds=4)
    rows = [f"{row[:-1]}{folds[int(row[-1])]}" for row in rows]
    assert says in _error(write([head, *rows]))


def test_a_fold_needs_pairs_of_both_kinds_to_train_on(write: Write) -> None:
    head, *rows = _rows(folds=2)
    rows = [f"{row[:-1]}{int(',0,' in row or ',No,' in row)}" for row in rows]
    assert "no genuine pair outside fold 0" in _error(write([head, *rows]))


@pytest.mark.parametrize(("kind", "says"), [("01", "24 genuine and 0"), ("0", "0 genuine and 24")])
def test_too_few_pairs_are_refused(write: Write, kind: str, says: str) -> None:
    wanted = {"01": (",1", ",yes"), "0": (",0", ",No")}[kind]
    head, *rows = _rows()
    assert says in _error(write([head, *(row for row in rows if row.endswith(wanted))]))
    assert "0 genuine and 0 impostor pairs" in _error(write([head]))


@pytest.mark.parametrize("head", ["", "right,left,same", "left;right;same", "p0/0.jpg,p0/1.jpg,1"])
def test_a_header_is_required(write: Write, head: str) -> None:
    assert "line 1: " in _error(write([head, *_rows()[1:]]))
    assert "expected the header left,right,same" in _error(write([]))


def test_a_pickle_is_named_and_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "cfp_fp.bin"
    path.write_bytes(pickle.dumps(([b"\xff\xd8\xff\xe0"] * 4, [True, False])))
    error = _error(path)
    assert "it is a Python pickle, as InsightFace's .bin sets are, and is not opened" in error
    assert "UTF-8. Save" not in error
    # Larger than a list of pairs may be, as InsightFace's are.
    with path.open("r+b") as file:
        os.truncate(file.fileno(), MOST_BYTES + 1)
    assert "it is a Python pickle" in _error(path)


def test_files_that_are_no_text_are_refused(photos: Path, tmp_path: Path) -> None:
    assert "cannot be read (No such file" in _error(tmp_path / "absent.csv")
    path = _write(photos / "latin.csv", "\n".join(_rows()).encode() + "\nJosé".encode("latin-1"))
    assert "line 50: not text in UTF-8" in _error(path)
    with path.open("wb") as file:
        os.truncate(file.fileno(), MOST_BYTES + 1)
    assert "larger than 64 MiB" in _error(path)


@pytest.mark.parametrize(("name", "says"), [("my set", "'my set'"), ("LFW", "called lfw")])
def test_a_set_has_a_name_that_gates_can_be_keyed_by(
    photos: Path, tmp_path: Path, name: str, says: str
) -> None:
    assert says in _error(tmp_path / f"{name}.csv")
    assert says in _error(tmp_path / name / "pairs.csv")


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
ALPHABET = st.sampled_from("p0/1.jpg,\"' \t;\r\n\0é²-yes2")


@FUZZ
@given(st.binary(max_size=200) | st.text(ALPHABET, max_size=200).map(str.encode), st.booleans())
def test_any_bytes_give_a_set_or_an_error(photos: Path, content: bytes, headed: bool) -> None:
    if headed:
        content = "\n".join(_rows()).encode() + b"\n" + content
    path = _write(photos / "fuzz.csv", content)
    with suppress(DatasetError):
        found = load_csv(path)
        assert len(found.same) >= 48
        assert (found.identities[found.left] == found.identities[found.right]).tolist() == (
            found.same.tolist()
        )


@FUZZ
@given(
    st.lists(st.sampled_from([row for row, _ in BAD[:-5]]), min_size=48, max_size=48),
    st.sets(st.integers(1, 48), min_size=1, max_size=19),
)
def test_all_spoilt_rows_and_no_others_are_named(
    photos: Path, bad: list[str], spoilt: set[int]
) -> None:
    rows = _rows()
    for index in spoilt:
        rows[index] = bad[index - 1]
    said = _error(_write(photos / "fuzz.csv", "\n".join(rows).encode()))
    named = [index for index in range(1, 49) if f"line {index + 1}: " in said]
    assert named == sorted(spoilt)


@FUZZ
@given(st.permutations(_rows()[1:]), st.lists(st.booleans(), min_size=48, max_size=48))
def test_what_is_said_does_not_depend_on_order_or_sides(
    photos: Path, rows: list[str], swapped: list[bool]
) -> None:
    plain = load_csv(_write(photos / "fuzz.csv", "\n".join(_rows()).encode()))
    turned = []
    for row, swap in zip(rows, swapped, strict=True):
        left, right, same = row.split(",")
        turned.append(f"{right},{left},{same}" if swap else row)
    content = "\n".join(["left,right,same", *turned]).encode()
    found = load_csv(_write(photos / "fuzz.csv", content))
    assert found.names == plain.names
    np.testing.assert_array_equal(found.identities, plain.identities)
    assert [
        (found.names[i], found.names[j]) for i, j in zip(found.left, found.right, strict=True)
    ] == [tuple(row.split(",")[:2]) for row in turned]


# --- groups ---------------------------------------------------------------------------------------


def _grouped(*, folds: int = 0) -> list[str]:
    """Pairs of two groups; impostor pairs across groups are in none."""
    header, *rows = _rows(folds=folds)
    names = ["Ärzte" if row % 8 < 4 else "guests" for row in range(len(rows))]
    told = [name if number % 6 else "" for number, name in enumerate(names)]
    return [f"{header},group", *map(",".join, zip(rows, told, strict=True))]


@pytest.mark.parametrize("folds", [0, 3])
def test_groups_are_read(write: Write, folds: int) -> None:
    found = load_csv(write(_grouped(folds=folds)))
    assert found.groups == ("guests", "Ärzte")
    assert found.group_of.shape == found.same.shape
    of = [("guests", "Ärzte", "")[number] for number in found.group_of]
    assert of == [row.rpartition(",")[2] for row in _grouped()[1:]]
    assert np.bincount(found.folds).size == (folds or 10)


def test_without_the_column_there_are_no_groups(write: Write) -> None:
    found = load_csv(write(_rows()))
    assert found.groups == ()
    assert set(found.group_of.tolist()) == {-1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [rows[0].replace("group", "grup"), *rows[1:]], "and group behind it"),
        (lambda rows: [rows[0], rows[1] + "x" * 61, *rows[2:]], "line 2: group is 'x"),
        (lambda rows: [rows[0], rows[1] + "a\tb", *rows[2:]], "line 2: group is"),
    ],
)
def test_groups_that_are_none_are_refused(
    write: Write, change: Callable[[list[str]], list[str]], message: str
) -> None:
    assert message in _error(write(change(_grouped())))


def test_too_many_groups_are_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facenet_validate.datasets.csv_pairs._MOST_GROUPS", 1)
    assert "2 groups; expected at most 1" in _error(write(_grouped()))
