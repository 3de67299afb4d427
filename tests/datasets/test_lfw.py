from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import VerificationSet, load_set
from facenet_validate.errors import DatasetError


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


def test_calibration_shows_nobody_of_the_pairs(small_set: Path) -> None:
    found = _load(small_set)
    people = {name.rsplit("_", 1)[0] for name in found.names}
    others = {name.rsplit("_", 1)[0] for name in found.calibration_names}
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
    assert len({name.rsplit("_", 1)[0] for name in found.calibration_names}) == 512
