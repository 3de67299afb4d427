from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facenet_validate.datasets.calibration import CALIBRATED_ON, faces_in, faces_outside
from facenet_validate.datasets.faces import check_disjoint, faces_as_they_are
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import VerificationSet, load_set
from facenet_validate.errors import DatasetError
from facenet_validate.models.recipes import MINIMUM_CALIBRATION_IMAGES


@pytest.fixture(scope="module")
def evaluation(small_set: Path) -> VerificationSet:
    return load_set(find_layout(small_set), name="lfw", title="the small set")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Five hundred pictures of 160×160."""
    random = np.random.default_rng(0)
    folder = tmp_path / "faces"
    folder.mkdir()
    for index in range(MINIMUM_CALIBRATION_IMAGES):
        small = random.integers(0, 256, (10, 10, 3), dtype=np.uint8)
        picture = np.repeat(np.repeat(small, 16, axis=0), 16, axis=1)
        (folder / f"Other_{index:04d}.png").write_bytes(encode_png(picture))
    return folder


def test_a_folder_of_aligned_faces_is_taken(many: Path, evaluation: VerificationSet) -> None:
    found = faces_in(many, evaluation)
    assert found.count == MINIMUM_CALIBRATION_IMAGES <= CALIBRATED_ON
    assert found.faces.load(np.arange(2)).shape == (2, 160, 160, 3)
    assert found.faces.digest == faces_in(many, None).faces.digest


def test_too_few_are_refused(many: Path) -> None:
    next(many.iterdir()).unlink()
    with pytest.raises(DatasetError, match=r"499 faces in .* at least 500"):
        faces_in(many, None)


def test_unaligned_photos_are_refused(many: Path) -> None:
    (many / "A_0001.png").write_bytes(encode_png(np.zeros((250, 250, 3), np.uint8)))
    with pytest.raises(DatasetError, match=r"A_0001.png: not 160×160"):
        faces_in(many, None)


def test_a_person_of_the_pairs_is_refused(many: Path, evaluation: VerificationSet) -> None:
    first = next(iter(many.iterdir()))
    first.rename(many / "Person_03_0009.png")
    with pytest.raises(DatasetError, match="shows Person_03, who is in the evaluation pairs"):
        faces_in(many, evaluation)


def test_an_evaluation_photo_under_another_name_is_refused(
    many: Path, evaluation: VerificationSet
) -> None:
    (many / "Stranger_0001.png").write_bytes(evaluation.paths[5].read_bytes())
    with pytest.raises(
        DatasetError, match=f"Stranger_0001 is the evaluation photo {evaluation.names[5]}"
    ):
        faces_in(many, evaluation)


def test_a_set_with_few_people_outside_its_pairs_is_refused(
    evaluation: VerificationSet, shared_cache: object
) -> None:
    with pytest.raises(DatasetError, match=r"104 photos of people outside the pairs of the small"):
        faces_outside(evaluation, shared_cache, 2)  # type: ignore[arg-type]


def test_disjoint_sets_pass(evaluation: VerificationSet) -> None:
    check_disjoint(
        faces_as_they_are(evaluation.calibration_names, evaluation.calibration_paths),
        faces_as_they_are(evaluation.names, evaluation.paths),
    )
