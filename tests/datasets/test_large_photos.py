"""Photos of many megapixels: the memory of detection is bounded, and what is too large is named."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.cache import Cache
from facenet_validate.datasets.alignment import align_all, align_face
from facenet_validate.datasets.faces import faces_of
from facenet_validate.datasets.images import decode_image, encode_png
from facenet_validate.datasets.mtcnn import Mtcnn, MtcnnNetworks, installed_networks
from facenet_validate.datasets.synthetic import render_photo

PYRAMID = 0.6**2
"""Pixels of the pyramid's first level for each of the photo's."""

AS_IT_IS = 16 * 2**20


@pytest.fixture(scope="module")
def networks() -> MtcnnNetworks:
    return installed_networks()


class Recorder:
    """Finds nothing, and keeps the number of pixels that each run is given."""

    def __init__(self) -> None:
        self.pixels: list[int] = []

    def __call__(self, *args: object, **options: object) -> Recorder:
        return self

    def run(self, names: object, feeds: dict[str, NDArray[np.float32]]) -> list[Any]:
        (pixels,) = feeds.values()
        self.pixels.append(pixels.size // 3)
        _, width, height, _ = pixels.shape
        cells = 1, (width - 10) // 2, (height - 10) // 2
        return [np.zeros((*cells, 4), np.float32), np.zeros((*cells, 2), np.float32)]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    monkeypatch.setattr(ort, "InferenceSession", found)
    return found


SHAPES = [
    (3000, 4000),  # 12 MP
    (4000, 4000),  # 16 MP
    (4096, 4096),
    (4000, 6000),  # 24 MP
    (6000, 8000),  # 48 MP
    (9000, 12000),  # 108 MP
    (800, 100_000),
]


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_no_level_of_the_pyramid_has_more_pixels_than_that_of_16_megapixels(
    height: int, width: int, networks: MtcnnNetworks, recorder: Recorder
) -> None:
    # One byte in memory, whatever the shape.
    blank = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (height, width, 3))
    Mtcnn(networks).detect(blank)
    assert max(recorder.pixels) <= 1.01 * PYRAMID * AS_IT_IS
    if height * width <= AS_IT_IS:
        assert max(recorder.pixels) >= 0.99 * PYRAMID * height * width


def _scene(side: int, face: int, left: int, top: int) -> NDArray[np.uint8]:
    """A grey photo with a drawn face in it."""
    photo = np.full((side, side, 3), 90, np.uint8)
    drawn = cv2.resize(render_photo(3, 0), (face, face), interpolation=cv2.INTER_CUBIC)
    photo[top : top + face, left : left + face] = drawn
    return photo


def test_a_face_in_a_large_photo_is_found_where_it_is(networks: MtcnnNetworks) -> None:
    small = _scene(500, 160, 180, 140)
    large = cv2.resize(small, (5000, 5000), interpolation=cv2.INTER_CUBIC)
    detector = Mtcnn(networks)
    expected, found = detector.detect(small).boxes, detector.detect(large.astype(np.uint8)).boxes
    assert len(expected) == len(found) == 1
    np.testing.assert_allclose(found / 10, expected, atol=6)
    # The crop is of the photo itself: as sharp as it is.
    face = align_face(large.astype(np.uint8), detector.detect(large.astype(np.uint8)))
    x1, y1, x2, y2 = face.framing.crop
    assert x2 - x1 > 900
    assert face.framing.crop == (round(x1), round(y1), round(x2), round(y2))


def _claimed(width: int, height: int) -> bytes:
    """A PNG of 64×64 whose header claims another size."""
    png = encode_png(np.zeros((64, 64, 3), np.uint8))
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def _claimed_jpeg(width: int, height: int) -> bytes:
    jpeg = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    place = jpeg.index(b"\xff\xc0")
    return bytes(jpeg[: place + 5] + struct.pack(">HH", height, width) + jpeg[place + 9 :])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (_claimed(16_001, 16_000), "16001×16000 pixels, 256.02 megapixels"),
        (_claimed(20_000, 20_000), "20000×20000 pixels, 400.00 megapixels"),
        (_claimed(1_000_000, 1_000), "1000000×1000 pixels, 1000.00 megapixels"),
        (_claimed_jpeg(30_000, 30_000), "30000×30000 pixels, 900.00 megapixels"),
        (_claimed_jpeg(65_500, 65_500), "65500×65500 pixels, 4290.25 megapixels"),
    ],
)
def test_a_photo_of_too_many_pixels_is_refused_before_it_is_decoded(
    data: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    monkeypatch.setattr(cv2, "imdecode", lambda *args: decoded.append(1))
    with pytest.raises(DatasetError) as error:
        decode_image(data, name="people/A_0001.png")
    assert f"people/A_0001.png has {says}; expected at most 256 megapixels" in str(error.value)
    assert not decoded


class Failing:
    """A network that ends as ONNX Runtime does where memory is short."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, *args: object, **options: object) -> Failing:
        return self

    def run(self, *args: object) -> None:
        raise self.error


class Fail(Exception):  # noqa: N818
    """As the runtime's own are: of no common base."""


@pytest.mark.parametrize("error", [Fail("Failed to allocate\nmore"), MemoryError(), cv2.error("x")])
def test_an_error_of_the_runtime_names_the_photo_and_its_size(
    error: Exception, networks: MtcnnNetworks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "InferenceSession", Failing(error))
    photo = encode_png(np.zeros((300, 400, 3), np.uint8))
    said = ""
    try:
        list(align_all([("people/A_0001.png", photo)], networks, 1))
    except Exception as raised:
        said = f"{type(raised).__name__}: {raised}"
    assert said.startswith("DatasetError: people/A_0001.png: ")
    assert "400×300 pixels, 0.12 megapixels" in said
    assert "\n" not in said


def test_crops_of_reduced_photos_are_kept_apart(tmp_path: Path, recorder: Recorder) -> None:
    """Earlier versions searched large photos as they are: their crops are others."""
    small, large = tmp_path / "A_0001.png", tmp_path / "B_0001.png"
    cv2.imwrite(str(small), np.zeros((300, 400, 3), np.uint8))
    cv2.imwrite(str(large), np.zeros((4100, 4200, 3), np.uint8))
    cache = Cache(tmp_path / "cache")
    few = faces_of(["A_0001"], [small], cache, workers=1)
    both = faces_of(["A_0001", "B_0001"], [small, large], cache, workers=1)
    assert few.aligner.startswith("mtcnn-margin32-160-2-opencv-")
    assert both.aligner != few.aligner
