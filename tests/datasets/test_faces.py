from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facenet_validate.datasets.faces import FaceStore, StoredFace, faces_as_they_are
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.errors import DatasetError

KEY = hashlib.sha256(b"photo").hexdigest()


def test_a_stored_face_reads_back(tmp_path: Path) -> None:
    store = FaceStore(tmp_path)
    assert store.get(KEY) is None
    store.put(KEY, StoredFace(b"png", 2))
    assert store.get(KEY) == StoredFace(b"png", 2)


@pytest.mark.parametrize("content", [b"", b"{}\npng", b"no json\npng", b'{"sha256": 3'])
def test_a_damaged_face_is_absent(tmp_path: Path, content: bytes) -> None:
    store = FaceStore(tmp_path)
    store.put(KEY, StoredFace(b"png", 1))
    (path,) = tmp_path.rglob("*.face")
    path.write_bytes(content)
    assert store.get(KEY) is None


def test_a_flipped_bit_makes_a_face_absent(tmp_path: Path) -> None:
    store = FaceStore(tmp_path)
    store.put(KEY, StoredFace(b"png", 1))
    (path,) = tmp_path.rglob("*.face")
    path.write_bytes(path.read_bytes()[:-1] + b"h")
    assert store.get(KEY) is None


def test_aligned_photos_are_taken_as_they_are(small_set: Path) -> None:
    found = load_set(find_layout(small_set), name="lfw", title="")
    faces = faces_as_they_are(found.names, found.paths)
    pixels = faces.load(np.array([5, 0]))
    np.testing.assert_array_equal(pixels[0], render_photo(1, 1))
    np.testing.assert_array_equal(pixels[1], render_photo(0, 0))


def test_digest_follows_names_and_pixels(small_set: Path, copy_of: Callable[[Path], Path]) -> None:
    def digest(folder: Path) -> str:
        found = load_set(find_layout(folder), name="lfw", title="")
        return faces_as_they_are(found.names, found.paths).digest

    folder = copy_of(small_set)
    assert digest(folder) == digest(small_set)
    other = folder / "Person_00" / "Person_00_0001.png"
    other.write_bytes((folder / "Person_01" / "Person_01_0001.png").read_bytes())
    assert digest(folder) != digest(small_set)


def test_a_photo_of_another_size_among_aligned_ones_is_named(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "Ann_0001.png"
    cv2.imwrite(str(path), np.zeros((250, 250, 3), np.uint8))
    faces = faces_as_they_are(["Ann_0001"], [path])
    with pytest.raises(DatasetError, match="Ann_0001: 250×250"):
        faces.load(np.array([0]))
