"""Files of the same bytes: once a person in galleries and calibration, told, never out of pairs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from facenet_validate.datasets.csv_pairs import load_csv
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import gallery, load_set
from tests.datasets.odd_sets import OTHERS, load, picture, used, write, write_set


def _copy(folder: Path, of: str, to: str) -> None:
    write(folder, to, (folder / of).read_bytes())


@pytest.mark.parametrize(
    ("of", "to", "counts"),
    [
        ("Anna/Anna_0001.png", "Anna/Anna_0004.png", "Anna/Anna_0001.png"),
        ("Anna/Anna_0003.png", "Anna/Anna_0004.png", "Anna/Anna_0003.png"),
        ("Ben/Ben_0001.png", "Ben/Ben_0009.jpg", "Ben/Ben_0001.png"),
    ],
)
def test_a_copy_counts_once_in_the_gallery(tmp_path: Path, of: str, to: str, counts: str) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    _copy(folder, of, to)
    assert used(folder) == before
    assert counts in before["gallery"]


def test_the_copy_in_a_pair_is_the_one_that_counts(tmp_path: Path) -> None:
    pairs = "2\t1\nAnna\t2\t3\nAnna\t2\tBen\t1\nCleo\t1\t2\nCleo\t1\tDan\t1\n"
    folder = write_set(tmp_path / "set", pairs=pairs)
    _copy(folder, "Anna/Anna_0002.png", "Anna/Anna_0001.png")
    found = gallery(find_layout(folder), load(folder))
    assert [name for name in found.names if name.startswith("Anna")] == ["Anna_0002", "Anna_0003"]


def test_many_copies_do_not_raise_the_number_of_genuine_pairs(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    clean = gallery(find_layout(folder), load(folder))
    for number in range(4, 40):
        _copy(folder, "Anna/Anna_0003.png", f"Anna/Anna_{number:04d}.png")
    found = gallery(find_layout(folder), load(folder))
    np.testing.assert_array_equal(found.identities, clean.identities)


def test_a_copy_counts_once_in_calibration(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    for number in range(3, 9):
        _copy(folder, "Zoe/Zoe_0002.png", f"Zoe/Zoe_{number:04d}.png")
    (folder / "Yves" / "Yves_0003.png").symlink_to("Yves_0001.png")
    assert used(folder) == before


def test_listed_pairs_are_never_dropped(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    _copy(folder, "Anna/Anna_0001.png", "Anna/Anna_0002.png")
    found = load(folder)
    clean = load(write_set(tmp_path / "clean"))
    assert found.names == clean.names
    np.testing.assert_array_equal(found.left, clean.left)
    np.testing.assert_array_equal(found.right, clean.right)
    everybody = gallery(find_layout(folder), found)
    assert [name for name in everybody.names if name.startswith("Anna")] == [
        "Anna_0001",
        "Anna_0003",
    ]
    assert found.notes.copy_pairs == ("Anna_0001 = Anna_0002",)
    assert found.notes.facts()["copy_pairs"] == {"count": 1, "first": ["Anna_0001 = Anna_0002"]}


@pytest.mark.parametrize("shown", ["Anna/Anna_0001.png", "Ben/Ben_0001.png", "Dan/Dan_0003.png"])
@pytest.mark.parametrize("photo", ["Zoe/Zoe_0001.png", "Zoe/Zoe_0005.png"])
def test_who_has_a_photo_of_somebody_in_pairs_is_not_calibrated_on(
    tmp_path: Path, shown: str, photo: str
) -> None:
    folder = write_set(tmp_path / "set")
    _copy(folder, shown, photo)
    found = load(folder)
    people = {name.rsplit("_", 1)[0] for name in found.calibration_names}
    assert people == set(OTHERS) - {"Zoe"}
    assert found.notes.not_calibrated_on == ("Zoe",)
    one, other = sorted((Path(shown).stem, Path(photo).stem))
    assert found.notes.two_people == (f"{one} = {other}",)


def test_who_has_a_photo_of_such_a_person_is_not_calibrated_on_either(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    _copy(folder, "Anna/Anna_0001.png", "Zoe/Zoe_0003.png")
    _copy(folder, "Zoe/Zoe_0001.png", "Xeno/Xeno_0003.png")
    assert {name.rsplit("_", 1)[0] for name in load(folder).calibration_names} == {"Yves"}


@pytest.mark.parametrize(
    ("of", "to", "note"),
    [
        ("Zoe/Zoe_0001.png", "Anna/extra.png", "Zoe_0001 = Anna/extra.png"),
        ("Zoe/Zoe_0002.png", "Anna/2019/extra.png", "Zoe_0002 = Anna/2019/extra.png"),
        ("Zoe/Zoe_0001.png", "archive/Ben/1.png", "Zoe_0001 = archive/Ben/1.png"),
        ("Zoe/Zoe_0001.png", "Anna_0009.png", "Zoe_0001 = Anna_0009.png"),
        ("Zoe/Zoe_0001.png", "000_rejected/Dan_0009.png", "Zoe_0001 = 000_rejected/Dan_0009.png"),
        ("Zoe/Zoe_0001.png", "anna/1.png", "Zoe_0001 = anna/1.png"),
        ("Anna/Anna_0001.png", "Zoe/extra.png", "Anna_0001 = Zoe/extra.png"),
        ("Ben/Ben_0003.png", "Zoe/Ben_0003.png", "Ben_0003 = Zoe/Ben_0003.png"),
        ("Ben/Ben_0003.png", "Zoe/old/Ben.png", "Ben_0003 = Zoe/old/Ben.png"),
    ],
)
def test_an_image_that_is_left_out_tells_whom_its_copy_shows(
    tmp_path: Path, of: str, to: str, note: str
) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    _copy(folder, of, to)
    found = load(folder)
    people = {name.rsplit("_", 1)[0] for name in found.calibration_names}
    assert people == set(OTHERS) - {"Zoe"}
    assert found.notes.not_calibrated_on == ("Zoe",)
    assert found.notes.two_people == (note,)
    assert found.notes.left_out == (to,)
    assert {**used(folder), "calibration": []} == {**before, "calibration": []}


def test_two_images_that_are_left_out_join_their_people(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    for name in ("Anna/extra.png", "Zoe/other.png"):
        write(folder, name, picture(800))
    _copy(folder, "Zoe/Zoe_0001.png", "Yves/Yves.png")
    assert {name.rsplit("_", 1)[0] for name in load(folder).calibration_names} == {"Xeno"}


def test_a_folder_that_is_no_person_joins_nobody(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    for number, path in enumerate(sorted(folder.glob("*/*.png"))):
        write(folder, f"everybody/{number}.png", path.read_bytes())
        write(folder, f"{path.parent.name}/again/{path.name}", path.read_bytes())
    assert used(folder) == before
    assert not load(folder).notes.two_people


@pytest.mark.parametrize("name", ["anna", "ANNA", "Anna ", " anna", "AnNa"])
def test_another_spelling_of_a_name_is_no_other_person(tmp_path: Path, name: str) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    write(folder, f"{name}/{name}_0001.png", picture(900))
    assert used(folder) == before
    assert load(folder).notes.not_calibrated_on == (name,)


def test_spellings_of_a_name_outside_the_pairs_are_one_person(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    write(folder, "zoe/zoe_0001.png", picture(900))
    assert "zoe_0001" in load(folder).calibration_names
    _copy(folder, "Anna/Anna_0001.png", "zoe/zoe_0002.png")
    found = load(folder)
    assert {name.rsplit("_", 1)[0] for name in found.calibration_names} == {"Xeno", "Yves"}
    assert found.notes.not_calibrated_on == ("Zoe", "zoe")


def test_equal_photos_of_two_people_outside_the_pairs_are_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    _copy(folder, "Zoe/Zoe_0001.png", "Yves/Yves_0002.png")
    assert used(folder) == before
    assert load(folder).notes.two_people == ("Yves_0002 = Zoe_0001",)


def test_empty_files_are_no_copies_of_each_other(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    for name in ("Anna/Anna_0004", "Anna/Anna_0005", "Zoe/Zoe_0004", "Zoe/Zoe_0005"):
        write(folder, f"{name}.png", b"")
    found = load(folder)
    assert not found.notes.copies
    assert len(found.calibration_names) == 8


def test_only_files_that_may_be_equal_are_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facenet_validate.datasets import copies

    read: list[str] = []

    def digest(path: Path) -> str:
        read.append(path.name)
        return path.read_bytes().hex()

    monkeypatch.setattr(copies, "file_digest", digest)
    contents = {
        "a": b"x" * 900 + b"1" * 600,
        "b": b"y" * 900 + b"1" * 600,
        "c": b"x" * 900 + b"2" * 600,
        "d": b"x" * 900 + b"1" * 599,
        "e": b"x" * 900 + b"1" * 600,
    }
    paths = [write(tmp_path, name, content) for name, content in contents.items()]
    assert copies.equal_files(paths) == [(tmp_path / "a", tmp_path / "e")]
    assert read == ["a", "b", "e"]


def _csv(folder: Path, extra: tuple[str, ...] = ()) -> Path:
    """Write a set of eleven people of one's own, two photos each."""
    rows = ["left,right,same"]
    for person in range(11):
        for photo in (1, 2):
            write(folder, f"p{person}/{photo}.png", picture(500 + 10 * person + photo))
        rows.append(f"p{person}/1.png,p{person}/2.png,1")
        if person:
            rows.append(f"p{person}/1.png,p0/1.png,0")
    return write(folder, "pairs.csv", "\n".join([*rows, *extra]).encode())


def test_copies_in_a_csv_set_are_named_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "staff"
    clean = load_csv(_csv(folder))
    _copy(folder, "p3/1.png", "p3/2.png")
    _copy(folder, "p5/1.png", "p7/2.png")
    found = load_csv(folder / "pairs.csv")
    assert found.names == clean.names
    np.testing.assert_array_equal(found.same, clean.same)
    assert found.notes.copy_pairs == ("p3/1.png = p3/2.png",)
    assert found.notes.two_people == ("p5/1.png = p7/2.png",)
    assert not any(one["count"] for one in clean.notes.facts().values())


@pytest.mark.parametrize(
    "how",
    [
        "same bytes",
        "bytes left out",
        "folder's name",
        "other case",
        "photo's name",
        "in the tree",
        "linked",
    ],
)
def test_whom_another_set_shows_is_not_calibrated_on(tmp_path: Path, how: str) -> None:
    folder = write_set(tmp_path / "set")
    own = tmp_path / "staff"
    extra: tuple[str, ...] = ("p0/1.png,p1/2.png,0",)
    if how == "in the tree":
        own = folder
        extra = ("p0/1.png,Zoe/Zoe_0002.png,0",)
    elif how == "linked":
        own = tmp_path
        (folder / "Zoe").rename(own / "z")
        (folder / "Zoe").symlink_to(own / "z")
        write(own, "z/portrait.png", picture(700))
        extra = ("p0/1.png,z/portrait.png,0",)
    elif how == "folder's name":
        write(own, "Zoe/1.png", picture(700))
        extra = ("p0/1.png,Zoe/1.png,0",)
    elif how == "other case":
        write(own, "ZOE/1.png", picture(700))
        extra = ("p0/1.png,ZOE/1.png,0",)
    elif how == "photo's name":
        write(own, "all/Zoe_0044 copy.png", picture(700))
        extra = ("p0/1.png,all/Zoe_0044 copy.png,0",)
    path = _csv(own, extra)
    if how == "same bytes":
        shutil.copy(folder / "Zoe" / "Zoe_0001.png", own / "p1" / "2.png")
    elif how == "bytes left out":
        write(folder, "Zoe/extra.png", (own / "p1" / "2.png").read_bytes())
    path = path.rename(path.with_name("staff.csv"))
    found = load_set(find_layout(folder), name="lfw", title="", others=[load_csv(path)])
    people = {name.rsplit("_", 1)[0] for name in found.calibration_names}
    assert people == set(OTHERS) - {"Zoe"}
    assert found.notes.not_calibrated_on == ("Zoe",)
