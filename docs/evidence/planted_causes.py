"""Engines with a planted fault: a sound engine behind a wrong input, or before a wrong output.

The faults are written on pixels (N, H, W, 3), 0 to 255, as programs make them. They share no code
with the experiments that have to find them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.engines.host_engine import HostEngine
from facenet_validate.engines.protocol import Engine

Pixels = NDArray[np.float32]
Images = NDArray[np.float32]
Rows = NDArray[np.float32]
Random = np.random.Generator
Feed = Callable[[Pixels], Images]


def contract(images: NDArray[Any]) -> Images:
    """Return pixels as the contract feeds them."""
    return planes((images - 127.5) / 128)


def planes(values: NDArray[Any]) -> Images:
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
        feed: Feed = contract,
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


def _fed(cause: str, strength: str, feed: Feed) -> Plant:
    return Plant(cause, strength, lambda sound, _: Planted(sound, feed))


def _given(cause: str, strength: str, give: Callable[[Rows, Random], Rows]) -> Plant:
    def make(sound: Engine, random: Random) -> Engine:
        seed = int(random.integers(2**31))  # every run has the same fault
        return Planted(sound, give=lambda rows: give(rows, np.random.default_rng(seed)))

    return Plant(cause, strength, make)


def _each(change: Callable[[Pixels], NDArray[Any]]) -> Feed:
    return lambda images: contract(np.stack([change(image) for image in images]))


# -- inputs ----------------------------------------------------------------------------------------


def planted_inputs() -> Iterator[Plant]:
    """Yield faults of the input."""
    yield from _colours()
    yield from _values()
    yield from _curves()
    yield from _geometry()


def _colours() -> Iterator[Plant]:
    for order in ("BGR", "GRB", "RBG", "GBR"):
        yield _fed("colour order", order, _ordered(order))
    luma = np.array([0.299, 0.587, 0.114])
    yield _fed("colour lost", "luma", lambda x: contract((x @ luma)[..., np.newaxis] * np.ones(3)))
    yield _fed("colour lost", "mean", lambda x: contract(x.mean(-1, keepdims=True) * np.ones(3)))
    yield _fed("colour lost", "green three times", lambda x: contract(x[..., [1, 1, 1]]))
    for name, code in (("YCrCb", cv2.COLOR_RGB2YCrCb), ("YUV", cv2.COLOR_RGB2YUV)):
        yield _fed("colours mixed", name, _each(_converted(code)))
    yield _fed("colours mixed", "saturation halved", _each(_faded))


def _ordered(order: str) -> Feed:
    places = ["RGB".index(letter) for letter in order]
    return lambda images: contract(images[..., places])


def _converted(code: int) -> Callable[[Pixels], NDArray[Any]]:
    return lambda image: 255 * cv2.cvtColor(np.asarray(image / 255, np.float32), code)


def _faded(image: Pixels) -> NDArray[Any]:
    return np.asarray((image + image.mean(-1, keepdims=True)) / 2)


def _values() -> Iterator[Plant]:
    raw, both = "not standardized", "colour order + not standardized"
    yield _fed(raw, "0..255", planes)
    yield _fed(raw, "0..255 less 0.5", lambda x: planes(x - 0.5))
    yield _fed(both, "0..255, BGR", lambda x: planes(x[..., ::-1]))
    yield _fed("mirrored + not standardized", "0..255", lambda x: planes(x[:, :, ::-1]))
    twice = "standardized twice"
    yield _fed(twice, "by 127.5 and 128", lambda x: planes(((x - 127.5) / 128 - 127.5) / 128))
    yield _fed(twice, "by 127.5 and 127.5", lambda x: planes((x / 127.5 - 1) / 127.5 - 1))
    yield _fed(twice, "by 128 and 128", lambda x: planes(((x - 128) / 128 - 128) / 128))
    per_image = "standardized per image"
    yield _fed(per_image, "all colours", lambda x: planes(_whitened(x, (1, 2, 3))))
    yield _fed(per_image, "each plane", lambda x: planes(_whitened(x, (1, 2))))
    yield _fed(per_image, "darkest to brightest", lambda x: planes(_stretched(x)))
    yield _fed(
        f"colour order + {per_image}",
        "all colours, BGR",
        lambda x: planes(_whitened(x[..., ::-1], (1, 2, 3))),
    )
    yield _fed("range 0 to 1", "x / 255", lambda x: planes(x / 255))
    yield _fed("range 0 to 1", "x / 256", lambda x: planes(x / 256))
    yield _fed("range 0 to 1", "(x + 0.5) / 256", lambda x: planes((x + 0.5) / 256))
    yield _fed("colour order + range 0 to 1", "BGR", lambda x: planes(x[..., ::-1] / 255))
    other = "other standardization"
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    yield _fed(other, "ImageNet", lambda x: planes((x / 255 - mean) / deviation))
    means = np.array([131.0912, 103.8827, 91.4953])
    yield _fed(other, "VGGFace2's mean", lambda x: planes(x - means))
    yield _fed(other, "offset 0.25", lambda x: planes(x / 128 - 0.75))
    yield _fed(other, "(x - 127.5) / 255", lambda x: planes((x - 127.5) / 255))
    yield _fed("values inverted", "127.5 - x", lambda x: planes((127.5 - x) / 128))
    yield _fed("values inverted", "255 - x", lambda x: contract(255 - x))
    yield _fed("values inverted", "256 - x", lambda x: contract(256 - x))


def _whitened(images: Pixels, axes: tuple[int, ...]) -> NDArray[Any]:
    size = np.prod([images.shape[axis] for axis in axes])
    deviation = np.maximum(images.std(axes, keepdims=True), 1 / np.sqrt(size))
    return np.asarray((images - images.mean(axes, keepdims=True)) / deviation)


def _stretched(images: Pixels) -> NDArray[Any]:
    low, high = images.min((1, 2, 3), keepdims=True), images.max((1, 2, 3), keepdims=True)
    return np.asarray(2 * (images - low) / (high - low) - 1)


def _curves() -> Iterator[Plant]:
    for power in (0.5, 0.7, 1.8):
        yield _fed("tone curve", f"gamma {power}", _powered(power))
    yield _fed("tone curve", "sRGB made linear", lambda x: contract(_linear(x)))
    yield _fed(
        "tone curve", "contrast 1.6, clipped", lambda x: contract(np.clip(1.6 * x - 76, 0, 255))
    )


def _powered(power: float) -> Feed:
    return lambda images: contract(255 * (images / 255) ** power)


def _linear(images: Pixels) -> NDArray[Any]:
    """Return light from sRGB values, by IEC 61966-2-1."""
    v = images / 255
    return np.asarray(255 * np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4))


def _geometry() -> Iterator[Plant]:
    yield _fed("layout", "NHWC as NCHW", lambda x: _as_planes((x - 127.5) / 128))
    yield _fed("layout + range 0 to 1", "NHWC as NCHW", lambda x: _as_planes(x / 255))
    yield _fed("layout + not standardized", "NHWC as NCHW", _as_planes)
    yield _fed("height and width exchanged", "(C, W, H)", lambda x: contract(x.swapaxes(1, 2)))
    yield _fed("mirrored", "left and right", lambda x: contract(x[:, :, ::-1]))
    yield _fed("upside down", "top and bottom", lambda x: contract(x[:, ::-1]))
    yield _fed("rotated", "by 90 degrees", lambda x: contract(np.rot90(x, 1, (1, 2))))
    yield _fed("rotated", "by 180 degrees", lambda x: contract(np.rot90(x, 2, (1, 2))))
    yield _fed("rotated", "by 270 degrees", lambda x: contract(np.rot90(x, 3, (1, 2))))
    for share in (0.025, 0.05, 0.1):
        yield _fed("framing", f"{share:.1%} cropped at each side", _each(_cropped(share)))
    yield _fed("framing", "4 % right, 3 % down", _each(_moved))
    for share in (0.3, 0.5, 0.7):
        for name, way in (("nearest", cv2.INTER_NEAREST), ("area", cv2.INTER_AREA)):
            yield _fed("resize", f"through {share:.0%}, {name}", _each(_through(share, way)))
    for share in (0.15, 0.3, 0.5):
        yield _fed("part blank", f"the last {share:.0%} of rows", _each(_unwritten(share)))


def _as_planes(images: NDArray[Any]) -> Images:
    count, high, wide, colours = images.shape
    memory = np.ascontiguousarray(images, np.float32)
    return memory.reshape(count, colours, high, wide)


def _moved(image: Pixels) -> NDArray[Any]:
    side = len(image)
    return np.roll(image, (round(0.03 * side), round(0.04 * side)), (0, 1))


def _cropped(share: float) -> Callable[[Pixels], NDArray[Any]]:
    def change(image: Pixels) -> NDArray[Any]:
        margin = round(share * len(image))
        inner = image[margin:-margin, margin:-margin]
        return cv2.resize(inner, image.shape[:2], interpolation=cv2.INTER_LINEAR)

    return change


def _through(share: float, way: int) -> Callable[[Pixels], NDArray[Any]]:
    def change(image: Pixels) -> NDArray[Any]:
        up = cv2.INTER_NEAREST if way == cv2.INTER_NEAREST else cv2.INTER_LINEAR
        side = round(share * len(image))
        small = cv2.resize(image, (side, side), interpolation=way)
        return cv2.resize(small, image.shape[:2], interpolation=up)

    return change


def _unwritten(share: float) -> Callable[[Pixels], NDArray[Any]]:
    def change(image: Pixels) -> NDArray[Any]:
        found = image.copy()
        found[len(image) - round(share * len(image)) :] = 127.5
        return found

    return change


# -- outputs ---------------------------------------------------------------------------------------


def planted_outputs() -> Iterator[Plant]:
    """Yield faults of the output and of the batch."""
    for scale in (0.9, 2.0, 27.3):
        yield _given("output scaled", f"{scale:g}", _scaled(scale))
    yield _given("output negated", "-1", _scaled(-1))
    for low, high in ((0.9, 1.1), (5, 20), (0.2, 3)):
        yield _given("norm missing", f"norms {low:g} to {high:g}", _normed(low, high))
    for share in (0.05, 0.3, 0.5):
        yield _given("signs changed", f"{share:.0%}", _signs(share))
    yield _given("output permuted", "any order", lambda e, r: e[:, r.permutation(e.shape[1])])
    yield _given("output permuted", "halves", lambda e, _: np.roll(e, e.shape[1] // 2, 1))
    yield _given("output permuted", "reversed", lambda e, _: e[:, ::-1].copy())
    for share in (0.1, 0.3, 0.5):
        yield _given("dimensions scaled", f"{share:.0%} are zero", _zeros(share))
    yield _given("output rotated", "any", _turned)
    for step in (1, -1, 5):
        yield _given("rows exchanged", f"shifted by {step}", _shifted(step))
    yield _given("rows exchanged", "reversed", lambda e, _: e[::-1].copy())
    yield _given("rows exchanged", "two swapped", _swapped)
    yield _given("rows repeated", "the first", lambda e, _: np.repeat(e[:1], len(e), 0))
    yield _given("rows repeated", "each second", lambda e, _: np.repeat(e[::2], 2, 0)[: len(e)])
    yield _given("rows repeated", "the last half", _half_repeated)
    yield Plant("stale output", "one batch late", lambda sound, _: Planted(sound, late=True))


def _scaled(scale: float) -> Callable[[Rows, Random], Rows]:
    return lambda rows, _: np.asarray(scale * rows, np.float32)


def _normed(low: float, high: float) -> Callable[[Rows, Random], Rows]:
    """Give each row a norm that depends on what is in it."""
    return lambda rows, _: np.asarray(
        rows * (low + (high - low) * np.abs(97 * rows[:, :1] % 1)), np.float32
    )


def _signs(share: float) -> Callable[[Rows, Random], Rows]:
    return lambda rows, random: np.where(random.random(rows.shape[1]) < share, -rows, rows)


def _zeros(share: float) -> Callable[[Rows, Random], Rows]:
    return lambda rows, random: np.where(random.random(rows.shape[1]) < share, np.float32(0), rows)


def _turned(rows: Rows, random: Random) -> Rows:
    rotation, _ = np.linalg.qr(random.standard_normal((rows.shape[1],) * 2))
    return np.asarray(rows @ rotation, np.float32)


def _shifted(step: int) -> Callable[[Rows, Random], Rows]:
    return lambda rows, _: np.roll(rows, step, 0)


def _swapped(rows: Rows, random: Random) -> Rows:
    found = rows.copy()
    one, other = random.choice(len(rows), 2, replace=False)
    found[[one, other]] = rows[[other, one]]
    return found


def _half_repeated(rows: Rows, _: Random) -> Rows:
    half = len(rows) // 2
    return np.concatenate([rows[: len(rows) - half], rows[:half]])
