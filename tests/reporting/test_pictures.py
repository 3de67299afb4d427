"""Contact sheets: every photo, its boxes, and no more than fits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.framing import Framing
from facenet_validate.datasets.images import decode_image, encode_png
from facenet_validate.reporting.pictures import MOST_PHOTOS, PhotoWithBoxes, face_sheet

GREEN, ORANGE, WHITE = (0, 200, 60), (255, 140, 0), (255, 255, 255)
TAKEN, OTHER = (40.0, 40.0, 120.0, 120.0), (130.0, 10.0, 170.0, 50.0)
FRAMING = Framing((20.0, 20.0, 180.0, 180.0), (TAKEN, OTHER))


@pytest.fixture
def photo(tmp_path: Path) -> PhotoWithBoxes:
    path = tmp_path / "photo.png"
    picture: NDArray[np.uint8] = np.full((200, 200, 3), 10, np.uint8)
    path.write_bytes(encode_png(picture))
    return PhotoWithBoxes("photo", path, FRAMING)


def _sheet(photos: list[PhotoWithBoxes]) -> NDArray[np.uint8]:
    return decode_image(face_sheet(photos, "photos to look at"), name="sheet")


def _has(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour)).all(axis=2).any())


def test_the_face_taken_the_others_and_the_crop_are_told_apart(photo: PhotoWithBoxes) -> None:
    sheet = _sheet([photo])
    tile = sheet[72 : 72 + 200, 8 : 8 + 200]
    assert _has(tile[40:43, 45:115], GREEN)
    assert _has(tile[8:14, 135:165], ORANGE)
    assert _has(tile[18:23, 60:120], WHITE)
    assert not _has(tile[60:100, 60:100], GREEN)


def test_a_photo_without_a_face_shows_its_crop_alone(photo: PhotoWithBoxes) -> None:
    alone = PhotoWithBoxes(photo.name, photo.path, Framing(FRAMING.crop, ()))
    tile = _sheet([alone])[72 : 72 + 200, 8 : 8 + 200]
    assert _has(tile, WHITE)
    assert not _has(tile, GREEN)
    assert not _has(tile, ORANGE)


def test_a_sheet_is_bounded_and_counts_the_rest(
    photo: PhotoWithBoxes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _sheet([photo] * MOST_PHOTOS).shape == _sheet([photo] * 1000).shape
    written: list[str] = []
    put_text = cv2.putText

    def noted(image: object, text: str, *rest: object) -> object:
        written.append(text)
        return put_text(image, text, *rest)  # type: ignore[call-overload]

    monkeypatch.setattr(cv2, "putText", noted)
    face_sheet([photo] * 1000, "many")
    assert "and 941 more" in written
    assert written.count("photo") == MOST_PHOTOS - 1


@pytest.mark.parametrize(("height", "width"), [(50, 400), (400, 50), (1, 1)])
def test_photos_of_any_shape_fit_their_place(tmp_path: Path, height: int, width: int) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encode_png(np.zeros((height, width, 3), np.uint8)))
    sheet = _sheet([PhotoWithBoxes("Señor Ünïcode " * 9, path, FRAMING)])
    assert sheet.shape == _sheet([PhotoWithBoxes("a", path, FRAMING)]).shape


def test_a_photo_that_is_gone_is_named(photo: PhotoWithBoxes) -> None:
    photo.path.unlink()
    with pytest.raises(DatasetError, match=r"photo\.png: cannot be read"):
        face_sheet([photo], "gone")


def test_no_photos_make_no_sheet() -> None:
    with pytest.raises(ValueError, match="no photos"):
        face_sheet([], "none")
