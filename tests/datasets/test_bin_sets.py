"""InsightFace's packed sets: what is read, what is refused, and who is who."""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sklearn.model_selection import KFold

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets import bin_set
from facenet_validate.datasets.bin_set import is_packed, load_bin
from facenet_validate.datasets.csv_pairs import load_csv
from facenet_validate.datasets.faces import packed_faces
from facenet_validate.datasets.images import decode_image
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.verification_set import VerificationSet
from tests.datasets.odd_sets import OTHERS, picture
from tests.datasets.odd_sets import write_set as write_lfw
from tests.datasets.packed import PAIRS, PEOPLE, by_python_2, content, face, write

Write = Callable[[object], Path]


@pytest.fixture
def packed(tmp_path: Path) -> Write:
    """Write a value as a packed set."""

    def pack(value: object) -> Path:
        return write(tmp_path / "agedb_30.bin", pickle.dumps(value, 4))

    return pack


def _error(path: Path) -> str:
    with pytest.raises(DatasetError) as error:
        load_bin(path)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(f"packed set {path}: ")
    return said


def _photos(found: VerificationSet) -> list[bytes]:
    """Return the photos of all pairs, in the file's order."""
    assert found.packed is not None
    rows = np.stack([found.left, found.right], axis=1).ravel()
    return [found.packed.encoded[row] for row in rows]


def _as_arrays(photos: list[bytes], same: list[bool], protocol: int) -> bytes:
    arrays = [np.frombuffer(one, np.uint8).copy() for one in photos]
    return pickle.dumps([arrays, list(np.array(same))], protocol)


def _as_bytes(photos: list[bytes], same: list[bool], protocol: int) -> bytes:
    return pickle.dumps((photos, same), protocol)


WRITERS: dict[str, Callable[[list[bytes], list[bool]], bytes]] = {
    **{f"protocol {p}": partial(_as_bytes, protocol=p) for p in (2, 3, 4, 5)},
    **{f"arrays, protocol {p}": partial(_as_arrays, protocol=p) for p in (2, 3, 4, 5)},
    "one array of booleans": lambda x, y: pickle.dumps((x, np.array(y))),
    "0 and 1": lambda x, y: pickle.dumps((tuple(x), [int(one) for one in y])),
    "Python 2": by_python_2,
    "arrays, Python 2": partial(by_python_2, arrays=True),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_gives_the_same_set(writer: str, tmp_path: Path) -> None:
    photos, same = content()
    path = write(tmp_path / "AgeDB_30.bin", WRITERS[writer](photos, same))
    assert is_packed(path)
    found = load_bin(path)
    assert found.name == "agedb_30"
    assert _photos(found) == photos
    assert found.same.tolist() == same
    assert list(found.names) == sorted(set(found.names))
    assert len(found.names) == len(set(photos))
    assert found.names[found.right[3]] == "photo-000007"
    assert (found.people, found.paths) == (PEOPLE, ())
    assert not found.calibration_names
    assert not any(fact["count"] for fact in found.notes.facts().values())


@pytest.mark.parametrize("pairs", [PAIRS, 57])
def test_folds_are_those_of_kfold(packed: Write, pairs: int) -> None:
    found = load_bin(packed(content(pairs)))
    for fold, (_, chosen) in enumerate(KFold(10, shuffle=False).split(np.arange(pairs))):
        assert np.flatnonzero(found.folds == fold).tolist() == chosen.tolist()


def test_photos_are_decoded_to_rgb_as_they_are(packed: Write) -> None:
    found = load_bin(packed(content()))
    assert found.packed is not None
    faces = packed_faces(found.packed, found.names, found.title)
    loaded = faces.load(np.arange(4))
    assert loaded.shape == (4, 112, 112, 3)
    for row in range(4):
        expected = decode_image(found.packed.encoded[row], name="")
        np.testing.assert_array_equal(loaded[row], expected)
    assert faces.kind.aligned
    assert faces.part([2, 0]).load(np.array([0])).tolist() == loaded[2:3].tolist()
    other = load_bin(packed(content(PAIRS + 1)))
    assert other.packed is not None
    assert packed_faces(other.packed, other.names, "").digest != faces.digest
    assert found.pairs_digest != other.pairs_digest


def test_genuine_pairs_and_equal_photos_tell_who_is_who(packed: Write) -> None:
    found = load_bin(packed(content()))
    assert (found.identities[found.left] == found.identities[found.right]).tolist() == (
        found.same.tolist()
    )
    # A photo that no genuine pair joins to another counts as a person of its own.
    photos, same = content()
    photos[0], photos[1] = face(50, 0), face(50, 1)
    assert load_bin(packed((photos, same))).people == PEOPLE + 2


def test_an_impostor_pair_that_the_genuine_pairs_contradict_is_named_and_stays(
    packed: Write,
) -> None:
    photos, same = content()
    photos += [face(0, 0), face(0, 1), face(1, 0), face(1, 0)]
    same += [False, True]
    found = load_bin(packed((photos, same)))
    assert found.notes.contradicted == (f"photo-{2 * PAIRS:06d} = photo-{2 * PAIRS + 1:06d}",)
    assert found.notes.copy_pairs == (f"photo-{2 * PAIRS + 2:06d} = photo-{2 * PAIRS + 3:06d}",)
    assert found.people == PEOPLE + 2
    assert _photos(found) == photos
    # The bootstrap over people refuses pairs that contradict the identities.
    assert (found.identities[found.left] == found.identities[found.right]).tolist() == same


def test_the_file_is_known_by_its_content(tmp_path: Path) -> None:
    assert is_packed(write(tmp_path / "set.pkl", pickle.dumps(content())))
    assert not is_packed(write(tmp_path / "pairs.csv", b"left,right,same\n"))
    assert not is_packed(tmp_path / "absent.csv")
    assert "it looks like a text file. Expected InsightFace's form" in _error(
        write(tmp_path / "pairs.bin", b"left,right,same\n")
    )
    assert "it does not begin as a pickle" in _error(write(tmp_path / "empty.bin", b""))
    assert "cannot be read (No such file" in _error(tmp_path / "absent.bin")
    assert "cannot be read (it is a folder" in _error(tmp_path)


def test_a_name_that_gates_can_be_keyed_by(tmp_path: Path) -> None:
    path = write(tmp_path / "lfw.bin", pickle.dumps(content()))
    assert "cannot be called lfw" in _error(path)
    assert "--facenet-pairs NAME=FILE" in _error(path)
    assert load_bin(path, "LFW112").name == "lfw112"


PHOTOS, SAME = content()


def _with(at: int, photo: object) -> tuple[list[object], list[bool]]:
    return [*PHOTOS[:at], photo, *PHOTOS[at + 1 :]], SAME


OTHER: dict[str, tuple[object, str]] = {
    "no tuple": (b"photos", "it holds a bytes. Expected"),
    "three lists": ((PHOTOS, SAME, []), "it holds a tuple of 3"),
    "photos as one text": ((b"photos", SAME), "in place of the photos it holds a bytes"),
    "a number of photos": ((PHOTOS[:-1], SAME), "87 photos and 44 booleans"),
    "no booleans": ((PHOTOS, None), "in place of the booleans it holds a NoneType"),
    "a label": ((PHOTOS, [*SAME[:-1], 2]), "boolean 43 is another number"),
    "a text": ((PHOTOS, [*SAME[:-1], "yes"]), "boolean 43 is another number or a str"),
    "few pairs": ((PHOTOS[:20], SAME[:10]), "5 genuine and 5 impostor pairs"),
    "a photo as text": (_with(5, "photo"), "in place of photo 5 it holds a str"),
    "a photo as a list": (_with(5, [1, 2]), "in place of photo 5 it holds a list of 2"),
    "a mask": (_with(5, np.ones(9, np.bool_)), "in place of photo 5 it holds a ByteArray"),
    "no photo": (_with(5, b"\0" * 99), "photo-000005 is not an image of a known kind"),
    "an empty photo": (_with(5, b""), "photo-000005 is empty (0 bytes)"),
    "a GIF": (_with(5, b"GIF89a" + b"\0" * 99), "starts with b'GIF8'"),
    "half a JPEG": (_with(6, face(3, 0)[:-400]), "photo-000006 is a truncated JPEG"),
    "half a PNG": (_with(7, face(3, 1)[:-400]), "photo-000007 is a truncated PNG"),
    "another size": (_with(8, picture(9, 160)), "photo-000008 has 160×160 pixels, and others 112"),
    "a huge header": (
        _with(9, picture(9, 112).replace(b"\0\0\0\x70" * 2, b"\0\0\xff\xff" * 2)),
        "photo-000009 has 65535×65535 pixels",
    ),
}


@pytest.mark.parametrize("kind", OTHER)
def test_every_other_content_is_refused_in_one_line(kind: str, packed: Write) -> None:
    value, says = OTHER[kind]
    assert says in _error(packed(value))


def test_a_photo_that_is_not_square(packed: Write) -> None:
    wide = bytes(cv2.imencode(".png", np.zeros((112, 96, 3), np.uint8))[1])
    photos = [wide for _ in PHOTOS]
    assert "photo-000000 has 96×112 pixels; expected aligned faces of one square" in _error(
        packed((photos, SAME))
    )


def test_a_damaged_photo_is_named_when_it_is_decoded(packed: Write) -> None:
    photo = bytearray(face(0, 0))
    photo[2000:2200] = bytes(200)
    path = packed(_with(0, bytes(photo)))
    found = load_bin(path)
    assert found.packed is not None
    faces = packed_faces(found.packed, found.names, found.title)
    with pytest.raises(DatasetError, match=rf"{path}: photo-000000 is a damaged JPEG"):
        faces.load(np.arange(2))


def test_sizes_are_bounded(packed: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(content())
    monkeypatch.setattr(bin_set, "MOST_PHOTO_BYTES", 100)
    assert "photo 0 has more than 0 MiB" in _error(path)
    monkeypatch.setattr(bin_set, "MOST_PHOTOS", 87)
    assert "it holds 88 photos, and at most 87 are read" in _error(path)
    with path.open("r+b") as file:
        os.truncate(file.fileno(), bin_set.MOST_BYTES + 1)
    monkeypatch.setattr(bin_set, "read_plain", None)  # the size is refused before
    assert "larger than 1 GiB" in _error(path)


class Trap:
    """A photo that a pickle makes by a call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_that_runs_code_runs_none(protocol: int, tmp_path: Path) -> None:
    made = tmp_path / "made"
    photos, same = content()
    path = write(tmp_path / "s.bin", pickle.dumps(([*photos[:-1], Trap(made)], same), protocol))
    assert "its pickle names posix.mkdir, which was not loaded or called" in _error(path)
    assert "Nothing in it was run." in _error(path)
    assert not made.exists()
    pickle.loads(path.read_bytes())
    assert made.exists()


def test_a_truncated_set_is_refused(tmp_path: Path) -> None:
    pickled = pickle.dumps(content(), 4)
    for end in (3, 100, len(pickled) // 2, len(pickled) - 1):
        said = _error(write(tmp_path / "s.bin", pickled[:end]))
        assert "its pickle ends early or is damaged" in said


@pytest.mark.parametrize("where", ["a photo", "an image that does not fit"])
def test_people_of_equal_photos_are_not_calibrated_on(where: str, tmp_path: Path) -> None:
    folder = write_lfw(tmp_path / "lfw")
    photos, same = content()
    photos = [picture(10 * 6 + 1, 160) for _ in photos]  # Zoe's first
    assert photos[0] == (folder / "Zoe" / "Zoe_0001.png").read_bytes()
    if where != "a photo":
        shutil.move(folder / "Zoe" / "Zoe_0001.png", folder / "Zoe" / "portrait.png")
    other = load_bin(write(tmp_path / "own.bin", pickle.dumps((photos, same))))
    found = load_set(find_layout(folder), name="lfw", title="", others=[other])
    people = {name.rsplit("_", 1)[0] for name in found.calibration_names}
    assert people == set(OTHERS) - {"Zoe"}
    assert found.notes.not_calibrated_on == ("Zoe",)


def test_a_csv_still_refuses_a_pickle(tmp_path: Path) -> None:
    path = write(tmp_path / "set.csv", pickle.dumps(content()))
    with pytest.raises(DatasetError, match=r"--facenet-pairs NAME=FILE\.bin, which reads it"):
        load_csv(path)
