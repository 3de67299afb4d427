"""Embeddings that would make the metrics meaningless are refused, by name."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.metrics.checks import check_embeddings

NAMES = [f"Ann_Example_{number:04d}.jpg" for number in range(64)]


def unit_embeddings() -> NDArray[np.float32]:
    rows = np.random.default_rng(3).normal(size=(64, 128))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def refusal(embeddings: NDArray[np.float32]) -> str:
    with pytest.raises(EngineError) as caught:
        check_embeddings(embeddings, NAMES, what="int8 engine")
    return str(caught.value)


def test_good_embeddings_pass() -> None:
    check_embeddings(unit_embeddings(), NAMES, what="int8 engine")


def test_norms_within_the_tolerance_pass() -> None:
    check_embeddings(unit_embeddings() * np.float32(1.09), NAMES, what="int8 engine")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(value: float) -> None:
    embeddings = unit_embeddings()
    embeddings[[5, 9], 7] = value
    assert refusal(embeddings).startswith(
        "int8 engine: 2 of 64 embeddings hold NaN or infinity, the first that of "
        "Ann_Example_0005.jpg."
    )


def test_the_worst_norm_is_named() -> None:
    embeddings = unit_embeddings()
    embeddings[[3, 8]] *= np.array([[1.5], [9.0]], dtype=np.float32)
    assert (
        "2 of 64 embeddings are not L2-normalised: norm 9 for Ann_Example_0008.jpg, "
        "expected 1 ± 0.1" in refusal(embeddings)
    )


def test_a_zero_row_is_not_normalised() -> None:
    embeddings = unit_embeddings()
    embeddings[4] = 0
    assert "norm 0 for Ann_Example_0004.jpg" in refusal(embeddings)


def test_equal_rows_are_collapsed() -> None:
    embeddings = np.repeat(unit_embeddings()[:1], 64, axis=0)
    assert "collapsed: all 64 embeddings lie within an L2 distance of 0 " in refusal(embeddings)


def test_nearly_equal_rows_are_collapsed() -> None:
    embeddings = np.repeat(unit_embeddings()[:1], 64, axis=0) + unit_embeddings() * np.float32(1e-4)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert "collapsed" in refusal(embeddings)


def test_one_image_repeated_is_not_collapsed() -> None:
    check_embeddings(np.repeat(unit_embeddings()[:1], 2, axis=0), NAMES[:1] * 2, what="engine")


@pytest.mark.parametrize("rows", [60, 63])
def test_missing_rows_are_counted(rows: int) -> None:
    assert f"{rows} embeddings for 64 images" in refusal(unit_embeddings()[:rows])


@pytest.mark.parametrize("shape", [(64 * 128,), (64, 2, 64), (0, 128)])
def test_a_wrong_shape_is_shown(shape: tuple[int, ...]) -> None:
    embeddings = unit_embeddings().ravel()[: int(np.prod(shape))].reshape(shape)
    assert f"found {shape}" in refusal(embeddings)


def test_a_repeated_embedding_names_both_pictures() -> None:
    embeddings = unit_embeddings()
    embeddings[[40, 50]] = embeddings[[8, 9]]
    assert refusal(embeddings).startswith(
        "int8 engine: 2 of 64 embeddings repeat that of another picture in every bit: "
        "Ann_Example_0040.jpg has that of Ann_Example_0008.jpg."
    )


def test_embeddings_that_differ_in_one_bit_are_not_repeated() -> None:
    embeddings = unit_embeddings()
    embeddings[40] = embeddings[8]
    embeddings[40, 0] = np.nextafter(embeddings[40, 0], np.float32(1))
    check_embeddings(embeddings, NAMES, what="int8 engine")


def test_copies_of_one_picture_may_agree() -> None:
    embeddings = unit_embeddings()
    embeddings[[40, 50]] = embeddings[[8, 9]]
    pictures = [str(row) for row in range(64)]
    pictures[40] = pictures[8]
    with pytest.raises(EngineError, match=r"1 of 64 .* Ann_Example_0050\.jpg has that of .*_0009"):
        check_embeddings(embeddings, NAMES, what="engine", pictures=pictures)
    pictures[50] = pictures[9]
    check_embeddings(embeddings, NAMES, what="engine", pictures=pictures)


def test_a_stale_batch_is_found() -> None:
    embeddings = unit_embeddings()
    embeddings[32:48] = embeddings[16:32]
    assert "16 of 64 embeddings repeat" in refusal(embeddings)


def test_pictures_must_fit_the_names() -> None:
    with pytest.raises(ValueError, match="3 pictures for 64 names"):
        check_embeddings(unit_embeddings(), NAMES, what="engine", pictures=["a", "b", "c"])
