"""Faults of the input that have numbers: a change for every choice of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facenet_validate.diagnosis import causes, changes
from facenet_validate.diagnosis.changes import Change
from facenet_validate.diagnosis.diagnosis import Cause
from facenet_validate.diagnosis.imitations import Imitation, Stage

Numbers = NDArray[np.float64]

HALF_SIDE = 80
"""Pixels from the centre at which a number of `FRAME` moves a picture by one pixel."""

ALONE = 0.1
"""Weight of other colours, as a share of the largest, up to which a plane is one colour's."""

STRAIGHT = 0.02
"""Deviation from a line, as a share of its rise, up to which a curve is one."""


@dataclass(frozen=True)
class Family:
    """Faults that differ by numbers.

    Attributes
    ----------
    name : str
        As `Imitation.family`.
    stage : Stage
        When it happens to a picture.
    identity : tuple of float
        The numbers that change nothing.
    steps : callable
        Numbers → how far each is moved to see what it does: small, and large beside rounding.
    change : callable
        Numbers → change.
    described : callable
        Numbers → the cause that they are, and they in words.
    ways : tuple of tuple of float
        Directions in which numbers are searched before they are fitted, each as long as the first
        step. Empty where a fit finds its way by itself.
    """

    name: str
    stage: Stage
    identity: tuple[float, ...]
    steps: Callable[[Numbers], Numbers]
    change: Callable[[Numbers], Change]
    described: Callable[[Numbers], tuple[Cause, str]]
    ways: tuple[tuple[float, ...], ...] = ()

    def member(self, numbers: Numbers) -> Imitation:
        """Return the fault with these numbers."""
        cause, detail = self.described(numbers)
        return Imitation(
            cause, self.stage, self.change(numbers), detail, self.name, tuple(numbers.tolist())
        )

    def of(self, *numbers: float) -> Imitation:
        """Return the fault with these numbers."""
        return self.member(np.array(numbers, np.float64))


# -- pixel values ----------------------------------------------------------------------------------


def _feeds(numbers: Numbers) -> tuple[Cause, str]:
    """Describe gains and middles of right values as (x - mean) / scale of pixels x."""
    parts = [
        f"{name} (x - {128 * middle + 127.5:.4g}) / {128 / (gain or 1e-9):.4g}"
        for name, gain, middle in zip("RGB", numbers[:3], numbers[3:], strict=True)
    ]
    cause = causes.INVERTED if np.all(numbers[:3] < 0) else causes.OTHER_STANDARDIZATION
    return cause, f"as though fed {', '.join(parts)}"


VALUES = Family(
    "values",
    Stage.VALUES,
    (1, 1, 1, 0, 0, 0),
    lambda numbers: np.concatenate([0.05 * np.maximum(np.abs(numbers[:3]), 0.2), [0.05] * 3]),
    lambda numbers: changes.affine(numbers[:3].tolist(), (-numbers[:3] * numbers[3:]).tolist()),
    _feeds,
)
"""For each colour plane the gain, and the value that becomes zero."""

KNOTS = np.linspace(0, 255, 6)


def _bent(numbers: Numbers) -> tuple[Cause, str]:
    places = (KNOTS - 127.5) / 128
    slope, level = np.polyfit(places, numbers, 1)
    bend = np.abs(slope * places + level - numbers).max()
    if bend <= STRAIGHT * abs(slope) * 2 and slope:
        return _feeds(np.repeat([slope, -level / slope], 3))
    points = ", ".join(
        f"{pixel:.0f} as {value:.0f}"
        for pixel, value in zip(KNOTS, 128 * numbers + 127.5, strict=True)
    )
    return causes.TONE_CURVE, f"pixels read: {points}"


CURVE = Family(
    "curve",
    Stage.VALUES,
    tuple(((KNOTS - 127.5) / 128).tolist()),
    lambda _: np.full(len(KNOTS), 0.05),
    lambda numbers: changes.curve(numbers.tolist()),
    _bent,
)
"""One curve for all colours, straight between six points."""


def along(change: Change) -> Numbers:
    """Return the numbers of `CURVE` that are nearest to a change of values one by one."""
    flat = np.tile(((KNOTS - 127.5) / 128).astype(np.float32)[:, None, None, None], (1, 3, 1, 1))
    return change(flat)[:, 0, 0, 0].astype(np.float64)


# -- colours ---------------------------------------------------------------------------------------


def _mixed(numbers: Numbers) -> tuple[Cause, str]:
    matrix = numbers[:9].reshape(3, 3)
    size = np.abs(matrix).max()
    if np.abs(matrix - np.diag(np.diag(matrix))).max() <= ALONE * size:
        gains = np.diag(matrix)
        return _feeds(np.concatenate([gains, -numbers[9:] / np.where(gains, gains, 1e-9)]))
    rows = "; ".join(" ".join(f"{value:.2f}" for value in row) for row in matrix)
    same = np.abs(matrix - matrix.mean(axis=0)).max() <= ALONE * size
    return causes.GREY if same else causes.COLOURS_MIXED, f"R, G, B from the colours by {rows}"


def _mixing(numbers: Numbers) -> Change:
    mix = changes.colours(numbers[:9].reshape(3, 3))
    move = changes.affine((1, 1, 1), numbers[9:].tolist())
    return lambda batch: move(mix(batch))


COLOURS = Family(
    "colours",
    Stage.COLOUR,
    (1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0),
    lambda _: np.full(12, 0.05),
    _mixing,
    _mixed,
)
"""A matrix over the colours, and an offset for each."""

# -- geometry --------------------------------------------------------------------------------------


def _placed(numbers: Numbers) -> Numbers:
    matrix = np.column_stack([np.eye(2) + numbers[:4].reshape(2, 2) / HALF_SIDE, numbers[4:]])
    return np.asarray(matrix)


def _framed(numbers: Numbers) -> tuple[Cause, str]:
    linear = np.linalg.inv(_placed(numbers)[:, :2])
    right, down = -linear @ numbers[4:]
    turn = np.degrees(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1]))
    wide, high = np.linalg.norm(linear, axis=0)
    return causes.FRAMING, (
        f"enlarged by {wide:.3f} across and {high:.3f} down, moved {right:.1f} pixels right and "
        f"{down:.1f} down, rotated by {turn:.1f} degrees"
    )


FRAME = Family(
    "frame",
    Stage.GEOMETRY,
    (0,) * 6,
    lambda _: np.ones(6),
    lambda numbers: changes.warped(_placed(numbers)),
    _framed,
    ways=(
        (8, 0, 0, 8, 0, 0),  # larger or smaller
        (0, 8, -8, 0, 0, 0),  # rotated
        (0, 0, 0, 0, 8, 0),
        (0, 0, 0, 0, 0, 8),
        (0, 0, 0, 0, 8, 8),
        (0, 0, 0, 0, 8, -8),
    ),
)
"""Where each pixel is taken from: an affine map, in pixels at the border.

A picture that is moved by a part of a pixel is blurred as well. That hides from a fit where to go.
"""


def zoom(factor: float) -> Imitation:
    """Return pictures enlarged around their centre."""
    by = HALF_SIDE * (1 / factor - 1)
    return FRAME.of(by, 0, 0, by, 0, 0)


def shift(right: float, down: float) -> Imitation:
    """Return pictures moved by pixels."""
    return FRAME.of(0, 0, 0, 0, -right, -down)


def _softened(numbers: Numbers) -> tuple[Cause, str]:
    (variance,) = numbers
    word = "blurred" if variance > 0 else "sharpened"
    return causes.RESIZE, f"{word} as by a deviation of {abs(variance) ** 0.5:.2f} pixels"


BLUR = Family(
    "blur",
    Stage.GEOMETRY,
    (0,),
    lambda _: np.array([0.5]),
    lambda numbers: changes.blurred(float(numbers[0])),
    _softened,
)
"""A Gaussian's variance in square pixels."""


def _covered(numbers: Numbers) -> tuple[Cause, str]:
    sides = ("top", "bottom", "left", "right")
    parts = [
        f"{width:.0f} pixels at the {side}"
        for side, width in zip(sides, numbers[:4], strict=True)
        if width >= 0.5
    ]
    return causes.BLANKED, f"{', '.join(parts) or 'nothing'} read as {128 * numbers[4] + 127.5:.0f}"


def _covering(numbers: Numbers) -> Change:
    top, bottom, left, right, value = numbers.tolist()
    return changes.blanked(top, bottom, left, right, value)


BORDERS = Family(
    "borders",
    Stage.GEOMETRY,
    (0,) * 5,
    lambda _: np.array([2.0, 2.0, 2.0, 2.0, 0.1]),
    _covering,
    _covered,
    ways=(
        (40, 0, 0, 0, 0),
        (0, 40, 0, 0, 0),
        (0, 0, 40, 0, 0),
        (0, 0, 0, 40, 0),
        (0, 0, 0, 0, 1),
    ),
)
"""The widths of four borders without a picture, in pixels, and their value."""

FAMILIES: tuple[Family, ...] = (BLUR, VALUES, CURVE, FRAME, BORDERS, COLOURS)
"""The one with fewest numbers first."""
