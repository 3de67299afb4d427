"""What the gates of the contract observe of engines that are whole, and of broken ones."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.batches import batch_sizes, wrong_inputs
from facenet_validate.engines.contract import equal_rows, faces_apart, plain_pictures
from facenet_validate.metrics.parity import distance_kept
from tests.engines.toy_engine import SIDE, ToyEngine, toy_faces

Batch = NDArray[Any]
Rows = NDArray[np.float32]


def test_a_whole_engine() -> None:
    engine, faces = cast("Any", ToyEngine()), toy_faces(33)
    sizes, moved = batch_sizes(engine, faces)
    assert (sizes.value, moved.value) == (0, 0.0)
    assert sizes.detail == "33 faces in batches of 1, 7, 33"
    assert equal_rows(engine, faces).value == 0.0
    assert faces_apart(engine, engine, faces).value == 1.0
    assert plain_pictures(engine).value == pytest.approx(0, abs=1e-6)
    found = wrong_inputs(engine, faces)
    assert (found.value, found.detail) == (0, "7 wrong inputs, each refused by name")


# --- sizes of a batch -----------------------------------------------------------------------------


class Truncating(ToyEngine):
    """Loses what is beyond 32 faces."""

    def run(self, batch: Batch) -> Rows:
        return super().run(batch)[:32]


class Crashing(ToyEngine):
    """Raises what a runtime does."""

    def run(self, batch: Batch) -> Rows:
        if len(batch) > 32:
            raise MemoryError("bad allocation")
        return super().run(batch)


class Refusing(ToyEngine):
    """Refuses what is beyond 32 faces."""

    said = "a batch of 33; the largest is 32"

    def run(self, batch: Batch) -> Rows:
        if len(batch) > 32:
            raise EngineError(f"engine {self.info.artefact}: {self.said}")
        return super().run(batch)


class RefusingWithoutAName(Refusing):
    """Its artefact has a number in its name, which is no size."""

    said = "a run of 33 faces failed"


class RefusingOne(ToyEngine):
    """Refuses a batch that is not too large."""

    def run(self, batch: Batch) -> Rows:
        if len(batch) == 1:
            raise EngineError(f"engine {self.info.artefact}: a batch of 1; the largest is 32")
        return super().run(batch)


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        (Truncating, 1, "33 faces give [32, 16]; expected [33, 16]; 33 faces in batches of"),
        (Crashing, 1, "33 faces end in MemoryError: bad allocation"),
        (Refusing, 0, "33 faces are refused: engine toy-9.onnx: a batch of 33; the largest is 32"),
        (RefusingWithoutAName, 1, "33 faces are refused: engine toy-9.onnx: a run of 33 faces"),
        (RefusingOne, 1, "1 faces are refused: engine toy-9.onnx: a batch of 1"),
    ],
)
def test_a_size_that_is_not_answered(kind: type[ToyEngine], wrong: int, told: str) -> None:
    sizes, moved = batch_sizes(cast("Any", kind()), toy_faces(33))
    assert (sizes.gate, sizes.value) == ("contract.batch_sizes", wrong)
    assert told in sizes.detail
    assert moved.gate == "contract.batch_invariance"
    assert moved.value == (None if kind is RefusingOne else 0.0)


class InPieces(ToyEngine):
    """Runs forty faces at once, and says so."""

    largest = 40

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[int] = []

    def run(self, batch: Batch) -> Rows:
        self.ran.append(len(batch))
        return super().run(batch)


class LastOfMany(InPieces):
    """Gives a face beyond its largest batch another embedding."""

    def run(self, batch: Batch) -> Rows:
        rows = super().run(batch)
        rows[40:] = rows[:1]
        return rows


class RefusingMore(InPieces):
    """Refuses more than its largest batch."""

    says = "a batch of {size} faces, but the largest is 40"

    def run(self, batch: Batch) -> Rows:
        if len(batch) > 40:
            raise EngineError(self.says.format(size=len(batch)))
        return super().run(batch)


class RefusingAnotherNumber(RefusingMore):
    """Names a size that is not its largest."""

    says = "a batch of {size} faces, but 16 would do"


def test_the_largest_batch_and_one_more_are_run() -> None:
    engine = InPieces()
    sizes, moved = batch_sizes(cast("Any", engine), toy_faces(33))
    assert (sizes.value, moved.value) == (0, 0.0)
    assert engine.ran == [1] * 33 + [7, 7, 7, 7, 5, 33, 40, 41]


@pytest.mark.parametrize(("kind", "wrong"), [(RefusingMore, 0), (RefusingAnotherNumber, 1)])
def test_one_more_than_the_largest_may_be_refused_by_name(
    kind: type[ToyEngine], wrong: int
) -> None:
    sizes, moved = batch_sizes(cast("Any", kind()), toy_faces(33))
    assert (sizes.value, moved.value) == (wrong, 0.0)
    assert "41 faces are refused" in sizes.detail


def test_wrong_values_beyond_the_largest_batch_are_seen() -> None:
    sizes, moved = batch_sizes(cast("Any", LastOfMany()), toy_faces(33))
    assert sizes.value == 0
    assert cast("float", moved.value) > 0.5


class OfOneSize(ToyEngine):
    """Takes batches of one face alone."""

    def run(self, batch: Batch) -> Rows:
        if len(batch) > 1:
            raise EngineError("no")
        return super().run(batch)


def test_without_two_sizes_nothing_is_compared() -> None:
    sizes, moved = batch_sizes(cast("Any", OfOneSize()), toy_faces(33))
    assert (sizes.value, moved.value) == (2, None)


# --- rows and pictures ----------------------------------------------------------------------------


class Deduplicating(ToyEngine):
    """Embeds equal images once, and gives the second of them the row of another."""

    def run(self, batch: Batch) -> Rows:
        rows = super().run(batch)
        seen: dict[bytes, int] = {}
        for place, image in enumerate(batch):
            if seen.setdefault(image.tobytes(), place) != place:
                rows[place] = rows[place - 1]
        return rows


class ByPlace(ToyEngine):
    """Gives each place of a batch its own turn, as four different outputs of four equal images."""

    def run(self, batch: Batch) -> Rows:
        rows = super().run(batch)
        return np.stack([np.roll(row, place) for place, row in enumerate(rows)])


@pytest.mark.parametrize("kind", [Deduplicating, ByPlace])
def test_equal_images_of_unequal_rows(kind: type[ToyEngine]) -> None:
    assert cast("float", equal_rows(cast("Any", kind()), toy_faces(5)).value) > 0.5


class Collapsed(ToyEngine):
    """Gives every face nearly the same embedding, of length one."""

    def run(self, batch: Batch) -> Rows:
        rows = np.ones(16, np.float32) + 0.05 * super().run(batch)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


class HalfCollapsed(ToyEngine):
    """Gives every second face of a batch the same embedding."""

    def run(self, batch: Batch) -> Rows:
        rows = super().run(batch)
        rows[::2] = rows[0]
        return rows


class OfFewDimensions(ToyEngine):
    """Embeds in a plane."""

    def run(self, batch: Batch) -> Rows:
        rows = super().run(batch)
        rows[:, 2:] = 0
        return rows


class Broken(ToyEngine):
    """Gives a face no direction."""

    def run(self, batch: Batch) -> Rows:
        rows = super().run(batch)
        rows[3] = 0
        return rows


@pytest.mark.parametrize("kind", [Collapsed, HalfCollapsed, OfFewDimensions])
def test_faces_that_are_not_told_apart(kind: type[ToyEngine]) -> None:
    found = faces_apart(cast("Any", kind()), cast("Any", ToyEngine()), toy_faces(16))
    assert cast("float", found.value) < 0.25


def test_a_row_without_a_direction_is_no_number() -> None:
    found = faces_apart(cast("Any", Broken()), cast("Any", ToyEngine()), toy_faces(16))
    assert math.isnan(cast("float", found.value))


def test_what_the_reference_tells_apart_is_compared() -> None:
    """Two photos of a person may come nearer; a length that is not one is another gate's."""
    reference = np.array([[1, 0, 0], [0.999, 0.04, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    engine = 3 * reference
    engine[1] = engine[0]
    assert 0.95 < distance_kept(reference, engine) <= 1


@pytest.mark.parametrize("broken", [np.ones((4, 3)), np.full((4, 3), np.nan)])
def test_a_reference_that_tells_nothing_apart_is_refused(broken: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match="the reference's median distance"):
        distance_kept(broken, np.eye(4, 3))


class WithoutEpsilon(ToyEngine):
    """Divides by the spread of a picture, which is zero where it has one colour."""

    def run(self, batch: Batch) -> Rows:
        spread = batch.std(axis=(1, 2, 3))
        with np.errstate(invalid="ignore"):
            return np.asarray(super().run(batch) * (spread / spread)[:, np.newaxis])


class WithoutBlack(ToyEngine):
    """Gives black the length zero."""

    def run(self, batch: Batch) -> Rows:
        return np.asarray(super().run(batch) * (batch.max(axis=(1, 2, 3)) > -0.9)[:, np.newaxis])


def test_plain_pictures_without_an_embedding() -> None:
    found = plain_pictures(cast("Any", WithoutEpsilon()))
    assert math.isnan(cast("float", found.value))
    assert found.detail == "not finite: black, grey, white"
    assert plain_pictures(cast("Any", WithoutBlack())).value == 1.0


# --- wrong inputs ---------------------------------------------------------------------------------


class Casting(ToyEngine):
    """Takes any type of number, as OpenVINO does."""

    def run(self, batch: Batch) -> Rows:
        return super().run(batch.astype(np.float32))


class Reshaping(ToyEngine):
    """Takes any order of as many numbers."""

    def run(self, batch: Batch) -> Rows:
        if batch.ndim == 4 and batch.size % (3 * SIDE * SIDE) == 0:
            batch = batch.reshape(-1, 3, SIDE, SIDE)
        return super().run(batch)


class Silent(ToyEngine):
    """Says no more than that it failed."""

    def run(self, batch: Batch) -> Rows:
        try:
            return super().run(batch)
        except EngineError:
            raise EngineError("a run failed") from None


class Raw(ToyEngine):
    """Raises what its library does."""

    def run(self, batch: Batch) -> Rows:
        try:
            return super().run(batch)
        except EngineError as error:
            raise RuntimeError(str(error)) from None


@pytest.mark.parametrize(
    ("kind", "taken", "told"),
    [
        (Casting, 3, "uint8: taken; float16: taken; float64: taken"),
        (Reshaping, 1, "colours last: taken"),
        (Silent, 7, "uint8: refused without a name: a run failed"),
        (Raw, 7, "uint8: RuntimeError: engine toy-9.onnx: a batch is uint8"),
    ],
)
def test_wrong_inputs_that_are_taken(kind: type[ToyEngine], taken: int, told: str) -> None:
    found = wrong_inputs(cast("Any", kind()), toy_faces(2))
    assert (found.gate, found.value) == ("contract.input_refused", taken)
    assert found.detail.startswith(told)
