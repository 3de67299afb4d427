"""Eleven kinds of corruption at five severities, as pure functions on aligned faces.

The kinds follow the common corruptions of D. Hendrycks and T. Dietterich, "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", ICLR 2019: noise, blur, weather (here
light) and what digital processing does; with the poses and occlusions that faces meet besides.
Lengths are in pixels of a face of 160 and scale with the face.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

VERSION = "corruptions-1"
"""Part of every cache key: it changes whenever a corrupted face does."""

SEVERITIES = (1, 2, 3, 4, 5)

Face = NDArray[np.uint8]
Random = np.random.Generator

_SEED = 20180408
_SIDE = 160
_EVERY = np.arange(256.0)


def _values(face: NDArray[Any]) -> Face:
    """Return values as pixels: rounded, between 0 and 255."""
    return np.asarray(np.clip(np.rint(face), 0, 255), np.uint8)


def _mapped(face: Face, values: NDArray[Any]) -> Face:
    """Return a face with each of the 256 values replaced by another."""
    return np.asarray(cv2.LUT(face, _values(values)), np.uint8)


def _sign(random: Random) -> int:
    return 1 if random.random() < 0.5 else -1


def _brightness(face: Face, severity: int, random: Random) -> Face:
    return _mapped(face, _EVERY + _sign(random) * (16.0, 32.0, 48.0, 64.0, 80.0)[severity - 1])


def _contrast(face: Face, severity: int, random: Random) -> Face:
    del random
    mean = face.mean()
    return _mapped(face, mean + (0.75, 0.6, 0.45, 0.3, 0.2)[severity - 1] * (_EVERY - mean))


def _gamma(face: Face, severity: int, random: Random) -> Face:
    power = (1.25, 1.5, 2.0, 2.5, 3.0)[severity - 1] ** _sign(random)
    return _mapped(face, 255 * (_EVERY / 255) ** power)


def _blur(face: Face, severity: int, random: Random) -> Face:
    del random
    sigma = (1.0, 1.75, 2.5, 3.5, 5.0)[severity - 1] * len(face) / _SIDE
    blurred = cv2.GaussianBlur(face, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.uint8)


def _jpeg(face: Face, severity: int, random: Random) -> Face:
    del random
    quality = (40, 25, 15, 10, 7)[severity - 1]
    bgr = cv2.cvtColor(face, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None  # it was encoded here
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _noise(face: Face, severity: int, random: Random) -> Face:
    deviation = (8, 16, 24, 36, 48)[severity - 1]
    return _values(face + deviation * random.standard_normal(face.shape, np.float32))


def _rotation(face: Face, severity: int, random: Random) -> Face:
    degrees = _sign(random) * 3 * severity
    middle = (len(face) - 1) / 2
    return _moved(face, cv2.getRotationMatrix2D((middle, middle), degrees, 1.0))


def _shift(face: Face, severity: int, random: Random) -> Face:
    length, way = 4 * severity * len(face) / _SIDE, 2 * np.pi * random.random()
    move = [[1, 0, length * np.cos(way)], [0, 1, length * np.sin(way)]]
    return _moved(face, np.array(move))


def _moved(face: Face, matrix: NDArray[Any]) -> Face:
    side = len(face)
    moved = cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def _occlusion(face: Face, severity: int, random: Random) -> Face:
    """A flat grey square, somewhere, of 4 to 25 % of the face."""
    side = round((0.2, 0.28, 0.35, 0.42, 0.5)[severity - 1] * len(face))
    top, left = random.integers(len(face) - side + 1, size=2)
    covered = face.copy()
    covered[top : top + side, left : left + side] = random.integers(256)
    return covered


def _grey(face: Face, severity: int, random: Random) -> Face:
    del random
    share, luma = 0.2 * severity, cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)[..., None]
    return _values((1 - share) * face + share * luma)


def _low_resolution(face: Face, severity: int, random: Random) -> Face:
    del random
    whole = len(face)
    side = max(1, round((80, 56, 40, 28, 20)[severity - 1] * whole / _SIDE))
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (whole, whole), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.uint8)


_CORRUPTIONS: dict[str, Callable[[Face, int, Random], Face]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "gamma": _gamma,
    "blur": _blur,
    "jpeg": _jpeg,
    "noise": _noise,
    "rotation": _rotation,
    "shift": _shift,
    "occlusion": _occlusion,
    "grey": _grey,
    "low_resolution": _low_resolution,
}

KINDS = tuple(_CORRUPTIONS)
"""The kinds of corruption, in the order of reports."""

QUICK_KINDS = ("brightness", "blur", "jpeg", "noise")
"""One of each family: light, optics, digital processing, sensor."""


def corrupt(face: Face, kind: str, severity: int, row: int) -> Face:
    """Return a corrupted face; the same arguments give the same pixels.

    Parameters
    ----------
    face : (H, H, 3) uint8 array
        RGB; it stays as it is.
    kind : str
        One of :data:`KINDS`.
    severity : int
        From 1 to 5.
    row : int
        Which photo of its set it is, from 0. What is drawn (a sign, a place, noise) is drawn for
        each photo, and the same at every severity.

    Returns
    -------
    (H, H, 3) uint8 array

    Raises
    ------
    ValueError
        If there is no such kind or severity.

    Examples
    --------
    >>> face = np.full((160, 160, 3), 100, np.uint8)
    >>> bright = [corrupt(face, "brightness", severity, 0)[0, 0, 0] for severity in SEVERITIES]
    >>> sorted({abs(int(value) - 100) for value in bright})
    [16, 32, 48, 64, 80]
    """
    if kind not in _CORRUPTIONS or severity not in SEVERITIES:
        raise ValueError(
            f"expected a kind of {', '.join(KINDS)} and a severity from 1 to 5, found {kind} and "
            f"{severity}"
        )
    random = np.random.default_rng([_SEED, KINDS.index(kind), row])
    return _CORRUPTIONS[kind](face, severity, random)
