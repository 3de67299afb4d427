"""Faults of the input that are tried as they are: with no number, or with usual ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations, product

import cv2

from facenet_validate.diagnosis import causes, changes
from facenet_validate.diagnosis.families import (
    BORDERS,
    COLOURS,
    CURVE,
    KNOTS,
    VALUES,
    shift,
    zoom,
)
from facenet_validate.diagnosis.imitations import Imitation, Stage

WAYS = {"nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA}

THROUGH = (("nearest", "nearest"), ("area", "bilinear"), ("bilinear", "bilinear"))
"""Interpolations by which pictures are made smaller and larger again."""

LEAST = 0.2
"""Smallest side through which pictures are resized, as a share of their own."""

STEPS = 16
"""Sides of smooth interpolations that are tried."""


def known_faults(side: int) -> Iterator[Imitation]:
    """Yield every fault that is tried before anything is fitted, for pictures of a side."""
    yield from _colours()
    yield from _values()
    yield from _geometry()
    yield from _framing(side)
    for way in THROUGH:
        yield resized(0.5, *way)


def _colours() -> Iterator[Imitation]:
    for order in permutations(range(3)):
        if order == (0, 1, 2):
            continue
        cause = causes.COLOUR_ORDER if order == (2, 1, 0) else causes.COLOURS_PERMUTED
        fed = "".join("RGB"[plane] for plane in order)
        yield Imitation(cause, Stage.COLOUR, changes.planes(order), f"fed as {fed}")
    yield COLOURS.of(*changes.LUMA * 3, 0, 0, 0)
    for matrix in (changes.YCRCB, changes.YUV):
        yield COLOURS.of(*matrix, 0, 0, 0)
    for plane, name in enumerate(("red", "green", "blue")):
        change = changes.planes([plane] * 3)
        yield Imitation(causes.GREY, Stage.COLOUR, change, f"the {name} plane three times")


def _values() -> Iterator[Imitation]:
    for cause, change, detail in (
        (causes.NOT_STANDARDIZED, changes.pixels, ""),
        (causes.STANDARDIZED_TWICE, changes.standardized, ""),
        (causes.STANDARDIZED_PER_IMAGE, changes.per_image, ""),
        (causes.STANDARDIZED_PER_IMAGE, changes.per_plane, "each plane by itself"),
        (causes.STANDARDIZED_PER_IMAGE, changes.stretched, "the darkest to -1, the brightest to 1"),
        (causes.RANGE_0_1, changes.affine([128 / 255] * 3, [0.5] * 3), ""),
        (causes.INVERTED, changes.affine([-1] * 3, [0] * 3), ""),
        (causes.WRAPPED, changes.wrapped, ""),
    ):
        yield Imitation(cause, Stage.VALUES, change, detail)
    for gain, middle in ((128, 0), (4, 0), (2, 0), (0.5, 0), (0.25, 0), (1, 0.5), (1, -0.5)):
        yield VALUES.of(*[gain] * 3, *[middle] * 3)
    for power in (0.45, 2.2):
        values = 255 * (KNOTS / 255) ** power
        yield CURVE.of(*((values - 127.5) / 128))


def _geometry() -> Iterator[Imitation]:
    for transposed, upside_down, mirrored, cause, detail in (
        (False, False, True, causes.MIRRORED, ""),
        (False, True, False, causes.UPSIDE_DOWN, ""),
        (False, True, True, causes.ROTATED, "by 180 degrees"),
        (True, False, False, causes.TRANSPOSED, ""),
        (True, False, True, causes.ROTATED, "by 90 degrees clockwise"),
        (True, True, False, causes.ROTATED, "by 90 degrees counter-clockwise"),
        (True, True, True, causes.TRANSPOSED, "and rotated by 180 degrees"),
    ):
        change = changes.turned(transposed=transposed, upside_down=upside_down, mirrored=mirrored)
        yield Imitation(cause, Stage.GEOMETRY, change, detail)
    yield Imitation(causes.LAYOUT, Stage.LAYOUT, changes.nhwc_as_nchw)


def _framing(side: int) -> Iterator[Imitation]:
    for factor in (1.14, 1.33, 0.88):
        yield zoom(factor)
    step = side / 20
    for right, down in ((step, 0), (-step, 0), (0, step), (0, -step)):
        yield shift(right, down)
    for place, value in product(range(4), (0.0, -1.0)):
        yield BORDERS.of(*(side / 4 * (place == border) for border in range(4)), value)


def every_size(side: int) -> Iterator[Imitation]:
    """Yield pictures of a side that were resized to smaller sides and back.

    To every smaller side without interpolation, since which pixels are left changes with each; to
    some sides with it.
    """
    least = max(1, round(LEAST * side))
    for way in THROUGH:
        step = 1 if way == ("nearest", "nearest") else max(1, round((side - least) / STEPS))
        for smaller in range(least, side, step):
            yield resized(smaller / side, *way)


def resized(share: float, down: str, up: str) -> Imitation:
    """Return pictures that were resized to a share of their side, and back."""

    def change(batch: changes.Batch) -> changes.Batch:
        side = max(1, round(share * batch.shape[-1]))
        return changes.through(side, WAYS[down], WAYS[up])(batch)

    detail = f"to {share:.1%} of the side ({down}) and back ({up})"
    return Imitation(causes.RESIZE, Stage.GEOMETRY, change, detail)
