"""Faults of an input that need no fit: a cause, and the change that imitates it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import cv2
import numpy as np

from facenet_validate.diagnosis import causes, changes
from facenet_validate.diagnosis.changes import Batch, Change
from facenet_validate.diagnosis.diagnosis import Cause

GEOMETRY, COLOUR, VALUES, LAYOUT, EDGE = range(5)
"""The order in which faults happen to a picture. At most one of a stage is imitated."""


@dataclass(frozen=True)
class Imitation:
    """A fault of the input.

    Attributes
    ----------
    cause : Cause
        What is imitated.
    stage : int
        When it happens: `GEOMETRY` to `EDGE`.
    change : callable
        What it does to a right batch.
    detail : str
        Which one of the cause, for people; may be empty.
    """

    cause: Cause
    stage: int
    change: Change
    detail: str = ""


def applied(imitations: tuple[Imitation, ...], batch: Batch) -> Batch:
    """Return what these faults make of a right batch, in the order of their stages."""
    for one in sorted(imitations, key=lambda one: one.stage):
        batch = one.change(batch)
    return batch


def known_faults() -> Iterator[Imitation]:
    """Yield every fault that has no number to fit."""
    yield from _colours()
    yield from _values()
    yield from _geometry()
    yield from _framing()
    yield from _resizes()


EIGHT_BITS = Imitation(
    Cause("", "", ""), EDGE, changes.in_8_bits, "clipped to the range of right pixels"
)


def _colours() -> Iterator[Imitation]:
    for order in permutations(range(3)):
        if order == (0, 1, 2):
            continue
        cause = causes.COLOUR_ORDER if order == (2, 1, 0) else causes.COLOURS_PERMUTED
        fed = "".join("RGB"[plane] for plane in order)
        yield Imitation(cause, COLOUR, changes.planes(order), f"fed as {fed}")
    grey = np.tile(changes.LUMA, (3, 1))
    yield Imitation(causes.GREY, COLOUR, changes.colours(grey), "the luma of BT.601")
    for plane, name in enumerate(("red", "green", "blue")):
        change = changes.planes([plane] * 3)
        yield Imitation(causes.GREY, COLOUR, change, f"the {name} plane three times")


def _values() -> Iterator[Imitation]:
    yield Imitation(causes.NOT_STANDARDIZED, VALUES, changes.pixels)
    yield Imitation(causes.STANDARDIZED_TWICE, VALUES, changes.standardized)
    yield Imitation(causes.STANDARDIZED_PER_IMAGE, VALUES, changes.per_image)
    detail = "each plane by itself"
    yield Imitation(causes.STANDARDIZED_PER_IMAGE, VALUES, changes.per_plane, detail)
    detail = "the darkest value to -1, the brightest to 1"
    yield Imitation(causes.STANDARDIZED_PER_IMAGE, VALUES, changes.stretched, detail)
    yield Imitation(causes.RANGE_0_1, VALUES, changes.affine(128 / 255, 0.5))
    yield Imitation(causes.INVERTED, VALUES, changes.affine(-1, 0))
    yield Imitation(causes.WRAPPED, VALUES, changes.wrapped)
    for scale, offset in ((128, 0), (4, 0), (2, 0), (0.5, 0), (0.25, 0), (1, 0.5), (1, -0.5)):
        change = changes.affine(scale, offset)
        detail = f"the contract's values times {scale:g} plus {offset:g}"
        yield Imitation(causes.OTHER_STANDARDIZATION, VALUES, change, detail)
    for power in (0.45, 2.2):
        yield Imitation(causes.TONE_CURVE, VALUES, changes.gamma(power), f"gamma {power:g}")


def _geometry() -> Iterator[Imitation]:
    names = {
        (False, False, True): (causes.MIRRORED, ""),
        (False, True, False): (causes.UPSIDE_DOWN, ""),
        (False, True, True): (causes.ROTATED, "by 180 degrees"),
        (True, False, False): (causes.TRANSPOSED, ""),
        (True, False, True): (causes.ROTATED, "by 90 degrees clockwise"),
        (True, True, False): (causes.ROTATED, "by 90 degrees counter-clockwise"),
        (True, True, True): (causes.TRANSPOSED, "and rotated by 180 degrees"),
    }
    for (transposed, upside_down, mirrored), (cause, detail) in names.items():
        change = changes.turned(transposed=transposed, upside_down=upside_down, mirrored=mirrored)
        yield Imitation(cause, GEOMETRY, change, detail)
    yield Imitation(causes.LAYOUT, LAYOUT, changes.nhwc_as_nchw)


def _framing() -> Iterator[Imitation]:
    for factor in (1.14, 1.33, 0.88):
        detail = f"enlarged by {factor:g}"
        yield Imitation(causes.FRAMING, GEOMETRY, changes.zoomed(factor), detail)
    for right, down in ((8, 0), (-8, 0), (0, 8), (0, -8)):
        detail = f"moved {right} pixels right and {down} down"
        yield Imitation(causes.FRAMING, GEOMETRY, changes.shifted(right, down), detail)
    for place, value in product(range(4), (0.0, -1.0)):
        side = ("top", "bottom", "left", "right")[place]
        yield Imitation(causes.BLANKED, GEOMETRY, _border(place, value), f"a quarter at the {side}")


def _border(place: int, value: float) -> Change:
    def change(batch: Batch) -> Batch:
        width = batch.shape[-1] / 4
        top, bottom, left, right = (width if side == place else 0.0 for side in range(4))
        return changes.blanked(top, bottom, left, right, value)(batch)

    return change


def _resizes() -> Iterator[Imitation]:
    ways = {
        "nearest": cv2.INTER_NEAREST,
        "bilinear": cv2.INTER_LINEAR,
        "area": cv2.INTER_AREA,
    }
    for share, (down, up) in (
        (0.5, ("nearest", "nearest")),
        (0.5, ("area", "bilinear")),
        (0.75, ("bilinear", "bilinear")),
    ):
        detail = f"to {share:.0%} of the side ({down}) and back ({up})"
        yield Imitation(causes.RESIZE, GEOMETRY, _resized(share, ways[down], ways[up]), detail)


def _resized(share: float, down: int, up: int) -> Change:
    return lambda batch: changes.through(round(share * batch.shape[-1]), down, up)(batch)
