from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets import synthetic
from facenet_validate.datasets.synthetic import (
    CALIBRATION_PEOPLE,
    EVALUATION_PEOPLE,
    PHOTOS_PER_PERSON,
    render_photo,
    write_synthetic_faces,
)

BLANK = np.zeros((160, 160, 3), np.uint8)
DRAWN_PERSON = 5
PHOTOS = (EVALUATION_PEOPLE + CALIBRATION_PEOPLE) * PHOTOS_PER_PERSON
Image = tuple[str, int]
Pair = tuple[Image, Image]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole set, drawn truly for one person only: the layout needs no other faces."""

    def render_one_person(person: int, photo: int) -> NDArray[np.uint8]:
        return render_photo(person, photo) if person == DRAWN_PERSON else BLANK

    folder = tmp_path_factory.mktemp("synthetic") / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "render_photo", render_one_person)
        write_synthetic_faces(folder)
    return folder


@pytest.fixture(scope="module")
def lines(written: Path) -> list[str]:
    return (written / "pairs.txt").read_text(encoding="ascii").splitlines()


@pytest.fixture(scope="module")
def folds(lines: list[str]) -> list[list[Pair]]:
    pairs = [_parsed(line) for line in lines[1:]]
    return [pairs[start : start + 600] for start in range(0, len(pairs), 600)]


def _parsed(line: str) -> Pair:
    fields = line.split("\t")
    if len(fields) == 3:
        name, first, second = fields
        return (name, int(first)), (name, int(second))
    one, first, other, second = fields
    return (one, int(first)), (other, int(second))


def _people(pairs: list[Pair]) -> set[str]:
    return {name for pair in pairs for name, _ in pair}


def _folders(written: Path) -> set[str]:
    return {path.name for path in written.iterdir() if path.is_dir()}


def _path(written: Path, image: Image) -> Path:
    name, number = image
    return written / name / f"{name}_{number:04d}.png"


def _digest() -> str:
    return hashlib.sha256(render_photo(3, 1).tobytes() + render_photo(90, 7).tobytes()).hexdigest()


def test_a_photo_is_an_rgb_picture_of_160_pixels() -> None:
    photo = render_photo(0, 0)
    assert photo.shape == (160, 160, 3)
    assert photo.dtype == np.uint8
    assert photo.flags.c_contiguous
    assert photo.std() > 20


def test_a_photo_does_not_depend_on_what_was_drawn_before() -> None:
    first = render_photo(7, 2)
    render_photo(8, 0)
    np.testing.assert_array_equal(render_photo(7, 2), first)


def test_a_fresh_process_draws_the_same_bytes() -> None:
    code = (
        "import hashlib;from facenet_validate.datasets.synthetic import render_photo as r;"
        "print(hashlib.sha256(r(3, 1).tobytes() + r(90, 7).tobytes()).hexdigest())"
    )
    root = Path(synthetic.__file__).parents[2]
    fresh = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    assert fresh.stdout.strip() == _digest()


def test_photos_of_a_person_differ_and_so_do_people() -> None:
    photos = [render_photo(person, photo) for person in range(4) for photo in range(3)]
    assert len({photo.tobytes() for photo in photos}) == len(photos)


@pytest.mark.parametrize(("person", "photo"), [(-1, 0), (0, -1)])
def test_negative_numbers_are_refused(person: int, photo: int) -> None:
    with pytest.raises(ValueError, match="count from 0"):
        render_photo(person, photo)


def test_every_person_of_the_set_is_drawn_without_a_numerical_fault() -> None:
    with np.errstate(all="raise", under="ignore"):
        for person in range(EVALUATION_PEOPLE + CALIBRATION_PEOPLE):
            assert render_photo(person, person % PHOTOS_PER_PERSON).std() > 10


def test_the_set_holds_at_most_1000_photos_in_pairs_and_512_for_calibration(
    written: Path, folds: list[list[Pair]]
) -> None:
    paired = {image for fold in folds for pair in fold for image in pair}
    assert len(paired) <= 1000
    assert len(list(written.glob("*/*.png"))) == PHOTOS
    assert CALIBRATION_PEOPLE * PHOTOS_PER_PERSON >= 512


def test_pairs_have_the_format_of_lfw(lines: list[str]) -> None:
    assert lines[0] == "10\t300"
    assert len(lines) == 6001
    for fold in range(10):
        kinds = [len(line.split("\t")) for line in lines[1 + 600 * fold : 601 + 600 * fold]]
        assert kinds == [3] * 300 + [4] * 300


def test_genuine_pairs_are_of_one_person_and_impostor_pairs_of_two(
    folds: list[list[Pair]],
) -> None:
    for fold in folds:
        assert all(one[0] == other[0] and one != other for one, other in fold[:300])
        assert all(one[0] != other[0] for one, other in fold[300:])


def test_no_pair_comes_twice_in_either_order(folds: list[list[Pair]]) -> None:
    counts = Counter(frozenset(pair) for fold in folds for pair in fold)
    assert len(counts) == 6000


def test_no_person_is_in_two_folds(folds: list[list[Pair]]) -> None:
    for one, other in combinations([_people(fold) for fold in folds], 2):
        assert one.isdisjoint(other)


def test_calibration_people_are_in_no_pair(written: Path, folds: list[list[Pair]]) -> None:
    evaluated = set().union(*(_people(fold) for fold in folds))
    assert len(evaluated) == EVALUATION_PEOPLE
    assert len(_folders(written) - evaluated) == CALIBRATION_PEOPLE


def test_every_image_of_a_pair_exists(written: Path, folds: list[list[Pair]]) -> None:
    images = {image for fold in folds for pair in fold for image in pair}
    assert [image for image in images if not _path(written, image).is_file()] == []


def test_a_written_photo_reads_back_as_it_was_drawn(written: Path) -> None:
    name = sorted(_folders(written))[DRAWN_PERSON]
    stored = cv2.imread(str(_path(written, (name, 3))), cv2.IMREAD_COLOR)
    assert stored is not None
    np.testing.assert_array_equal(stored[..., ::-1], render_photo(DRAWN_PERSON, 2))


def test_progress_counts_every_photo_and_pairs_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "render_photo", lambda person, photo: BLANK)
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        assert not (tmp_path / "pairs.txt").exists()
        seen.append((done, total))

    write_synthetic_faces(tmp_path, progress)
    assert seen == [(done, PHOTOS) for done in range(1, PHOTOS + 1)]
    assert (tmp_path / "pairs.txt").exists()


def test_a_folder_that_cannot_be_written_is_a_data_set_error(tmp_path: Path) -> None:
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    with pytest.raises(DatasetError, match="cannot write the synthetic faces"):
        write_synthetic_faces(occupied)
