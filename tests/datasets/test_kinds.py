"""A set is of one kind: all of its photos are aligned faces, 160×160, or none is."""

from __future__ import annotations

import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from facenet_validate.base.errors import DatasetError
from facenet_validate.cache import Cache
from facenet_validate.cli import main
from facenet_validate.commands.prepare import read_faces
from facenet_validate.datasets.calibration import faces_in, faces_outside
from tests.datasets.odd_sets import load, picture, write, write_set
from tests.models.small_facenet import small_facenet


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with 500 photos of people outside its pairs, all aligned."""
    folder = write_set(tmp_path_factory.mktemp("many") / "set")
    for number in range(500):
        write(folder, f"Person_{number}/Person_{number}_0001.png", picture(1000 + number))
    return folder


@pytest.fixture
def copy(many: Path, copy_of: Callable[[Path], Path]) -> Path:
    return copy_of(many)


@pytest.mark.parametrize("odd", ["first", "middle", "last"])
def test_one_photo_of_another_size_is_refused_wherever_it_is(
    copy: Path, odd: str, shared_cache: Cache
) -> None:
    found = load(copy)
    place = {"first": 0, "middle": 200, "last": 499}[odd]
    path = found.calibration_paths[place]
    path.write_bytes(picture(1, side=240))
    with pytest.raises(DatasetError) as error:
        faces_outside(load(copy), shared_cache, 1)
    said = str(error.value)
    assert path.stem in said
    assert "of the 512 photos of the set 511 are" in said
    assert "1 are not" in said


def test_photos_to_align_beside_an_aligned_set_are_refused(copy: Path, shared_cache: Cache) -> None:
    for path in load(copy).calibration_paths:
        path.write_bytes(picture(1000 + int(path.stem[-4:]), side=240))
    with pytest.raises(DatasetError) as error:
        faces_outside(load(copy), shared_cache, 1)
    assert "6 are, as aligned faces are (Anna_0001, Anna_0002, Ben_0001, …)" in str(error.value)


def test_a_mixture_among_the_evaluation_photos_is_refused(copy: Path, shared_cache: Cache) -> None:
    load(copy).paths[4].write_bytes(picture(1, side=240))
    with pytest.raises(DatasetError, match=r"Cleo_0002: not 160×160.* 5 are.*Anna_0001"):
        faces_outside(load(copy), shared_cache, 1)


def _flat(folder: Path, count: int, sides: dict[int, int]) -> Path:
    for number in range(count):
        side = sides.get(number, 160)
        write(folder, f"Other_{number:04d}.png", picture(number, side=side))
    return folder


@pytest.mark.parametrize("odd", [0, 250, 499])
def test_a_folder_to_calibrate_on_is_looked_through(
    tmp_path: Path, odd: int, shared_cache: Cache
) -> None:
    folder = _flat(tmp_path / "faces", 500, {odd: 240})
    with pytest.raises(DatasetError) as error:
        faces_in(folder, None, shared_cache, 1)
    assert f"Other_{odd:04d}.png: not 160×160 pixels" in str(error.value)
    assert "499 are" in str(error.value)


def test_a_folder_of_photos_to_align_is_refused_with_advice(
    tmp_path: Path, shared_cache: Cache
) -> None:
    folder = _flat(tmp_path / "faces", 500, dict.fromkeys(range(500), 240))
    with pytest.raises(DatasetError, match=r"Other_0000\.png: 240×240 pixels.* --lfw"):
        faces_in(folder, None, shared_cache, 1)


def test_quantize_refuses_a_mixture_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(small_facenet(), "mine.onnx")
    folder = _flat(tmp_path / "faces", 500, {499: 240})
    command = ["quantize", "mine.onnx", "--calibration", str(folder), "--cache", "cache"]
    assert main(command) == 2
    (said,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "Other_0499.png: not 160×160" in said
    assert "500 photos of the set 499 are" in said
    assert not list(tmp_path.glob("mine.*.onnx"))


@pytest.mark.parametrize("odd", [0, 3, 7])
def test_faces_to_prove_with_are_of_one_kind(tmp_path: Path, odd: int) -> None:
    folder = _flat(tmp_path / "faces", 8, {odd: 240})
    with pytest.raises(DatasetError, match=rf"Other_000{odd}.png: not 160×160.* 7 are"):
        read_faces(folder)


def test_faces_to_prove_with_that_are_all_photos_are_refused(tmp_path: Path) -> None:
    folder = _flat(tmp_path / "faces", 4, dict.fromkeys(range(4), 240))
    with pytest.raises(DatasetError, match="240×240 pixels; expected an aligned face of 160×160"):
        read_faces(folder)


def test_hidden_files_are_no_faces(tmp_path: Path) -> None:
    folder = _flat(tmp_path / "faces", 4, {})
    write(folder, "._Other_0000.png", b"resource fork")
    write(folder, ".cache/Other_0000.png", b"thumbnail")
    assert read_faces(folder).shape == (4, 160, 160, 3)


def _rotated(jpeg: bytes, orientation: int) -> bytes:
    """Give a JPEG an EXIF header with an orientation."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def _jpeg(width: int, height: int, *flags: int) -> bytes:
    small = np.random.default_rng(width * height).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".jpg", cv2.resize(small, (width, height)), flags)[1].tobytes())


LARGE_HEADER = b"\xff\xe2" + (60_000).to_bytes(2, "big") + bytes(59_998)

KINDS = {
    "baseline": _jpeg(160, 160),
    "progressive": _jpeg(160, 160, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "grey": bytes(cv2.imencode(".jpg", np.full((160, 160), 9, np.uint8))[1].tobytes()),
    "turned": _rotated(_jpeg(160, 160), 6),
    "large header": _jpeg(160, 160)[:2] + 3 * LARGE_HEADER + _jpeg(160, 160)[2:],
    "palette": b"",
}


def _palette() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 160, 160, 8, 3, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(160)) for _ in range(160))
    parts = [chunk(b"IHDR", header), chunk(b"PLTE", bytes(range(256)) * 3)]
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_is_known_of_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    content = KINDS[kind] or _palette()
    for number in range(4):
        write(tmp_path, f"{number}.jpg", content)
    assert read_faces(tmp_path).shape == (4, 160, 160, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"GIF89a", "not an image"),
        (_jpeg(160, 160)[:100], "truncated"),
        (picture(1)[:40], "truncated"),
    ],
)
def test_a_file_without_a_size_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    folder = _flat(tmp_path / "faces", 4, {})
    write(folder, "Other_0002.png", content)
    with pytest.raises(DatasetError, match=rf"Other_0002\.png.*{says}"):
        read_faces(folder)


NEEDS = {
    "evaluation": ("facenet_faces", "lfw", "Person_11_0002"),
    "calibration": ("_facenet_data.calibration", "lfw", "Person_22_0001"),
    "further set": ("_facenet_data.faces_of('staff')", "staff", "Person_11_0002"),
    "gallery": (
        "_facenet_data.gallery_faces([row for row, name in enumerate(_facenet_data.gallery.names) "
        "if name not in _facenet_data.first.names])",
        "lfw",
        "Person_03_0009",
    ),
}


@pytest.mark.parametrize("mixed", NEEDS)
def test_a_run_refuses_a_mixture(
    pytester: pytest.Pytester, tmp_path: Path, small_set: Path, mixed: str, shared_cache: Cache
) -> None:
    needs, where, photo = NEEDS[mixed]
    folder = Path(shutil.copytree(small_set, tmp_path / "lfw"))
    staff = Path(shutil.copytree(small_set, tmp_path / "staff"))
    rows = ["left,right,same"]
    for person in range(12):
        name = f"Person_{person:02d}/Person_{person:02d}_000"
        rows += [f"{name}1.png,{name}2.png,1", f"{name}1.png,Person_30/Person_30_0001.png,0"]
    write(staff, "pairs.csv", "\n".join(rows).encode())
    write(tmp_path, f"{where}/{photo[:9]}/{photo}.png", picture(3, side=240))
    write(pytester.path, "baselines/gates.toml", b"schema = 1\n[gates.any.any.any]\n")
    fixtures = ", ".join(sorted(set(re.findall(r"_?facenet_\w+", needs))))
    pytester.makepyfile(f"def test_it({fixtures}):\n    {needs}\n")
    result = pytester.runpytest_inprocess(
        f"--facenet-lfw={folder}",
        f"--facenet-pairs={staff / 'pairs.csv'}",
        "--facenet-calibration-images=60",
        "--facenet-all-pairs",
        f"--facenet-cache={shared_cache.root}",
    )
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{photo}*: not 160×160 pixels, while of the * 1 are not*"])
    result.stdout.no_fnmatch_line("*Traceback*")
