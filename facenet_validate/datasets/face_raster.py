"""The brushes of the face renderer: smooth shapes and colours on float32 planes.

Arrays are computed with +, −, ×, ÷, square root and comparisons only. IEEE 754 rounds these the
same way everywhere, so pixels do not depend on OpenCV, on numpy's vector kernels or on the CPU.

A *plane* is a float array, (rows, columns) or (3, rows, columns) for RGB in 0 … 1.
"""

from __future__ import annotations

import numpy as np

from facenet_validate.datasets.face_parameters import Colour, Plane

# The width of a soft edge: a pixel and a half at 160 pixels, in half pictures.
_EDGE = 0.019


def blur(picture: Plane, sigma: float, axis: int) -> Plane:
    """Blur along one axis with five taps, whose variance is sigma² (pixels)."""
    variance = sigma * sigma
    near, far = max(0.0, 4.0 - variance) * variance / 6.0, (variance - 1.0) * variance / 24.0
    far = max(0.0, far)
    reach = [(0, 0), (0, 0), (0, 0)]
    reach[axis] = (2, 2)
    padded = np.moveaxis(np.pad(picture, reach, mode="edge"), axis, 0)
    blurred = (1.0 - 2.0 * (near + far)) * padded[2:-2]
    blurred += near * (padded[1:-3] + padded[3:-1])
    if far > 0.0:
        blurred += far * (padded[:-4] + padded[4:])
    return np.moveaxis(blurred, 0, axis)


def sample(lattice: Plane, column: Plane, row: Plane) -> Plane:
    """Interpolate smoothly between the values of a lattice that repeats in both directions."""
    left, top = np.floor(column), np.floor(row)
    share_x, share_y = ease(column - left), ease(row - top)
    rows, columns = lattice.shape
    i, j = top.astype(np.int32) % rows, left.astype(np.int32) % columns
    corner, values = i * columns, lattice.ravel()
    below, right = ((i + 1) % rows) * columns, (j + 1) % columns
    upper: Plane = values[corner + j]
    lower: Plane = values[below + j]
    upper += share_x * (values[corner + right] - upper)
    lower += share_x * (values[below + right] - lower)
    upper += share_y * (lower - upper)
    return upper


def paint(picture: Plane, cover: Plane, colour: Plane | Colour) -> None:
    """Blend a colour over the picture, in place, by the share ``cover`` (0 … 1)."""
    colours = plane(colour) if isinstance(colour, tuple) else colour
    picture += cover * (colours - picture)


def plane(colour: Colour) -> Plane:
    """Return a colour as an array of shape (3, 1, 1)."""
    return np.array(colour, dtype=np.float32)[:, None, None]


def grey(level: float) -> Colour:
    """Return the grey of a lightness in 0 … 1."""
    return (level, level, level)


def square(values: Plane) -> Plane:
    """Return the square. A power would call the C library, whose rounding varies."""
    squared: Plane = values * values
    return squared


def bump(squared_radius: Plane) -> Plane:
    """Return 1 in the middle, falling smoothly to 0 at radius 1."""
    return square(np.maximum(0.0, 1.0 - squared_radius))


def ease(share: Plane) -> Plane:
    """Map 0 … 1 to 0 … 1 along a curve whose slope is 0 at both ends."""
    return share * share * (3.0 - 2.0 * share)


def ramp(values: Plane, low: Plane | float, high: Plane | float) -> Plane:
    """Rise smoothly from 0 at ``low`` to 1 at ``high``."""
    return ease(np.clip((values - low) / (high - low), 0.0, 1.0))


def step(distance: Plane) -> Plane:
    """Return 1 where a distance in half pictures is positive, 0 where negative, soft between."""
    return ease(np.clip(0.5 + distance / (2.0 * _EDGE), 0.0, 1.0))
