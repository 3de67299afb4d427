"""Whose photo a file is: the folder is the person, and what does not fit is used for nothing."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Literal

import pytest

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.csv_pairs import load_csv
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import gallery
from facenet_validate.datasets.pairs import read_pairs
from tests.datasets.odd_sets import OTHERS, PAIRS, load, picture, relative, used, write, write_set

ODD = [
    "Anna/Anna_0001_surgical.png",
    "Anna/Anna_0003 (1).png",
    "Anna/Anna_mask_0004.png",
    "Ben/Ben-3.png",
    "Ben/Ben.png",
    "Ben/0001.jpg",
    "000_rejected/Dan_0001.png",
    "000_rejected/Dan_0009.jpeg",
    "Anna/Xeno_0007.png",
    "Anna/Nobody_0001.png",
    "Xeno/Anna_0009.png",
    "Zoe/Zoe_1.png",
    "Zoe/Zoe_0000.png",
    "Zoe/Zoe_00003.png",
    "Zoe/Zoe_٠٠٠٣.png",
    "Zoe/zoe_0003.png",
    "Zoe/Zoe_0003_0001.png",
    "Anna_0004.png",
    "stray.PNG",
    "Anna/2019/Anna_0004.png",
    "archive/Zoe/Zoe_0003.png",
]

HIDDEN = [
    ".DS_Store",
    "._Anna_0001.png",
    "Anna/._Anna_0001.png",
    "Zoe/._Zoe_0003.png",
    "Zoe/.Zoe_0003.png",
    "Zoe/.thumbs/Zoe_0003.png",
    ".trash/Zoe_0003.png",
    ".Trash/.Trash_0001.png",
    ".Trash/Trash_0001.png",
]


@pytest.mark.parametrize("odd", [*ODD, *HIDDEN])
def test_what_does_not_fit_is_used_for_nothing(tmp_path: Path, odd: str) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    write(folder, odd, picture(99))
    assert used(folder) == before


def test_all_of_it_together_is_used_for_nothing(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    for number, odd in enumerate([*ODD, *HIDDEN]):
        write(folder, odd, picture(100 + number))
    assert used(folder) == before


def test_what_does_not_fit_is_counted_and_hidden_files_are_not(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    for number, odd in enumerate([*ODD, *HIDDEN, "Anna/notes.txt", "people.csv"]):
        write(folder, odd, picture(100 + number))
    found = load(folder).notes
    assert sorted(found.left_out) == sorted(ODD)
    assert found.facts()["left_out"]["count"] == len(ODD)
    assert len(found.facts()["left_out"]["first"]) == 5
    assert not load(write_set(tmp_path / "clean")).notes.left_out


@pytest.mark.parametrize("ending", [".jpg", ".jpeg"])
def test_of_two_endings_one_photo_counts(tmp_path: Path, ending: str) -> None:
    folder = write_set(tmp_path / "set")
    for person in ("Anna", "Zoe"):
        write(folder, f"{person}/{person}_0001{ending}", picture(70))
    found = load(folder)
    assert found.names == load(write_set(tmp_path / "clean")).names
    assert sorted(found.notes.left_out) == ["Anna/Anna_0001.png", "Zoe/Zoe_0001.png"]


def test_what_only_looks_like_a_photo_is_none(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    before = used(folder)
    (folder / "Zoe" / "Zoe_0003.png").mkdir()
    (folder / "Zoe" / "Zoe_0004.png").symlink_to("Zoe_0009.png")
    (folder / "Zoe" / "round").symlink_to("../Zoe")
    assert used(folder) == before
    assert load(folder).notes.left_out == ("Zoe/Zoe_0004.png",)


def test_a_rejected_copy_is_not_the_photo_of_a_pair(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "Dan" / "Dan_0001.png").unlink()
    write(folder, "000_rejected/Dan_0001.png", picture(99))
    with pytest.raises(DatasetError, match=r"1 of 6 photos .* first Dan_0001"):
        load(folder)


def test_images_that_may_be_the_missing_ones_are_named(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    for photo in sorted((folder / "Anna").iterdir()):
        photo.rename(photo.with_name(photo.name.replace("_0", "_00")))
    said = ""
    try:
        load(folder)
    except DatasetError as error:
        said = str(error)
    assert "2 of 6 photos of pairs.txt are missing" in said
    assert "(Anna/Anna_00001.png, Anna/Anna_00002.png, Anna/Anna_00003.png)" in said
    assert "expected Anna/Anna_NNNN" in said
    (folder / "Dan" / "Dan_0001.png").unlink()
    (folder / "Anna" / "Anna_00001.png").rename(folder / "Anna" / "Anna_0001.png")
    (folder / "Anna" / "Anna_00002.png").rename(folder / "Anna" / "Anna_0002.png")
    with pytest.raises(DatasetError) as raised:
        load(folder)
    assert "named otherwise" not in str(raised.value)


def test_a_photo_numbered_beyond_9999_fits(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    write(folder, "Zoe/Zoe_10000.png", picture(99))
    assert "Zoe/Zoe_10000.png" in used(folder)["calibration"]


def test_a_linked_folder_is_a_person(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set")
    (folder / "Yves").rename(tmp_path / "elsewhere")
    (folder / "Yves").symlink_to(tmp_path / "elsewhere")
    assert "Yves_0001" in load(folder).calibration_names


Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD")


@pytest.mark.parametrize("pairs", FORMS)
@pytest.mark.parametrize("files", FORMS)
@pytest.mark.parametrize("folders", FORMS)
def test_names_are_found_in_every_unicode_form(
    tmp_path: Path, folders: Form, files: Form, pairs: Form
) -> None:
    anna, zoe = "Änne_Grün", "Zoë_Šimůnková"
    text = unicodedata.normalize(pairs, PAIRS.replace("Anna", anna))
    folder = write_set(tmp_path / "set", pairs=text)
    for old, new in (("Anna", anna), ("Zoe", zoe)):
        person = folder / unicodedata.normalize(folders, new)
        (folder / old).rename(person)
        for photo in list(person.iterdir()):
            name = photo.name.replace(old, new)
            photo.rename(person / unicodedata.normalize(files, name))
    try:
        found = load(folder)
    except DatasetError as error:
        pytest.fail(f"not found: {error}")
    assert f"{anna}_0001" in found.names
    assert {name.rsplit("_", 1)[0] for name in found.calibration_names} == {"Xeno", "Yves", zoe}
    assert f"{anna}_0003" in gallery(find_layout(folder), found).names
    assert not found.notes.left_out


def test_one_person_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    composed, apart = "Zo\u00eb", "Zoe\u0308"
    folder = write_set(tmp_path / "set", pairs=PAIRS.replace("Ben", composed))
    (folder / "Ben").rename(folder / composed)
    for photo in list((folder / composed).iterdir()):
        photo.rename(photo.with_name(photo.name.replace("Ben", composed)))
    write(folder, f"{apart}/{apart}_0007.png", picture(88))
    write(folder, f"{apart}/{apart}_0001.png", picture(89))
    found = load(folder)
    assert relative(folder, found.calibration_paths) == [
        f"{name}/{name}_000{number}.png" for name in OTHERS for number in (1, 2)
    ]
    assert f"{composed}_0007" in gallery(find_layout(folder), found).names
    assert len(found.notes.left_out) == 1


def test_an_impostor_pair_of_one_person_in_two_forms_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(PAIRS.replace("Anna\t1\tBen\t1", "Zo\u00eb\t1\tZoe\u0308\t2"), encoding="utf-8")
    with pytest.raises(DatasetError, match="line 3"):
        read_pairs(path)


@pytest.mark.parametrize("disk", FORMS)
@pytest.mark.parametrize("text", FORMS)
def test_photos_of_a_csv_are_found_in_every_unicode_form(
    tmp_path: Path, disk: Form, text: Form
) -> None:
    folder = tmp_path / "staff"
    rows = ["left,right,same"]
    for person in range(11):
        name = f"Zoë_{person}/Bild_ü"
        for photo in (1, 2):
            named = unicodedata.normalize(disk, f"{name}_{photo}.png")
            write(folder, named, picture(10 * person + photo))
        rows.append(f"{name}_1.png,{name}_2.png,1")
        if person:
            rows.append(f"{name}_1.png,Zoë_0/Bild_ü_1.png,0")
    content = unicodedata.normalize(text, "\n".join(rows))
    csv = write(folder, "pairs.csv", content.encode())
    try:
        found = load_csv(csv)
    except DatasetError as error:
        pytest.fail(f"not found: {error}")
    assert all(path.is_file() for path in found.paths)
    assert len(found.names) == 22


def test_names_that_are_no_text_are_people_too(tmp_path: Path) -> None:
    """Archives of old systems have names in Latin-1."""
    folder = write_set(tmp_path / "set")
    latin = os.fsencode(folder) + b"/Zo\xeb"
    Path(os.fsdecode(latin)).mkdir()
    for name in (b"Zo\xeb_0001.png", b"\xff\n.png"):
        Path(os.fsdecode(latin + b"/" + name)).write_bytes(picture(900 + len(name)))
    try:
        found = load(folder)
    except UnicodeError as error:
        pytest.fail(f"not read: {error}")
    assert len(found.calibration_names) == 7
    from facenet_validate.datasets.notes import note_lines

    (line,) = note_lines(found.notes.facts())
    assert line.endswith(r"1 (Zo\udceb/\udcff\n.png)")


@pytest.mark.parametrize("why", ["Permission denied", "File name too long"])
def test_a_folder_that_cannot_be_looked_into_is_one_line(
    tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_set(tmp_path / "set")

    def refuse(path: Path) -> bool:
        raise OSError(13, why)

    monkeypatch.setattr(Path, "is_dir", refuse)
    said = ""
    try:
        find_layout(folder)
    except Exception as raised:
        said = f"{type(raised).__name__}: {raised}"
    assert said.startswith(f"DatasetError: LFW folder {folder}: ")
    assert why in said
