"""Damaged photos are refused, and every kind of sound file stays readable, to the same pixels."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.cache import Cache
from facenet_validate.datasets.faces import already_aligned, faces_of
from facenet_validate.datasets.images import decode_image


def _photo(height: int = 192, width: int = 208) -> NDArray[np.uint8]:
    """A picture with detail everywhere, as photos have."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy = smooth + random.normal(0, 12, smooth.shape)
    return np.asarray(np.clip(noisy, 0, 255), np.uint8)


def _jpeg(*flags: int, picture: NDArray[np.uint8] | None = None) -> bytes:
    image = _photo() if picture is None else picture
    return bytes(cv2.imencode(".jpg", image, flags)[1].tobytes())


def _scan(data: bytes) -> int:
    """Return where the data of the first scan begin."""
    position = 2
    while data[position + 1] != 0xDA:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def _segment(data: bytes, marker: int) -> int:
    """Return where the first segment of a kind begins."""
    position = 2
    while data[position + 1] != marker:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position


def _with(data: bytes, position: int, new: bytes) -> bytes:
    return data[:position] + new + data[position + len(new) :]


def _inserted(data: bytes, position: int, new: bytes) -> bytes:
    return data[:position] + new + data[position:]


def _cmyk() -> bytes:
    image = np.dstack((_photo(), 255 - _photo()[..., :1]))
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), colorspace="CMYK"))


def _adobe(transform: int) -> bytes:
    head = b"\xff\xee\0\x0eAdobe\0d\0\0\0\0" + bytes([transform])
    plain = _jpeg()
    return plain[:2] + head + plain[_segment(plain, 0xDB) :]


def _turned() -> bytes:
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    return _inserted(_jpeg(), 2, b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif)


def _without_tables() -> bytes:
    """A frame of a film, which leaves out the Huffman tables that all of them have."""
    data = _jpeg()
    start = _segment(data, 0xC4)
    while data[start + 1] == 0xC4:
        length = 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        data = data[:start] + data[start + length :]
    return data


RESTARTS = (cv2.IMWRITE_JPEG_RST_INTERVAL, 3)
PROGRESSIVE = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
SAMPLING = cv2.IMWRITE_JPEG_SAMPLING_FACTOR

SOUND: dict[str, Callable[[], bytes]] = {
    "baseline": _jpeg,
    "optimised": lambda: _jpeg(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "progressive": lambda: _jpeg(*PROGRESSIVE),
    "restart markers": lambda: _jpeg(*RESTARTS),
    "progressive with restart markers": lambda: _jpeg(*PROGRESSIVE, *RESTARTS),
    "best quality": lambda: _jpeg(cv2.IMWRITE_JPEG_QUALITY, 100),
    "worst quality": lambda: _jpeg(cv2.IMWRITE_JPEG_QUALITY, 1),
    "4:1:1": lambda: _jpeg(SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "4:2:2": lambda: _jpeg(SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "4:4:0": lambda: _jpeg(SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440),
    "4:4:4": lambda: _jpeg(SAMPLING, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "odd size": lambda: _jpeg(picture=_photo()[:33, :17]),
    "one pixel": lambda: _jpeg(picture=_photo()[:1, :1]),
    "grey": lambda: _jpeg(picture=np.ascontiguousarray(_photo()[..., 0])),
    "YCCK": _cmyk,
    "CMYK": lambda: _with(_cmyk(), 2 + 15, b"\0"),
    "RGB": lambda: _adobe(0),
    "several pictures": lambda: _jpeg() + _jpeg(picture=_photo()[:64, :64]),
    "turned": _turned,
    "film frame without tables": _without_tables,
    "bytes after the end": lambda: _jpeg() + bytes(100) + b"\xff\xd8 more",
    "fill bytes before the end": lambda: _jpeg()[:-2] + b"\xff" * 20 + b"\xff\xd9",
    "zeros before the end": lambda: _jpeg()[:-2] + bytes(500) + b"\xff\xd9",
    "line ends before the end": lambda: _jpeg()[:-2] + b"\r\n" * 9 + b"\xff\xd9",
    "zeros and line ends before the end": lambda: _jpeg()[:-2] + b"\0\r\n" * 9 + b"\xff\xd9",
    "zeros before a progressive end": lambda: _jpeg(*PROGRESSIVE)[:-2] + bytes(500) + b"\xff\xd9",
    "zeros between segments": lambda: _inserted(_jpeg(), _segment(_jpeg(), 0xDB), bytes(30)),
    "unknown version": lambda: _with(_jpeg(), 11, b"\x09"),
    "unknown transform": lambda: _adobe(9),
    "odd spectral range": lambda: _with(_jpeg(), _scan(_jpeg()) - 3, b"\0\0\0"),
    "metadata of zeros": lambda: _inserted(_jpeg(), 2, b"\xff\xe1\x10\0" + bytes(0x0FFE)),
}


@pytest.mark.parametrize("kind", SOUND)
def test_a_sound_file_decodes_to_the_pixels_of_opencv(kind: str) -> None:
    data = SOUND[kind]()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert expected is not None
    np.testing.assert_array_equal(decode_image(data, name="a"), expected[..., ::-1])


@pytest.mark.parametrize("why", ["Could not determine subsampling level", "Unsupported colour"])
def test_what_only_the_second_decoder_cannot_read_stays_readable(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise ValueError(why)

    monkeypatch.setattr(simplejpeg, "decode_jpeg", refuse)
    assert decode_image(_jpeg(), name="a").shape == (192, 208, 3)


HOLED = [
    "baseline",
    "optimised",
    "progressive",
    "restart markers",
    "best quality",
    "4:4:4",
    "grey",
    "YCCK",
    "several pictures",
    "turned",
    "bytes after the end",
    "zeros before the end",
    "line ends before the end",
    "zeros between segments",
    "unknown version",
    "unknown transform",
    "odd spectral range",
]


@pytest.mark.parametrize("size", [256, 1024])
@pytest.mark.parametrize("kind", HOLED)
def test_a_hole_in_the_scan_is_refused(kind: str, size: int) -> None:
    data = SOUND[kind]()
    whole = _jpeg(*(PROGRESSIVE if kind == "progressive" else ()))
    # What is appended, and further pictures, are not looked at.
    start = _scan(data) if "segments" not in kind else len(data) - len(whole) + _scan(whole)
    stop = start + 6000
    for position in range(start + 100, stop - size, 700):
        with pytest.raises(DatasetError, match=r"people/A_0001 is a damaged JPEG.*again"):
            decode_image(_with(data, position, bytes(size)), name="people/A_0001")


@pytest.mark.parametrize("filled", [b"\0\0", b"\r\n"])
def test_a_hole_up_to_the_end_is_refused(filled: bytes) -> None:
    data = _jpeg()
    for size in (300, 3000):
        with pytest.raises(DatasetError, match="A_0001 is a damaged JPEG"):
            decode_image(_with(data, len(data) - 2 - size, filled * (size // 2)), name="A_0001")


@pytest.mark.parametrize("size", [4, 16, 40, 256])
def test_a_hole_in_the_tables_is_refused_wherever_it_is(size: int) -> None:
    data = _jpeg()
    before = decode_image(data, name="whole")
    changed = 0
    for position in range(_segment(data, 0xDB) + 4, _scan(data), 3):
        holed = _with(data, position, bytes(size))
        after = cv2.imdecode(np.frombuffer(holed, np.uint8), cv2.IMREAD_COLOR)
        if after is None or np.array_equal(after[..., ::-1], before):
            continue
        changed += 1
        with pytest.raises(DatasetError, match=r"A_0001 is a (damaged|truncated) JPEG"):
            decode_image(holed, name="A_0001")
    assert changed > 20


def test_what_the_decoder_says_is_told() -> None:
    data = _jpeg()
    with pytest.raises(DatasetError, match=rf"{len(data)} bytes; Corrupt JPEG data: "):
        decode_image(_with(data, len(data) // 2, bytes(512)), name="A_0001")


def _scan_starts(data: bytes) -> list[int]:
    """Return where the scans' headers begin."""
    return [
        place
        for place in range(len(data))
        if data[place : place + 2] == b"\xff\xda" and data[place + 3] in (8, 10, 12)
    ]


PROGRESSIVES = {
    "colours": _photo(),
    "grey": np.ascontiguousarray(_photo()[..., 0]),
    "small": _photo(16, 16),
}


@pytest.mark.parametrize("how", ["cut", "zeros"])
@pytest.mark.parametrize("picture", PROGRESSIVES)
def test_a_progressive_file_without_its_last_scans_is_refused(picture: str, how: str) -> None:
    data = _jpeg(*PROGRESSIVE, picture=PROGRESSIVES[picture])
    starts = _scan_starts(data)
    assert len(starts) >= 6
    decode_image(data, name="whole")
    refused = 0
    for start in starts[1:]:
        kept = data[:start] if how == "cut" else data[:start] + bytes(len(data) - 2 - start)
        try:
            decode_image(kept + b"\xff\xd9", name="A_0001")
        except DatasetError as error:
            refused += "A_0001 is a damaged JPEG" in str(error)
    assert refused == len(starts) - 1


Script = list[tuple[tuple[int, ...], int, int, int]]
"""Scans: components, first and last coefficient, bits that are still to come."""

ALL = (1, 2, 3)
SCRIPTS: dict[str, tuple[int, Script, bool]] = {
    "no refinement": (0xC2, [(ALL, 0, 0, 0), *(((one,), 1, 63, 0) for one in ALL)], True),
    "many bands": (
        0xC2,
        [(ALL, 0, 0, 0), *(((one,), k, k + 8, 0) for one in ALL for k in range(1, 64, 9))],
        True,
    ),
    "colours apart": (0xC2, [((one,), k, k and 63, 0) for one in ALL for k in (0, 1)], True),
    "refined twice": (
        0xC2,
        [(ALL, 0, 0, 2), *(((one,), 1, 63, 2) for one in ALL), (ALL, 0, 0, 1), (ALL, 0, 0, 0)]
        + [((one,), 1, 63, bits) for bits in (1, 0) for one in ALL],
        True,
    ),
    "arithmetic": (0xCA, [(ALL, 0, 0, 0), *(((one,), 1, 63, 0) for one in ALL)], True),
    "sequential": (0xC0, [(ALL, 0, 63, 0)], True),
    "sequential, colours apart": (0xC1, [((one,), 0, 63, 0) for one in ALL], True),
    "sequential, odd range": (0xC0, [(ALL, 0, 0, 9)], True),
    "DC alone": (0xC2, [(ALL, 0, 0, 0)], False),
    "one colour's AC missing": (0xC2, [(ALL, 0, 0, 0), ((1,), 1, 63, 0), ((2,), 1, 63, 0)], False),
    "high band missing": (0xC2, [(ALL, 0, 0, 0), *(((one,), 1, 62, 0) for one in ALL)], False),
    "last bit of DC missing": (0xC2, [(ALL, 0, 0, 1), *(((one,), 1, 63, 0) for one in ALL)], False),
    "last bit of AC missing": (0xC2, [(ALL, 0, 0, 0), *(((one,), 1, 63, 1) for one in ALL)], False),
    "a sequential colour missing": (0xC0, [((1,), 0, 63, 0), ((3,), 0, 63, 0)], False),
    "a colour that is not in the frame": (0xC2, [((1, 2, 9), 0, 0, 0)], True),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_that_completes_the_picture_is_sound(script: str) -> None:
    from facenet_validate.datasets.jpeg_scans import missing_scans

    frame, scans, sound = SCRIPTS[script]
    data = b"\xff\xd8\xff" + bytes([frame]) + b"\0\x11\x08\0\x10\0\x10\x03"
    data += b"".join(bytes([one, 0x11, 0]) for one in ALL)
    for components, first, last, bits in scans:
        data += b"\xff\xda\0" + bytes([6 + 2 * len(components), len(components)])
        data += b"".join(bytes([one, 0]) for one in components) + bytes([first, last, bits])
        data += b"\x12\x34"
    assert bool(missing_scans(data + b"\xff\xd9")) is not sound


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(pixels: bytes) -> bytes:
    """A PNG of 64×64 of what stands for its compressed rows."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


ROWS = b"".join(b"\0" + row.tobytes() for row in _photo(64, 64))
WHOLE = zlib.compress(ROWS)

DAMAGED_PNGS = {
    "hole": _with(_png(WHOLE), 3000, bytes(256)),
    "flipped bit": _with(_png(WHOLE), 3000, bytes([_png(WHOLE)[3000] ^ 1])),
    "wrong sum of the header": _with(_png(WHOLE), 29, b"\0\0\0\0"),
    "wrong sum of the data": _with(_png(WHOLE), 41 + len(WHOLE), b"\0\0\0\0"),
    "half of the stream": _png(WHOLE[: len(WHOLE) // 2]),
    "hole with a right sum": _png(_with(WHOLE, 3000, bytes(256))),
    "wrong sum of the stream": _png(WHOLE[:-4] + bytes(4)),
    "half of the rows": _png(zlib.compress(ROWS[: len(ROWS) // 2])),
}


@pytest.mark.parametrize("damage", DAMAGED_PNGS)
def test_a_damaged_png_is_refused(damage: str) -> None:
    assert decode_image(_png(WHOLE), name="a").shape == (64, 64, 3)
    with pytest.raises(DatasetError, match=r"A_0001 starts like a PNG .* cannot be decoded"):
        decode_image(DAMAGED_PNGS[damage], name="A_0001")


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    data = _jpeg()
    path = tmp_path / "Ann_0001.jpg"
    path.write_bytes(_with(data, len(data) // 2, bytes(512)))
    return path


def test_a_damaged_photo_is_not_aligned(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Ann_0001\.jpg is a damaged JPEG"):
        faces_of(["Ann_0001"], [damaged], Cache(tmp_path / "cache"), workers=1)


def test_a_damaged_aligned_photo_is_not_loaded(tmp_path: Path) -> None:
    data = _jpeg(picture=_photo()[:160, :160])
    path = tmp_path / "Ann_0001.jpg"
    path.write_bytes(_with(data, len(data) // 2, bytes(512)))
    with pytest.raises(DatasetError, match="Ann_0001 is a damaged JPEG"):
        already_aligned(["Ann_0001"], [path]).load(np.array([0]))


def test_a_face_that_was_cut_from_a_damaged_photo_before_is_not_used(
    damaged: Path, tmp_path: Path
) -> None:
    sound = tmp_path / "Ben_0001.jpg"
    sound.write_bytes(_jpeg())
    cache = Cache(tmp_path / "cache")
    faces_of(["Ben_0001"], [sound], cache, workers=1)
    (kept,) = (tmp_path / "cache").rglob("*.face")
    header, _, png = kept.read_bytes().partition(b"\n")
    digest = hashlib.sha256(damaged.read_bytes()).hexdigest()
    values = {**json.loads(header), "photo": digest}
    values.pop("checked", None)
    old = kept.parents[1] / digest[:2] / f"{digest}.face"
    old.parent.mkdir(exist_ok=True)
    old.write_bytes(json.dumps(values).encode() + b"\n" + png)
    with pytest.raises(DatasetError, match=r"Ann_0001\.jpg is a damaged JPEG"):
        faces_of(["Ann_0001"], [damaged], cache, workers=1)


def test_every_photo_of_lfw_is_sound(lfw_folder: Path) -> None:
    from facenet_validate.datasets.damage import jpeg_damage
    from facenet_validate.datasets.layout import find_layout

    photos = sorted(find_layout(lfw_folder).photos.glob("*/*.jpg"))
    assert len(photos) == 13233
    assert [path.stem for path in photos if jpeg_damage(path.read_bytes())] == []
