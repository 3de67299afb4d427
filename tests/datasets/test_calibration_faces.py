from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.cache import Cache
from facenet_validate.datasets.calibration import CALIBRATED_ON, faces_in, faces_outside
from facenet_validate.datasets.faces import check_disjoint, faces_as_they_are
from facenet_validate.datasets.images import decode_image, encode_png
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import VerificationSet, load_set
from facenet_validate.errors import DatasetError
from facenet_validate.models.quantization.recipes import MINIMUM_CALIBRATION_IMAGES


def _compressed(picture: NDArray[np.uint8]) -> bytes:
    _, encoded = cv2.imencode(".png", picture[..., ::-1], (cv2.IMWRITE_PNG_COMPRESSION, 9))
    return encoded.tobytes()


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


def test_a_folder_of_aligned_faces_is_taken(
    many: Path, evaluation: VerificationSet, shared_cache: Cache
) -> None:
    found = faces_in(many, evaluation, shared_cache, 2)
    assert len(found.faces.names) == MINIMUM_CALIBRATION_IMAGES <= CALIBRATED_ON
    assert found.faces.load(np.arange(2)).shape == (2, 160, 160, 3)
    assert found.faces.digest == faces_in(many, None, shared_cache, 2).faces.digest


def test_too_few_are_refused(many: Path, shared_cache: Cache) -> None:
    next(many.iterdir()).unlink()
    with pytest.raises(DatasetError, match=r"499 faces in .* at least 500"):
        faces_in(many, None, shared_cache, 2)


def test_unaligned_photos_are_refused(many: Path, shared_cache: Cache) -> None:
    (many / "A_0001.png").write_bytes(encode_png(np.zeros((250, 250, 3), np.uint8)))
    with pytest.raises(DatasetError, match=r"A_0001.png: not 160×160"):
        faces_in(many, None, shared_cache, 2)


def test_a_person_of_the_pairs_is_refused(
    many: Path, evaluation: VerificationSet, shared_cache: Cache
) -> None:
    first = next(iter(many.iterdir()))
    first.rename(many / "Person_03_0009.png")
    with pytest.raises(DatasetError, match="shows Person_03, who is in the evaluation pairs"):
        faces_in(many, evaluation, shared_cache, 2)


def test_an_evaluation_photo_under_another_name_is_refused(
    many: Path, evaluation: VerificationSet, shared_cache: Cache
) -> None:
    # Other bytes, the same picture.
    picture = decode_image(evaluation.paths[5].read_bytes(), name="")
    (many / "Stranger_0001.png").write_bytes(_compressed(picture))
    with pytest.raises(
        DatasetError, match=f"Stranger_0001 is the evaluation photo {evaluation.names[5]}"
    ):
        faces_in(many, evaluation, shared_cache, 2)


def test_a_set_with_few_people_outside_its_pairs_is_refused(
    evaluation: VerificationSet, shared_cache: Cache
) -> None:
    with pytest.raises(DatasetError, match=r"104 photos of people outside the pairs of the small"):
        faces_outside(evaluation, shared_cache, 2)


def test_disjoint_sets_pass(evaluation: VerificationSet) -> None:
    check_disjoint(
        faces_as_they_are(evaluation.calibration_names, evaluation.calibration_paths),
        faces_as_they_are(evaluation.names, evaluation.paths),
    )


def test_a_part_has_the_digest_of_a_set_of_its_own(evaluation: VerificationSet) -> None:
    names, paths = evaluation.names, evaluation.paths
    part = faces_as_they_are(names, paths).part(range(3, 7))
    own = faces_as_they_are(names[3:7], paths[3:7])
    assert (part.names, part.digest) == (own.names, own.digest)
    np.testing.assert_array_equal(part.load(np.arange(4)), own.load(np.arange(4)))


def test_faces_beyond_those_calibrated_on_are_for_the_check(
    many: Path, shared_cache: Cache
) -> None:
    for index in range(30):
        (many / f"Z_{index:04d}.png").write_bytes((many / "Other_0000.png").read_bytes())
    found = faces_in(many, None, shared_cache, 2)
    assert len(found.faces.names) == 512
    assert found.check.names[:18] == tuple(f"Z_{index:04d}" for index in range(12, 30))
    assert len(found.check.names) == 500
    assert found.check_text == "500 faces, 18 of them not calibrated on"
