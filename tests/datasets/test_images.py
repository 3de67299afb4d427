from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.faces import already_aligned
from facenet_validate.datasets.images import decode_image, encode_png


def photo(height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """A smooth RGB picture whose channels differ."""
    y, x = np.mgrid[:height, :width]
    return np.stack((x * 3 % 256, y * 4 % 256, (x + y) % 256), axis=2).astype(np.uint8)


def encode(image: NDArray[np.uint8], ending: str, *flags: int) -> bytes:
    encoded, data = cv2.imencode(ending, image[..., ::-1], flags)
    assert encoded
    return data.tobytes()


def with_thumbnail(jpeg: bytes) -> bytes:
    """Put another whole JPEG into a comment segment, as cameras put thumbnails into EXIF."""
    thumbnail = encode(photo(8, 8), ".jpg")
    return jpeg[:2] + b"\xff\xfe" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + jpeg[2:]


PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)


def test_png_decodes_to_the_same_rgb_pixels() -> None:
    image = photo()
    decoded = decode_image(encode(image, ".png"), name="a.png")
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, image)


@pytest.mark.parametrize("flags", [(), PROGRESSIVE], ids=["baseline", "progressive"])
def test_jpeg_decodes_to_rgb(flags: tuple[int, ...]) -> None:
    image = photo()
    decoded = decode_image(encode(image, ".jpg", *flags), name="a.jpg")
    assert np.abs(decoded.astype(int) - image).mean() < 3


def test_grey_becomes_rgb() -> None:
    grey = np.full((5, 6), 77, np.uint8)
    assert decode_image(cv2.imencode(".png", grey)[1].tobytes(), name="a").shape == (5, 6, 3)


@pytest.mark.parametrize("ending", [".jpg", ".png"])
@pytest.mark.parametrize("tail", [b"\0" * 100, b"garbage \xff\xd8 after the end"])
def test_bytes_after_the_end_do_not_matter(ending: str, tail: bytes) -> None:
    data = encode(photo(), ending)
    np.testing.assert_array_equal(decode_image(data + tail, name="a"), decode_image(data, name="a"))


@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("JPEG", encode(photo(), ".jpg")),
        ("JPEG", encode(photo(), ".jpg", *PROGRESSIVE)),
        ("JPEG", with_thumbnail(encode(photo(), ".jpg"))),
        ("PNG", encode(photo(), ".png")),
    ],
    ids=["baseline", "progressive", "thumbnail", "png"],
)
def test_a_truncated_file_is_named(kind: str, data: bytes, fraction: float) -> None:
    decode_image(data, name="whole")
    with pytest.raises(DatasetError, match=rf"people/A_0001 is a truncated {kind}.*again"):
        decode_image(data[: int(len(data) * fraction)], name="people/A_0001")


@given(st.data())
def test_no_proper_prefix_of_a_file_decodes(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([encode(photo(), ".jpg"), encode(photo(), ".png")]))
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(DatasetError, match="photo"):
        decode_image(whole[:cut], name="photo")


def test_a_file_that_is_no_image_shows_its_first_bytes() -> None:
    with pytest.raises(DatasetError, match=r"A_0001 is not an image.*b'GIF8'.*JPEG or PNG"):
        decode_image(b"GIF89a" + bytes(50), name="A_0001")


def test_an_empty_file_is_named() -> None:
    with pytest.raises(DatasetError, match=r"A_0001 is empty \(0 bytes\)"):
        decode_image(b"", name="A_0001")


def test_a_damaged_file_is_named() -> None:
    damaged = bytearray(encode(photo(), ".png"))
    damaged[16:24] = bytes(8)  # width and height
    with pytest.raises(DatasetError, match=r"A_0001 starts like a PNG.*cannot be decoded"):
        decode_image(bytes(damaged), name="A_0001")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_standardize_is_exact_and_contiguous(count: int) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (count, 160, 160, 3), dtype=np.uint8)
    batch = standardize(faces)
    assert batch.dtype == np.float32
    assert batch.shape == (count, 3, 160, 160)
    assert batch.flags.c_contiguous
    np.testing.assert_array_equal(batch, (faces.transpose(0, 3, 1, 2) - 127.5) / 128)


@pytest.mark.parametrize(
    ("faces", "out"),
    [
        (np.zeros((2, 16, 16, 3), np.float32), None),
        (np.zeros((2, 16, 16), np.uint8), None),
        (np.zeros((2, 16, 16, 4), np.uint8), None),
        (np.zeros((2, 16, 16, 3), np.uint8), np.empty((2, 3, 16, 16))),
        (np.zeros((2, 16, 16, 3), np.uint8), np.empty((1, 3, 16, 16), np.float32)),
        (np.zeros((2, 16, 16, 3), np.uint8), np.empty((2, 16, 16, 3), np.float32).T),
    ],
)
def test_standardize_refuses_other_arrays(faces: Any, out: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        standardize(faces, 16, out=out)


def test_standardize_takes_flipped_views() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    flipped = faces[:, :, ::-1]
    np.testing.assert_array_equal(standardize(flipped, 16), standardize(flipped.copy(), 16))


@pytest.mark.parametrize("size", [80, 320])
def test_standardize_resizes_to_what_the_model_reads(size: int) -> None:
    faces = np.full((1, 160, 160, 3), 64, np.uint8)
    faces[:, :80] = 192
    batch = standardize(faces, size)
    assert batch.shape == (1, 3, size, size)
    assert batch[0, 0, 0, 0] == pytest.approx((192 - 127.5) / 128)
    assert batch[0, 0, -1, 0] == pytest.approx((64 - 127.5) / 128)


def _framed(marker: int, bits: int) -> bytes:
    """A JPEG whose frame says it is of another kind."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((160, 160, 3), np.uint8))[1].tobytes())
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4] = marker, bits
    return bytes(data)


def _of_apple() -> bytes:
    """A PNG as Apple's tools write it: a chunk before the header."""
    data = encode_png(np.zeros((160, 160, 3), np.uint8))
    chunk = b"CgBI\x50\x00\x20\x02"
    return data[:8] + b"\0\0\0\x04" + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[8:]


UNREAD = {
    "12 bits": (_framed(0xC1, 12), "JPEG of 12 bits a colour"),
    "12 bits, progressive": (_framed(0xC2, 12), "JPEG of 12 bits a colour"),
    "lossless": (_framed(0xC3, 8), "lossless JPEG"),
    "lossless, 16 bits": (_framed(0xC3, 16), "lossless JPEG"),
    "lossless, arithmetic": (_framed(0xCB, 8), "lossless JPEG"),
    "hierarchical": (_framed(0xC5, 8), "hierarchical JPEG"),
    "JPEG-LS": (_framed(0xF7, 8), "JPEG-LS"),
    "Apple's PNG": (_of_apple(), "PNG of Apple's own form (CgBI)"),
}


@pytest.mark.parametrize("kind", UNREAD)
def test_a_kind_that_is_not_read_is_told_and_is_no_damage(kind: str, tmp_path: Path) -> None:
    data, says = UNREAD[kind]
    path = tmp_path / "A_0001.jpg"
    path.write_bytes(data)
    for number in range(2):
        said = ""
        try:
            if number:
                decode_image(data, name=str(path))
            else:
                already_aligned(["A_0001"], [path]).load(np.array([0]))
        except DatasetError as error:
            said = str(error)
        assert f"is a {says}, a kind that is not read" in said
        assert "damaged" not in said
        assert "pixels" not in said
