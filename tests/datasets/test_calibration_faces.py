from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.cache import Cache
from facenet_validate.datasets.calibration import CALIBRATED_ON, faces_in, faces_outside
from facenet_validate.datasets.faces import already_aligned, check_disjoint
from facenet_validate.datasets.images import decode_image, encode_png
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.models.quantization.recipes import MINIMUM_CALIBRATION_IMAGES
from tests.datasets.odd_sets import PAIRS, load, picture, write, write_set


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
        already_aligned(evaluation.calibration_names, evaluation.calibration_paths),
        already_aligned(evaluation.names, evaluation.paths),
    )


def test_a_part_has_the_digest_of_a_set_of_its_own(evaluation: VerificationSet) -> None:
    names, paths = evaluation.names, evaluation.paths
    part = already_aligned(names, paths).part(range(3, 7))
    own = already_aligned(names[3:7], paths[3:7])
    assert (part.names, part.digest) == (own.names, own.digest)
    np.testing.assert_array_equal(part.load(np.arange(4)), own.load(np.arange(4)))


def test_faces_beyond_those_calibrated_on_are_for_the_check(
    many: Path, shared_cache: Cache
) -> None:
    for index in range(30):
        (many / f"Z_{index:04d}.png").write_bytes(picture(index))
    found = faces_in(many, None, shared_cache, 2)
    assert len(found.faces.names) == 512
    assert found.check.names[:18] == tuple(f"Z_{index:04d}" for index in range(12, 30))
    assert len(found.check.names) == 500
    assert found.check_text == "500 faces, 18 of them not calibrated on"


@pytest.mark.parametrize(
    "name",
    [
        "Person_03_0009.png",
        "Person_03.png",
        "Person_03-9.png",
        "Person_03_0009_masked.png",
        "Person_03_masked.png",
        "Person_03 (2).jpg",
        "Person_03/portrait.png",
        "Person_03/2019/portrait.png",
        "all/Person_03_0009.jpeg",
        "Person_03_masked/1.png",
        "Person_03_surgical_mask/1.png",
        "Person_03 (1)/1.png",
        "Person_03 (copy)/2019/1.png",
        "Person_03.old/1.png",
        "PERSON_03/1.png",
        " person_03 /1.png",
        "x/Person_03-masked.png",
        "x/person_03-9.png",
        "x/PERSON_03.png",
    ],
)
def test_a_person_of_the_pairs_is_refused_by_whatever_names_it(
    name: str, many: Path, evaluation: VerificationSet, shared_cache: Cache
) -> None:
    path = many / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(1))
    with pytest.raises(DatasetError, match=r"shows Person_03, who is in the evaluation pairs"):
        faces_in(many, evaluation, shared_cache, 1)


@pytest.mark.parametrize(
    "name",
    ["Anna_Maria/1.png", "Anna_Maria_0001.png", "Annabel/1.png", "Di_Anna/1.png", "an/a.png"],
)
def test_a_name_that_begins_alike_is_another_person(
    name: str, many: Path, tmp_path: Path, shared_cache: Cache
) -> None:
    write(many, name, picture(9999))
    found = faces_in(many, load(write_set(tmp_path / "set", pairs=PAIRS)), shared_cache, 1)
    assert str(Path(name).with_suffix("")) in found.faces.names


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("place", ["Zoë_0009.png", "Zoë/portrait.png"])
def test_a_person_of_the_pairs_is_refused_in_every_unicode_form(
    form: Literal["NFC", "NFD"], place: str, many: Path, tmp_path: Path, shared_cache: Cache
) -> None:
    pairs = PAIRS.replace("Anna", "Zoë")
    folder = write_set(tmp_path / "set", {"Anna": "Zoë"}, pairs)
    write(many, unicodedata.normalize(form, place), picture(1))
    with pytest.raises(DatasetError, match="shows Zoë, who is in the evaluation pairs"):
        faces_in(many, load(folder), shared_cache, 1)


def test_hidden_files_are_passed_over(many: Path, shared_cache: Cache) -> None:
    write(many, "._Other_0000.png", b"resource fork")
    write(many, ".thumbs/Other_0000.png", b"thumbnail")
    assert len(faces_in(many, None, shared_cache, 1).faces.names) == MINIMUM_CALIBRATION_IMAGES


@pytest.mark.parametrize("copy", ["Other_9999.png", "Other_9999.jpg"])
def test_a_copy_of_one_person_counts_once(copy: str, many: Path, shared_cache: Cache) -> None:
    before = faces_in(many, None, shared_cache, 1)
    write(many, copy, (many / "Other_0007.png").read_bytes())
    found = faces_in(many, None, shared_cache, 1)
    assert found.faces.digest == before.faces.digest
    assert copy in " ".join(found.notes)


def test_copies_alone_are_too_few(tmp_path: Path, shared_cache: Cache) -> None:
    for number in range(500):
        write(tmp_path / "copies", f"Other_{number:04d}.png", picture(1))
    with pytest.raises(DatasetError, match=r"1 faces in .* at least 500"):
        faces_in(tmp_path / "copies", None, shared_cache, 1)


def test_copies_of_two_people_are_named_and_count(many: Path, shared_cache: Cache) -> None:
    write(many, "Strangers/1.png", (many / "Other_0007.png").read_bytes())
    found = faces_in(many, None, shared_cache, 1)
    assert len(found.faces.names) == MINIMUM_CALIBRATION_IMAGES + 1
    assert "Other_0007.png = Strangers/1.png" in " ".join(found.notes)
