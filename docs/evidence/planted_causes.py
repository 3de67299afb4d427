"""Engines with a planted fault: a sound engine behind a wrong input, or before a wrong output.

The faults are written on pixels (N, H, W, 3), 0 to 255, as programs make them. They share no code
with the experiments that have to find them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.engines.host_engine import HostEngine
from facenet_validate.engines.protocol import Engine

Images = NDArray[np.float32]
Rows = NDArray[np.float32]
Random = np.random.Generator


def contract(images: NDArray[np.float32]) -> Images:
    """Return pixels as the contract feeds them."""
    return planes((images - 127.5) / 128)


def planes(values: NDArray[np.floating]) -> Images:
    """Return (N, H, W, 3) as float32 planes."""
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), np.float32)


class Planted(HostEngine):
    """A sound engine with a fault at its input, its output, or its batches.

    Parameters
    ----------
    feed : callable
        Pixels (N, H, W, 3) → what the sound engine is fed.
    give : callable
        Embeddings → what is given out.
    late : bool
        Whether a run gives out the embeddings of the run before.
    """

    def __init__(
        self,
        sound: Engine,
        feed: Callable[[NDArray[np.float32]], Images] = contract,
        give: Callable[[Rows], Rows] = lambda rows: rows,
        *,
        late: bool = False,
    ) -> None:
        self._sound, self._feed, self._give, self._late = sound, feed, give, late
        self._before: Rows | None = None
        self.info, self.input, self.output = sound.info, sound.input, sound.output

    def run(self, batch: NDArray[np.float32]) -> Rows:
        """Return the embeddings that the fault makes."""
        images = batch.transpose(0, 2, 3, 1) * np.float32(128) + np.float32(127.5)
        rows = self._give(self._sound.run(self._feed(np.ascontiguousarray(images))))
        if not self._late:
            return rows
        before, self._before = self._before, rows
        return np.zeros_like(rows) if before is None else np.resize(before, rows.shape)

    def close(self) -> None:
        """Leave the sound engine open: its owner closes it."""


@dataclass(frozen=True)
class Plant:
    """A planted fault.

    Attributes
    ----------
    cause : str
        The name that the diagnosis has to find.
    strength : str
        For the table.
    make : callable
        Sound engine and random numbers → engine with the fault.
    """

    cause: str
    strength: str
    make: Callable[[Engine, Random], Engine]


def _fed(cause: str, strength: str, feed: Callable[[NDArray[np.float32]], Images]) -> Plant:
    return Plant(cause, strength, lambda sound, _: Planted(sound, feed))


def _given(cause: str, strength: str, give: Callable[[Rows, Random], Rows]) -> Plant:
    def make(sound: Engine, random: Random) -> Engine:
        state = random.bit_generator.state

        def same(rows: Rows) -> Rows:  # every run has the same fault
            again = np.random.default_rng()
            again.bit_generator.state = state
            return give(rows, again)

        return Planted(sound, give=same)

    return Plant(cause, strength, make)


def _each(change: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> Callable[..., Images]:
    return lambda images: contract(np.stack([change(image) for image in images]))


def planted_inputs() -> Iterator[Plant]:
    """Yield faults of the input."""
    yield _fed("colour order", "BGR", lambda x: contract(x[..., ::-1]))
    for order in ("GRB", "RBG", "GBR"):
        places = ["RGB".index(letter) for letter in order]
        yield _fed("colour order", order, lambda x, p=places: contract(x[..., p]))
    yield _fed("not standardized", "0..255", planes)
    yield _fed("not standardized", "0..255, red and blue exchanged", lambda x: planes(x[..., ::-1]))
    yield _fed("not standardized", "0..255, mirrored", lambda x: planes(x[:, :, ::-1]))
    yield _fed(
        "standardized twice", "as it is", lambda x: planes(((x - 127.5) / 128 - 127.5) / 128)
    )
    for name, axes in (("all colours", (1, 2, 3)), ("each plane", (1, 2))):
        yield _fed("standardized per image", name, lambda x, a=axes: planes(_whitened(x, a)))
    yield _fed(
        "standardized per image",
        "all colours, red and blue exchanged",
        lambda x: planes(_whitened(x[..., ::-1], (1, 2, 3))),
    )
    yield _fed("range 0 to 1", "x / 255", lambda x: planes(x / 255))
    yield _fed("range 0 to 1", "x / 256", lambda x: planes(x / 256))
    yield _fed("range 0 to 1", "x / 255, BGR", lambda x: planes(x[..., ::-1] / 255))
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    yield _fed("other standardization", "ImageNet", lambda x: planes((x / 255 - mean) / deviation))
    means = np.array([131.0912, 103.8827, 91.4953])
    yield _fed("other standardization", "VGGFace2's mean", lambda x: planes((x - means) / 128))
    yield _fed("other standardization", "offset 0.25", lambda x: planes(x / 128 - 0.75))
    yield _fed("other standardization", "(x - 127.5) / 255", lambda x: planes((x - 127.5) / 255))
    yield _fed(
        "layout", "NHWC as NCHW", lambda x: ((x - 127.5) / 128).astype(np.float32).reshape(
            len(x), 3, x.shape[1], x.shape[2])
    )  # fmt: skip
    yield _fed("height and width exchanged", "(C, W, H)", lambda x: contract(x.swapaxes(1, 2)))
    yield _fed("mirrored", "left and right", lambda x: contract(x[:, :, ::-1]))
    yield _fed("upside down", "top and bottom", lambda x: contract(x[:, ::-1]))
    for turns in (1, 2, 3):
        yield _fed("rotated", f"{90 * turns}°", lambda x, k=turns: contract(np.rot90(x, k, (1, 2))))
    for share in (0.025, 0.05, 0.1):
        yield _fed("framing", f"{share:.1%} cropped at each side", _each(_cropped(share)))
    yield _fed("framing", "4 % right, 3 % down", _each(_moved))
    for share in (0.3, 0.5, 0.7):
        for name, way in (("nearest", cv2.INTER_NEAREST), ("area", cv2.INTER_AREA)):
            yield _fed("resize", f"through {share:.0%}, {name}", _each(_through(share, way)))


def _whitened(images: NDArray[np.float32], axes: tuple[int, ...]) -> NDArray[np.float32]:
    size = np.prod([images.shape[axis] for axis in axes])
    deviation = np.maximum(images.std(axes, keepdims=True), 1 / np.sqrt(size))
    return np.asarray((images - images.mean(axes, keepdims=True)) / deviation)


def _moved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    side = len(image)
    return np.asarray(np.roll(image, (round(0.03 * side), round(0.04 * side)), (0, 1)))


def _cropped(share: float) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def change(image: NDArray[np.float32]) -> NDArray[np.float32]:
        margin = round(share * len(image))
        inner = image[margin:-margin, margin:-margin]
        return np.asarray(cv2.resize(inner, image.shape[:2], interpolation=cv2.INTER_LINEAR))

    return change


def _through(share: float, way: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def change(image: NDArray[np.float32]) -> NDArray[np.float32]:
        up = cv2.INTER_NEAREST if way == cv2.INTER_NEAREST else cv2.INTER_LINEAR
        side = round(share * len(image))
        small = cv2.resize(image, (side, side), interpolation=way)
        return np.asarray(cv2.resize(small, image.shape[:2], interpolation=up))

    return change


def planted_outputs() -> Iterator[Plant]:
    """Yield faults of the output and of the batch."""
    for scale in (0.9, 2.0, 27.3):
        yield _given("output scaled", f"{scale:g}", lambda e, _, s=scale: np.float32(s) * e)
    yield _given("output negated", "-1", lambda e, _: -e)
    yield _given("norm missing", "norms 5 to 20", lambda e, r: e * _norms(e, 5, 20))
    yield _given("norm missing", "norms 0.9 to 1.1", lambda e, r: e * _norms(e, 0.9, 1.1))
    for share in (0.05, 0.3, 0.5):
        yield _given("signs changed", f"{share:.0%}", lambda e, r, s=share: np.where(
            r.random(e.shape[1]) < s, -e, e))  # fmt: skip
    yield _given("output permuted", "any order", lambda e, r: e[:, r.permutation(e.shape[1])])
    yield _given("output permuted", "halves", lambda e, _: np.roll(e, e.shape[1] // 2, 1))
    yield _given("output permuted", "reversed", lambda e, _: e[:, ::-1].copy())
    for share in (0.1, 0.5):
        yield _given("dimensions scaled", f"{share:.0%} are zero", lambda e, r, s=share: np.where(
            r.random(e.shape[1]) < s, np.float32(0), e))  # fmt: skip
    yield _given("output rotated", "any", _turned)
    for step in (1, -1, 5):
        yield _given("rows exchanged", f"shifted by {step}", lambda e, _, s=step: np.roll(e, s, 0))
    yield _given("rows exchanged", "reversed", lambda e, _: e[::-1].copy())
    yield _given("rows exchanged", "two swapped", lambda e, r: _swapped(e, r))
    yield _given("rows repeated", "the first", lambda e, _: np.repeat(e[:1], len(e), 0))
    yield _given("rows repeated", "each second", lambda e, _: np.repeat(e[::2], 2, 0)[: len(e)])
    yield _given("rows repeated", "the last half", lambda e, _: np.concatenate(
        [e[: len(e) - len(e) // 2], e[: len(e) // 2]]))  # fmt: skip
    yield Plant("stale output", "one batch late", lambda sound, _: Planted(sound, late=True))


def _norms(rows: Rows, low: float, high: float) -> Rows:
    """Return a norm for each row that depends on what is in it."""
    place = (rows[:, :1] * 97.0) % 1.0
    return np.asarray(low + (high - low) * np.abs(place), np.float32)


def _turned(rows: Rows, random: Random) -> Rows:
    rotation, _ = np.linalg.qr(random.standard_normal((rows.shape[1],) * 2))
    return np.asarray(rows @ rotation, np.float32)


def _swapped(rows: Rows, random: Random) -> Rows:
    found = rows.copy()
    one, other = random.choice(len(rows), 2, replace=False)
    found[[one, other]] = rows[[other, one]]
    return found
