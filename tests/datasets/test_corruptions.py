"""Corrupted photos: the same pixels in every run, worse with severity, of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.datasets.corrupted import CorruptedFaces, corrupted_pairs
from facenet_validate.datasets.corruptions import KINDS, QUICK_KINDS, SEVERITIES, corrupt
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.metrics.pairs import PairList


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    return render_photo(0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_a_pure_function_of_severity_and_row(kind: str, face: NDArray[np.uint8]) -> None:
    before = face.copy()
    shown = corrupt(face, kind, 3, 7)
    assert shown.shape == face.shape
    assert shown.dtype == np.uint8
    assert np.array_equal(shown, corrupt(face, kind, 3, 7))
    assert np.array_equal(face, before)
    assert not np.array_equal(shown, face)
    assert not np.array_equal(shown, corrupt(face, kind, 4, 7))


@pytest.mark.parametrize("kind", KINDS)
def test_a_face_changes_more_with_severity(kind: str, face: NDArray[np.uint8]) -> None:
    """A mean over rows: what is drawn may lie on an even part of the face."""
    moved = [
        np.mean([np.abs(corrupt(face, kind, s, row) - face.astype(float)) for row in range(12)])
        for s in SEVERITIES
    ]
    assert moved == sorted(moved)
    assert 0 < moved[0] < moved[-1]


@pytest.mark.parametrize("kind", ["brightness", "noise", "rotation", "shift", "occlusion", "gamma"])
def test_what_is_drawn_is_drawn_for_each_photo(kind: str, face: NDArray[np.uint8]) -> None:
    assert len({corrupt(face, kind, 3, row).tobytes() for row in range(8)}) > 1


def test_lengths_scale_with_the_face(face: NDArray[np.uint8]) -> None:
    """A face of half the side is blurred by half the width."""
    small = face[::2, ::2].copy()
    for kind in KINDS:
        assert corrupt(small, kind, 5, 0).shape == (80, 80, 3)


def test_an_unknown_kind_or_severity_is_refused(face: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected a kind of brightness, .* found fog and 3"):
        corrupt(face, "fog", 3, 0)
    with pytest.raises(ValueError, match="found blur and 6"):
        corrupt(face, "blur", 6, 0)


def _pairs() -> PairList:
    """Photo 0 is in four pairs, photos 1 to 4 in one or two, photo 5 in none."""
    return PairList(
        left=np.array([0, 0, 3, 1]),
        right=np.array([1, 2, 0, 4]),
        same=np.array([True, False, True, False]),
        folds=np.array([0, 0, 1, 1]),
    )


def test_photos_in_the_most_pairs_come_first_and_severities_take_turns() -> None:
    found = corrupted_pairs(_pairs(), images=6, pictures=8)
    assert found.photos[0] == 0
    assert sorted(found.photos[:5].tolist()) == [0, 1, 2, 3, 4]
    assert found.severities.tolist() == [1, 2, 3, 4, 5, 2, 3, 4]
    again = corrupted_pairs(_pairs(), images=6, pictures=8)
    assert np.array_equal(again.photos, found.photos)


def test_no_picture_is_made_twice() -> None:
    found = corrupted_pairs(_pairs(), images=6, pictures=1000)
    made = set(zip(found.photos.tolist(), found.severities.tolist(), strict=True))
    assert len(made) == len(found.photos) == 25


def test_a_picture_is_in_every_pair_of_its_photo_on_its_side() -> None:
    found = corrupted_pairs(_pairs(), images=6, pictures=1)
    made = zip(
        found.pairs.left.tolist(),
        found.pairs.right.tolist(),
        found.pairs.same.tolist(),
        found.pairs.folds.tolist(),
        strict=True,
    )
    assert sorted(made) == [(3, 6, True, 1), (6, 1, True, 0), (6, 2, False, 0)]
    assert found.picture.tolist() == [0, 0, 0]


def _faces(grey: bool = False) -> AlignedFaces:
    photos = [render_photo(person, 0) for person in range(3)]
    if grey:
        photos = [np.repeat(one.mean(2, keepdims=True), 3, 2).astype(np.uint8) for one in photos]
    encoded = [encode_png(one) for one in photos]
    return AlignedFaces(("a", "b", "c"), "some faces", lambda row: encoded[row])


def test_corrupted_faces_are_read_kind_by_kind() -> None:
    faces, photos, severities = _faces(), np.array([2, 0]), np.array([1, 5])
    made = CorruptedFaces(faces, ("blur", "noise"), photos, severities)
    assert list(made.names) == ["c, blur 1", "a, blur 5", "c, noise 1", "a, noise 5"]
    assert made.rows("noise") == slice(2, 4)
    shown = made.load(np.array([3, 0]))
    first, last = faces.load(np.array([0])), faces.load(np.array([2]))
    assert np.array_equal(shown[0], corrupt(first[0], "noise", 5, 0))
    assert np.array_equal(shown[1], corrupt(last[0], "blur", 1, 2))


def test_the_digest_names_photos_kinds_severities_and_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def digest(kinds: tuple[str, ...] = ("blur",), photo: int = 0, severity: int = 1) -> str:
        return CorruptedFaces(_faces(), kinds, np.array([photo]), np.array([severity])).digest

    made = {digest(), digest(("noise",)), digest(photo=1), digest(severity=2)}
    monkeypatch.setattr("facenet_validate.datasets.corrupted.VERSION", "corruptions-2")
    assert len(made | {digest()}) == 5


def test_grey_changes_nothing_of_grey_photos() -> None:
    photos, severities = np.arange(3), np.array([1, 3, 5])
    assert CorruptedFaces(_faces(), KINDS, photos, severities).changes("grey", 8)
    grey = CorruptedFaces(_faces(grey=True), KINDS, photos, severities)
    assert [kind for kind in KINDS if not grey.changes(kind, 8)] == ["grey"]


def test_the_quick_kinds_are_kinds() -> None:
    assert set(QUICK_KINDS) < set(KINDS)
