from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import gallery, load_set
from facenet_validate.datasets.pairs import person_of
from facenet_validate.datasets.verification_set import VerificationSet


def _load(folder: Path) -> VerificationSet:
    return load_set(find_layout(folder), name="lfw", title="set")


def test_rows_follow_the_sorted_names(small_set: Path) -> None:
    found = _load(small_set)
    assert list(found.names) == sorted(found.names)
    assert len(found.names) == 48
    assert len(found.same) == 72
    first = (found.names[found.left[0]], found.names[found.right[0]])
    assert first == ("Person_00_0001", "Person_00_0002")
    assert found.people == 12
    assert all(p.stem == n for p, n in zip(found.paths, found.names, strict=True))


def test_identities_number_the_people(small_set: Path) -> None:
    found = _load(small_set)
    assert found.identities.tolist() == [person for person in range(12) for _ in range(4)]
    alike = found.identities[found.left] == found.identities[found.right]
    assert alike.tolist() == found.same.tolist()
    assert found.pairs.same is found.same


def test_the_gallery_has_every_photo_of_the_people_in_pairs(
    small_set: Path, copy_of: Callable[[Path], Path]
) -> None:
    folder = copy_of(small_set)
    further = folder / "Person_03" / "Person_03_0009.png"
    further.write_bytes(b"")
    found = gallery(find_layout(folder), _load(folder))
    assert list(found.names) == sorted(found.names)
    assert set(found.names) - set(_load(folder).names) == {"Person_03_0009"}
    row = found.names.index("Person_03_0009")
    assert found.identities[row] == 3
    assert found.paths[row] == further.resolve()
    assert [path.stem for path in found.paths] == list(found.names)


def test_only_the_pairs_of_lfw_have_errata(small_set: Path) -> None:
    assert not _load(small_set).suspect.size


def test_a_folder_that_cannot_be_read_is_named(
    small_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = find_layout(small_set)

    def refused(self: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(DatasetError, match=rf"{small_set}: cannot be read \(Permission denied"):
        load_set(layout, name="lfw", title="set")


def test_calibration_shows_nobody_of_the_pairs(small_set: Path) -> None:
    found = _load(small_set)
    people = {person_of(name) for name in found.names}
    others = {person_of(name) for name in found.calibration_names}
    assert len(found.calibration_names) == 26 * 4
    assert not people & others


@pytest.mark.parametrize("layout", ["lfw-deepfunneled", "lfw", "lfw_funneled"])
def test_photos_one_level_below_are_found(small_set: Path, tmp_path: Path, layout: str) -> None:
    shutil.copytree(small_set, tmp_path / layout)
    shutil.move(tmp_path / layout / "pairs.txt", tmp_path / "pairs.txt")
    assert find_layout(tmp_path).photos == (tmp_path / layout).resolve()
    assert find_layout(tmp_path / layout).photos == (tmp_path / layout).resolve()


def test_a_missing_photo_is_named(small_set: Path, copy_of: Callable[[Path], Path]) -> None:
    folder = copy_of(small_set)
    (folder / "Person_03" / "Person_03_0002.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 48 photos .* first Person_03_0002"):
        _load(folder)


def test_folders_that_are_no_set_are_named(tmp_path: Path, small_set: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        find_layout(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"no pairs\.txt"):
        find_layout(tmp_path / "empty")
    shutil.copy(small_set / "pairs.txt", tmp_path / "empty")
    with pytest.raises(DatasetError, match="no photos of Person_00"):
        find_layout(tmp_path / "empty")


def test_lfw_has_its_known_counts(lfw_folder: Path) -> None:
    found = _load(lfw_folder)
    assert (len(found.names), found.people) == (7701, 4281)
    assert len(found.calibration_names) == 512
    assert len({person_of(name) for name in found.calibration_names}) == 512
    everybody = gallery(find_layout(lfw_folder), found)
    assert len(everybody.names) == 11684
    assert len(set(everybody.identities.tolist())) == 4281
    assert set(everybody.names) > set(found.names)
    assert not {person_of(n) for n in everybody.names} & {
        person_of(n) for n in found.calibration_names
    }


def test_the_errata_of_lfw_are_genuine_pairs(lfw_folder: Path) -> None:
    found = _load(lfw_folder)
    assert found.suspect.tolist() == [112, 185, 201, 2498, 2550, 2551, 3651]
    assert found.same[found.suspect].all()
    first = found.names[found.left[112]]
    assert first == "Janica_Kostelic_0001"
