from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from facenet_validate.base.errors import DatasetError
from facenet_validate.cache import Cache
from facenet_validate.datasets.face_store import FaceStore, StoredFace
from facenet_validate.datasets.faces import already_aligned, faces_of
from facenet_validate.datasets.framing import Framing
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.synthetic import render_photo

FRAMING = Framing((1.0, 2.0, 30.0, 40.0), ((3.5, 4.0, 20.25, 31.0), (0.0, 0.0, 5.0, 5.0)))
KEY = hashlib.sha256(b"photo").hexdigest()
WITHOUT_BOXES = (
    json.dumps(
        {"photo": KEY, "sha256": hashlib.sha256(b"png").hexdigest(), "faces_found": 1}
    ).encode()
    + b"\npng"
)
"""As an earlier version kept it."""


def test_a_stored_face_reads_back(tmp_path: Path) -> None:
    store = FaceStore(tmp_path)
    assert store.get(KEY) is None
    store.put(KEY, StoredFace(b"png", FRAMING))
    assert store.get(KEY) == StoredFace(b"png", FRAMING)


@pytest.mark.parametrize(
    "content", [b"", b"{}\npng", b"no json\npng", b'{"sha256": 3', WITHOUT_BOXES]
)
def test_a_damaged_face_is_absent(tmp_path: Path, content: bytes) -> None:
    store = FaceStore(tmp_path)
    store.put(KEY, StoredFace(b"png", FRAMING))
    (path,) = tmp_path.rglob("*.face")
    path.write_bytes(content)
    assert store.get(KEY) is None


def test_a_flipped_bit_makes_a_face_absent(tmp_path: Path) -> None:
    store = FaceStore(tmp_path)
    store.put(KEY, StoredFace(b"png", FRAMING))
    (path,) = tmp_path.rglob("*.face")
    path.write_bytes(path.read_bytes()[:-1] + b"h")
    assert store.get(KEY) is None


def test_aligned_photos_are_taken_as_they_are(small_set: Path) -> None:
    found = load_set(find_layout(small_set), name="lfw", title="")
    faces = already_aligned(found.names, found.paths)
    pixels = faces.load(np.array([5, 0]))
    np.testing.assert_array_equal(pixels[0], render_photo(1, 1))
    np.testing.assert_array_equal(pixels[1], render_photo(0, 0))


def test_digest_follows_names_and_pixels(small_set: Path, copy_of: Callable[[Path], Path]) -> None:
    def digest(folder: Path) -> str:
        found = load_set(find_layout(folder), name="lfw", title="")
        return already_aligned(found.names, found.paths).digest

    folder = copy_of(small_set)
    assert digest(folder) == digest(small_set)
    other = folder / "Person_00" / "Person_00_0001.png"
    other.write_bytes((folder / "Person_01" / "Person_01_0001.png").read_bytes())
    assert digest(folder) != digest(small_set)


def test_a_photo_that_becomes_another_size_is_named(tmp_path: Path) -> None:
    path = tmp_path / "Ann_0001.png"
    path.write_bytes(encode_png(np.zeros((160, 160, 3), np.uint8)))
    faces = already_aligned(["Ann_0001"], [path])
    path.write_bytes(encode_png(np.zeros((250, 250, 3), np.uint8)))
    with pytest.raises(DatasetError, match="Ann_0001: 250×250"):
        faces.load(np.array([0]))


ALIGN = """
import sys
from contextlib import nullcontext
from pathlib import Path
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import faces_of
folder = Path(sys.argv[1])
paths = sorted(folder.glob("*.png"))
names = [path.stem for path in paths]
def report(done, total):
    print(done, total, flush=True)
    if done == 3:
        sys.stdin.read()  # until it is killed
faces_of(names, paths, Cache(Path(sys.argv[2])), workers=2, stage=lambda: nullcontext(report))
"""


def test_what_was_aligned_before_a_kill_is_not_aligned_again(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(24):
        photo = np.full((120, 120, 3), 90, np.uint8)
        photo[10:110, 10:110] = render_photo(number, 0)[30:130, 30:130]
        (folder / f"{number:02d}.png").write_bytes(encode_png(photo))
    command = [sys.executable, "-c", ALIGN, str(folder), str(tmp_path / "cache")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(3)] == ["1 24\n", "2 24\n", "3 24\n"]
        process.send_signal(signal.SIGKILL)
    kept = len(list((tmp_path / "cache").rglob("*.face")))
    assert 3 <= kept < 24
    told: list[tuple[int, int]] = []
    paths = sorted(folder.glob("*.png"))
    faces = faces_of(
        [path.stem for path in paths],
        paths,
        Cache(tmp_path / "cache"),
        workers=1,
        stage=lambda: nullcontext(lambda done, total: told.append((done, total))),
    )
    assert len(told) == 24 - kept
    assert faces.load(np.arange(24)).shape == (24, 160, 160, 3)
    assert len(faces.framings) == 24
