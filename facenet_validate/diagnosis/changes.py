"""What can happen to a batch on its way to the network, as functions of a right batch.

Every function takes and returns ``(N, 3, H, H)`` float32, RGB planes. A right value is
(x - 127.5) / 128 of a pixel x, so pixels are found again as 128 v + 127.5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Batch = NDArray[np.float32]
Change = Callable[[Batch], Batch]

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in a grey value, ITU-R BT.601; OpenCV's and Pillow's."""


YCRCB = (0.299, 0.587, 0.114, 0.5, -0.419, -0.081, -0.169, -0.331, 0.5)
"""Rows of Y, Cr and Cb over R, G and B, around the middle value; as JPEG and OpenCV have them."""

YUV = (0.299, 0.587, 0.114, -0.147, -0.289, 0.436, 0.615, -0.515, -0.1)
"""Rows of Y, U and V over R, G and B, as BT.601 and OpenCV have them."""


def _batch(values: NDArray[Any]) -> Batch:
    return np.ascontiguousarray(values, dtype=np.float32)


def pixels(batch: Batch) -> Batch:
    """Return pixel values, 0 to 255."""
    return batch * np.float32(128) + np.float32(127.5)


def standardized(values: Batch) -> Batch:
    """Return (x - 127.5) / 128."""
    return _batch((values - np.float32(127.5)) / np.float32(128))


def per_image(batch: Batch) -> Batch:
    """Return every image less its mean, divided by its deviation.

    The deviation is at least 1 / sqrt(values of an image), as TensorFlow's
    ``per_image_standardization`` and FaceNet's ``prewhiten`` have it.
    """
    return _per_image(batch, (1, 2, 3))


def per_plane(batch: Batch) -> Batch:
    """Return every colour plane of an image less its mean, divided by its deviation."""
    return _per_image(batch, (2, 3))


def _per_image(batch: Batch, axes: tuple[int, ...]) -> Batch:
    values = pixels(batch)
    least = 1 / np.sqrt(np.prod([values.shape[axis] for axis in axes]))
    deviation = np.maximum(values.std(axis=axes, keepdims=True), least)
    return _batch((values - values.mean(axis=axes, keepdims=True)) / deviation)


def stretched(batch: Batch) -> Batch:
    """Return every image with its darkest value at -1 and its brightest at 1."""
    low, high = (f(batch, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return _batch(2 * (batch - low) / np.maximum(high - low, 1e-6) - 1)


def wrapped(batch: Batch) -> Batch:
    """Return pixels read as signed bytes: from 128 on they are negative."""
    return standardized((pixels(batch) + 128) % 256)


def in_8_bits(values: Batch) -> Batch:
    """Return values rounded and clipped to the 256 that pixels have.

    An INT8 engine whose input was calibrated on right batches does this to a wrong one.
    """
    return standardized(np.clip(np.rint(pixels(values)), 0, 255))


def affine(scales: Sequence[float], offsets: Sequence[float]) -> Change:
    """Return ``scale * v + offset``, for each colour plane by its own numbers."""
    by, plus = (
        np.array(numbers, np.float32)[:, np.newaxis, np.newaxis] for numbers in (scales, offsets)
    )
    return lambda batch: _batch(batch * by + plus)


def curve(values: Sequence[float]) -> Change:
    """Return values along a curve: straight between values at equal steps from black to white."""
    black, white = standardized(np.array([0, 255], np.float32))
    places = np.linspace(black, white, len(values))
    return lambda batch: _batch(np.interp(batch, places, values))


def colours(matrix: NDArray[np.float64]) -> Change:
    """Return colours multiplied by a matrix (3, 3) from the left."""
    weights = matrix.astype(np.float32)
    return lambda batch: _batch(np.einsum("oc,nchw->nohw", weights, batch))


def planes(order: Sequence[int]) -> Change:
    """Return colour planes in another order, or one several times."""
    return lambda batch: _batch(batch[:, list(order)])


def nhwc_as_nchw(batch: Batch) -> Batch:
    """Return the memory of an (N, H, W, 3) batch read as (N, 3, H, W)."""
    memory = np.ascontiguousarray(batch.transpose(0, 2, 3, 1))
    return _batch(memory.reshape(batch.shape))


def turned(*, transposed: bool, upside_down: bool, mirrored: bool) -> Change:
    """Return transposed pictures, then flipped ones: the eight ways to lay a square."""

    def change(batch: Batch) -> Batch:
        found = batch.swapaxes(2, 3) if transposed else batch
        return _batch(found[:, :, :: -1 if upside_down else 1, :: -1 if mirrored else 1])

    return change


def warped(matrix: NDArray[np.float64]) -> Change:
    """Return pictures of which pixel p shows what was at ``matrix @ (p, 1)`` before.

    Parameters
    ----------
    matrix : ndarray of shape (2, 3)
        On (x, y) from the centre, in pixels. What lies outside is the nearest border pixel.
    """

    def change(batch: Batch) -> Batch:
        side = batch.shape[-1]
        middle = np.full(2, (side - 1) / 2)
        moved = matrix.astype(np.float64)
        moved[:, 2] += middle - matrix[:, :2] @ middle
        return _each(
            batch,
            lambda face: cv2.warpAffine(
                face,
                moved,
                (side, side),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            ),
        )

    return change


def through(side: int, down: int, up: int) -> Change:
    """Return pictures that were resized to a side and back, by these interpolations of OpenCV."""

    def change(batch: Batch) -> Batch:
        size = batch.shape[-1]
        return _each(
            batch,
            lambda face: cv2.resize(
                cv2.resize(face, (side, side), interpolation=down),
                (size, size),
                interpolation=up,
            ),
        )

    return change


def blurred(variance: float) -> Change:
    """Return pictures blurred by a Gaussian of this variance in square pixels.

    Where it is negative, they are sharpened: twice the picture less the blurred one.
    """

    def change(batch: Batch) -> Batch:
        sigma = abs(variance) ** 0.5
        if sigma < 0.05:
            return batch
        soft = _each(batch, lambda face: cv2.GaussianBlur(face, (0, 0), sigma))
        return soft if variance > 0 else _batch(2 * batch - soft)

    return change


def blanked(top: float, bottom: float, left: float, right: float, value: float) -> Change:
    """Return pictures whose borders of these widths, in pixels, have one value.

    A width that is no whole number covers its last line in part.
    """

    def change(batch: Batch) -> Batch:
        places = np.arange(batch.shape[-1], dtype=np.float32)

        def shown(first: float, last: float) -> NDArray[np.float32]:
            begin = np.clip(places + 1 - first, 0, 1)
            return np.asarray(begin * np.clip(len(places) - places - last, 0, 1))

        seen = np.outer(shown(top, bottom), shown(left, right)).astype(np.float32)
        return _batch(batch * seen + np.float32(value) * (1 - seen))

    return change


def _each(batch: Batch, change: Callable[[Batch], NDArray[Any]]) -> Batch:
    """Apply a change of (H, H, 3) pictures."""
    return _batch(
        np.stack([change(_batch(face.transpose(1, 2, 0))).transpose(2, 0, 1) for face in batch])
    )
