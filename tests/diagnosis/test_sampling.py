"""The faces that a diagnosis looks at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.images import encode_png
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.sampling import faces_to_try, rows_to_try, worst_first


def _turned(degrees: NDArray[np.float64]) -> NDArray[np.float32]:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_those_that_moved_most_come_first_then_some_of_all() -> None:
    moved = np.random.default_rng(0).permutation(100).astype(float)
    rows = rows_to_try(100, _turned(np.zeros(100)), _turned(moved))
    assert moved[rows[:16]].tolist() == list(range(99, 83, -1))
    assert moved[rows[16:]].tolist() == sorted(moved[rows[16:]], reverse=True)
    assert (moved[rows].min(), len(set(rows.tolist()))) == (0, 32)


def test_a_small_set_is_looked_at_whole() -> None:
    moved = np.array([3.0, 50.0, 1.0])
    assert rows_to_try(3, _turned(np.zeros(3)), _turned(moved)).tolist() == [1, 0, 2]
    assert rows_to_try(3, None, None).tolist() == [0, 1, 2]


@pytest.mark.parametrize("found", [None, np.zeros((200, 3), np.float32)])
def test_without_embeddings_to_compare_rows_are_spread(found: NDArray[np.float32] | None) -> None:
    rows = rows_to_try(200, np.zeros((200, 2), np.float32), found)
    assert (rows[0], rows[-1], len(rows)) == (0, 199, 32)


def _faces(*colours: tuple[int, int, int]) -> AlignedFaces:
    encoded = [encode_png(np.full((160, 160, 3), colour, np.uint8)) for colour in colours]
    return AlignedFaces(tuple(map(str, colours)), "", lambda row: encoded[row])


def test_grey_faces_get_drawn_ones_in_colour_beside_them() -> None:
    grey, coloured = (9, 9, 9), (200, 100, 50)
    faces, names = faces_to_try(_faces(grey, grey), np.arange(2))
    assert len(faces) == len(names) > 2
    assert names[2] == "drawn face 1"
    assert not (faces[2] == faces[2][..., :1]).all()
    faces, names = faces_to_try(_faces(grey, coloured), np.arange(2))
    assert (len(faces), names[1]) == (2, str(coloured))


def test_a_case_is_put_in_the_order_of_what_moved() -> None:
    def engine(turns: float) -> Any:
        return SimpleNamespace(run=lambda batch: _turned(turns * batch[:, 0, 0, 0]))

    faces = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (130, 250, 200)])
    model = cast("Any", SimpleNamespace(image_size=4))
    found = worst_first(Case(engine(50.0), engine(0.0), model, faces, ("a", "b", "c")))
    assert found.names == ("b", "c", "a")
    assert found.faces[:, 0, 0, 0].tolist() == [250, 200, 130]
