"""What reports say of the alignment, and the pictures they hold."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import SettingsError
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.framing import Box, Framing
from facenet_validate.datasets.images import encode_png
from facenet_validate.reporting.alignment import alignment_facts
from facenet_validate.reporting.photos import PhotoRules

CROP = (0.0, 0.0, 40.0, 40.0)
LARGE: Box = (5.0, 5.0, 35.0, 35.0)
SMALL: Box = (0.0, 0.0, 8.0, 8.0)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in ("alone", "crowd", "pair", "nobody")]
    for shade, path in enumerate(paths):
        picture: NDArray[np.uint8] = np.full((40, 40, 3), 60 * shade, np.uint8)
        path.write_bytes(encode_png(picture))
    return paths


@pytest.fixture
def faces(photos: list[Path]) -> AlignedFaces:
    return AlignedFaces(
        tuple(path.stem for path in photos),
        "d" * 64,
        lambda row: photos[row].read_bytes(),
        (
            Framing(CROP, (LARGE,)),
            Framing(CROP, (LARGE, SMALL)),
            Framing(CROP, (LARGE, LARGE, SMALL)),
            Framing(CROP, ()),
        ),
        aligner="mtcnn",
    )


def test_photos_to_look_at_are_named_and_drawn(
    faces: AlignedFaces, photos: list[Path], tmp_path: Path
) -> None:
    facts = alignment_facts(faces, photos, PhotoRules("all", tmp_path / "report"))
    assert facts.undetected == ["nobody"]
    assert facts.several_faces == ["crowd", "pair"]
    assert len(facts.pictures) == 2
    for name in facts.pictures:
        assert cv2.imread(str(tmp_path / "report" / name)) is not None


def test_without_a_report_nothing_is_drawn(faces: AlignedFaces, photos: list[Path]) -> None:
    assert alignment_facts(faces, photos, PhotoRules("all", None)).pictures == []


def test_pictures_and_names_are_told_where_they_may_be(
    faces: AlignedFaces, photos: list[Path], tmp_path: Path
) -> None:
    changed = alignment_facts(faces, photos, PhotoRules("changed", tmp_path))
    none = alignment_facts(faces, photos, PhotoRules("none", tmp_path))
    assert changed.undetected == ["nobody"]
    assert (none.undetected, none.several_faces) == (["row 3"], ["row 1", "row 2"])
    assert changed.pictures == none.pictures == []


def test_the_most_doubtful_photos_come_first(
    faces: AlignedFaces,
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[list[str]] = []

    def sheet(chosen: list[object], title: str) -> bytes:
        drawn.append([vars(photo)["name"] for photo in chosen])
        return b""

    monkeypatch.setattr("facenet_validate.reporting.pictures.face_sheet", sheet)
    alignment_facts(faces, photos, PhotoRules("all", tmp_path))
    assert drawn == [["nobody"], ["pair", "crowd"]]


def test_a_picture_that_cannot_be_written_says_where(
    faces: AlignedFaces, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "pictures").write_text("a file")
    with pytest.raises(SettingsError, match="--facenet-report"):
        alignment_facts(faces, photos, PhotoRules("all", tmp_path))
