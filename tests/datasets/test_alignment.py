from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.alignment import AlignedFace, align_all, align_face
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.mtcnn import Detections, MtcnnNetworks, installed_networks
from facenet_validate.datasets.mtcnn_networks import DISTRIBUTION
from tests.waiting import HANG, wait_until


@pytest.fixture(scope="module")
def networks() -> MtcnnNetworks:
    try:
        importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{DISTRIBUTION} is not installed")
    return installed_networks()


@pytest.fixture(scope="module")
def photos(lfw_folder: Path) -> list[Path]:
    return sorted(find_layout(lfw_folder).photos.glob("A*/*_0001.jpg"))[:120]


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(seed: int, ending: str = ".png") -> bytes:
    return cv2.imencode(ending, noise(40, 50, seed))[1].tobytes()


def detections(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections(np.array(boxes, dtype=float).reshape(-1, 4), np.ones(len(boxes)))


def literal_crop(
    boxes: list[tuple[float, float, float, float]], width: int, height: int
) -> tuple[int, int, int, int] | None:
    """The crop rule as one would say it."""
    best, crop = -float("inf"), None
    for x1, y1, x2, y2 in boxes:
        candidate = (
            round(max(x1 - 16, 0)),
            round(max(y1 - 16, 0)),
            round(min(x2 + 16, width)),
            round(min(y2 + 16, height)),
        )
        if candidate[2] <= candidate[0] or candidate[3] <= candidate[1]:
            continue
        x, y = (x1 + x2) / 2 - width / 2, (y1 + y2) / 2 - height / 2
        merit = (x2 - x1) * (y2 - y1) - 2 * (x * x + y * y)
        if merit > best:
            best, crop = merit, candidate
    return crop


quarters = st.integers(-200, 800).map(lambda n: n / 4)
sides = st.integers(4, 600).map(lambda n: n / 4)
boxes = st.tuples(quarters, quarters, sides, sides).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(st.lists(boxes, min_size=1, max_size=5), st.integers(20, 150), st.integers(20, 150))
def test_the_crop_is_the_literal_rule(
    drawn: list[tuple[float, float, float, float]], width: int, height: int
) -> None:
    image = noise(height, width)
    face = align_face(image, detections(*drawn))
    crop = literal_crop(drawn, width, height)
    if crop is None:
        assert face.framing.faces_found == 0
        return
    assert face.framing.crop == crop
    x1, y1, x2, y2 = crop
    np.testing.assert_array_equal(face.pixels, cv2.resize(image[y1:y2, x1:x2], (160, 160)))


def test_a_central_face_wins_over_a_larger_one_at_the_border() -> None:
    face = align_face(noise(250, 250), detections((0, 0, 100, 100), (85, 85, 165, 165)))
    assert face.framing.crop == (69, 69, 181, 181)
    assert face.framing.boxes == ((85, 85, 165, 165), (0, 0, 100, 100))
    assert face.framing.faces_found == 2


def test_a_photo_without_a_face_gives_the_centre_crop() -> None:
    image = noise(250, 250)
    face = align_face(image, detections())
    assert (face.framing.crop, face.framing.faces_found) == ((62, 48, 186, 204), 0)
    np.testing.assert_array_equal(face.pixels, cv2.resize(image[48:204, 62:186], (160, 160)))


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_centre_crop_suits_any_size(width: int, height: int) -> None:
    face = align_face(np.zeros((height, width, 3), np.uint8), detections())
    assert face.pixels.shape == (160, 160, 3)
    assert face.pixels.dtype == np.uint8
    x1, y1, x2, y2 = face.framing.crop
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    # Half a pixel each for the photo's centre and the rounding of a corner.
    side = min(width, height)
    usual = (width / 2 - 0.252 * side, height / 2 - 0.308 * side)
    np.testing.assert_allclose((x1, y1), usual, atol=1.01)


def test_a_box_beside_the_photo_is_no_face() -> None:
    face = align_face(noise(100, 100), detections((150, 10, 220, 80)))
    assert face.framing.faces_found == 0


def same(a: list[tuple[str, AlignedFace]], b: list[tuple[str, AlignedFace]]) -> bool:
    return all(
        x == y and f.framing == g.framing and np.array_equal(f.pixels, g.pixels)
        for (x, f), (y, g) in zip(a, b, strict=True)
    )


def test_processes_give_what_one_process_gives(networks: MtcnnNetworks) -> None:
    named = [(f"p{seed:02d}", encoded(seed)) for seed in range(30)]
    here = list(align_all(named, networks, 1))
    assert [key for key, _ in here] == [key for key, _ in named]
    pooled = sorted(align_all(named, networks, 2), key=lambda result: result[0])
    assert same(here, pooled)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_undecodable_photo_is_named(networks: MtcnnNetworks, workers: int) -> None:
    named = [("good", encoded(0)), ("people/bad_0007", encoded(1)[:-30]), ("later", encoded(2))]
    with pytest.raises(DatasetError, match="people/bad_0007 is a truncated PNG"):
        list(align_all(named, networks, workers))
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", [1, 2])
def test_no_photos_give_nothing(networks: MtcnnNetworks, workers: int) -> None:
    assert list(align_all([], networks, workers)) == []


def test_few_photos_are_in_flight_and_none_before_the_first_is_asked_for(
    networks: MtcnnNetworks,
) -> None:
    taken = 0

    def endless() -> Iterator[tuple[str, bytes]]:
        nonlocal taken
        while True:
            taken += 1
            yield str(taken), encoded(taken)

    results = align_all(endless(), networks, 2)
    assert taken == 0
    next(results)
    assert taken <= 64
    results.close()  # type: ignore[attr-defined]  # a generator in fact
    assert multiprocessing.active_children() == []


def test_processes_end_when_the_photos_cannot_be_read(networks: MtcnnNetworks) -> None:
    def failing() -> Iterator[tuple[str, bytes]]:
        yield from ((str(n), encoded(n)) for n in range(20))
        raise DatasetError("photo 20 vanished")

    with pytest.raises(DatasetError, match="photo 20 vanished"):
        list(align_all(failing(), networks, 2))
    assert multiprocessing.active_children() == []


def test_a_dead_process_is_an_error_with_advice(networks: MtcnnNetworks) -> None:
    results = align_all(((str(n), encoded(n)) for n in range(1000)), networks, 2)
    next(results)
    victim = multiprocessing.active_children()[0].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(DatasetError, match=r"one of the 2 processes .* ended abruptly"):
        list(results)
    assert multiprocessing.active_children() == []


def test_zero_workers_are_refused(networks: MtcnnNetworks) -> None:
    with pytest.raises(ValueError, match="workers is 0"):
        list(align_all([], networks, 0))


# Without the guard that multiprocessing's spawned processes usually need.
ORPHANING = """
import cv2, itertools, multiprocessing, numpy, signal, sys
from facenet_validate.datasets.alignment import align_all
from facenet_validate.datasets.mtcnn import installed_networks

# Ignored where the tests were started in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
photo = cv2.imencode(".png", numpy.zeros((40, 40, 3), numpy.uint8))[1].tobytes()
results = align_all(((str(n), photo) for n in itertools.count()), installed_networks(), 2)
next(results)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_their_parent(
    networks: MtcnnNetworks, tmp_path: Path, how: signal.Signals
) -> None:
    script = tmp_path / "script.py"
    script.write_text(ORPHANING)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.send_signal(how)
        parent.wait(HANG)
    assert len(pids) == 2
    wait_until(lambda: not any(map(alive, pids)))


def test_real_photos_are_framed_alike(networks: MtcnnNetworks, photos: list[Path]) -> None:
    named = [(path.stem, path.read_bytes()) for path in photos]
    faces = [face for _, face in align_all(named, networks, 1)]
    assert all(face.framing.faces_found >= 1 for face in faces)
    framing = np.median([face.framing.crop for face in faces], axis=0) / 250
    centre_crop = align_face(np.zeros((250, 250, 3), np.uint8), detections()).framing.crop
    np.testing.assert_allclose(framing, np.divide(centre_crop, 250), atol=0.03)


def test_the_one_photo_of_the_pairs_without_a_face(
    networks: MtcnnNetworks, photos: list[Path]
) -> None:
    name = "Marilyn_Monroe"
    path = photos[0].parents[1] / name / f"{name}_0001.jpg"
    ((_, face),) = align_all([(name, path.read_bytes())], networks, 1)
    assert face.framing.faces_found == 0
