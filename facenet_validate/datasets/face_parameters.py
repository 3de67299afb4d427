"""The random draws behind a synthetic person and behind one photo of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Plane = NDArray[np.floating]

_SKIN_TONES: tuple[Colour, ...] = (
    (0.97, 0.82, 0.73),
    (0.90, 0.70, 0.57),
    (0.78, 0.57, 0.43),
    (0.58, 0.39, 0.28),
    (0.37, 0.24, 0.17),
)
_HAIR_COLOURS: tuple[Colour, ...] = (
    (0.07, 0.06, 0.06),
    (0.17, 0.11, 0.08),
    (0.32, 0.21, 0.13),
    (0.45, 0.26, 0.15),
    (0.78, 0.62, 0.38),
    (0.68, 0.67, 0.66),
)
_IRIS_COLOURS: tuple[Colour, ...] = (
    (0.16, 0.09, 0.05),
    (0.33, 0.21, 0.10),
    (0.32, 0.38, 0.22),
    (0.30, 0.45, 0.60),
)


class Draws:
    """Numbers drawn from one key, the same on every machine and numpy version.

    Only the raw stream of the bit generator is used: numpy guarantees that stream, whereas the
    distributions of its ``Generator`` may change between releases.

    Parameters
    ----------
    *key
        Non-negative integers; equal keys give equal draws. All keys must have one length, since
        numpy takes (1, 2) and (1, 2, 0) for the same seed.
    """

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def unit(self) -> float:
        """Return a number uniform in [0, 1)."""
        return float(int(self._bits.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """Return a number uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def bell(self, centre: float, spread: float) -> float:
        """Return a nearly normal number of that standard deviation, at most 3.5 of them away."""
        return centre + spread * 3**0.5 * (sum(self.unit() for _ in range(4)) - 2.0)

    def happens(self, probability: float) -> bool:
        """Return True with that probability."""
        return self.unit() < probability

    def order(self, count: int) -> list[int]:
        """Return 0 … count − 1 in a random order."""
        return [int(i) for i in np.argsort(self._bits.random_raw(count), kind="stable")]

    def blend(self, colours: Sequence[Colour]) -> Colour:
        """Return a colour between two neighbours of a scale of colours."""
        position = self.unit() * (len(colours) - 1)
        low = int(position)
        return mix(colours[low], colours[low + 1], position - low)

    def colour(self, low: float, high: float) -> Colour:
        """Return a colour whose channels are uniform in [low, high)."""
        return (self.between(low, high), self.between(low, high), self.between(low, high))

    def muted(self) -> Colour:
        """Return a colour of any lightness, closer to grey than to its full hue."""
        grey = self.between(0.05, 0.9)
        return mix((grey, grey, grey), self.colour(0.05, 0.9), 0.4)

    def lattice(self, rows: int, columns: int) -> Plane:
        """Return a float32 array (rows, columns) uniform in [0, 1)."""
        raw = self._bits.random_raw(rows * columns) >> np.uint64(40)
        return (raw.astype(np.float32) * np.float32(2.0**-24)).reshape(rows, columns)

    def grain(self, *shape: int) -> Plane:
        """Return a float32 array of nearly normal numbers, mean 0 and standard deviation 1."""
        count = int(np.prod(shape))
        raw = self._bits.random_raw((count + 1) // 2).astype("<u8").view(np.uint8)
        total = raw.reshape(-1, 4).sum(axis=1, dtype=np.int32)[:count]
        # Four bytes: mean 4 × 127.5, variance 4 × (256² − 1) / 12.
        grain: Plane = (total.astype(np.float32) - 510.0) / np.float32(147.8)
        return grain.reshape(shape)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return ``first`` with that share of ``second`` mixed in."""
    r, g, b = (a + share * (z - a) for a, z in zip(first, second, strict=True))
    return (r, g, b)


class Person:
    """A drawn person: what stays the same in every photo of them.

    Lengths are in half pictures (80 px) of a frontal, centred face; v grows downwards from the
    middle of the picture. Colours are RGB in 0 … 1.

    Parameters
    ----------
    draws : Draws
        Where the numbers come from. Another order of the draws below gives other people.
    """

    def __init__(self, draws: Draws) -> None:
        age = draws.unit() * draws.unit()
        masculine = draws.unit()
        hair = draws.blend(_HAIR_COLOURS)
        bearded = masculine > 0.5 and draws.happens(0.45)
        bald = masculine > 0.5 and draws.happens(0.2)
        hair_style = draws.unit()
        self.face_width = draws.bell(0.67, 0.05)
        self.chin = draws.bell(0.90, 0.05) + 0.03 * masculine
        self.jaw_roundness = draws.unit()
        self.jaw_taper = draws.between(0.0, 0.34) - 0.08 * masculine
        self.skin = mix(draws.blend(_SKIN_TONES), draws.colour(0.3, 0.8), 0.08)
        self.eye_apart = draws.bell(0.315, 0.027)
        self.eye_height = draws.bell(-0.20, 0.04)
        self.eye_width = draws.bell(0.128, 0.014)
        self.eye_opening = draws.bell(0.060, 0.012)
        self.eye_tilt = draws.bell(0.06, 0.10)
        self.socket_depth = draws.between(0.2, 1.0)
        self.iris = draws.blend(_IRIS_COLOURS)
        self.brow_gap = draws.bell(0.155, 0.026) - 0.02 * masculine
        self.brow_thickness = draws.bell(0.030, 0.008) + 0.012 * masculine
        self.brow_arch = draws.bell(0.035, 0.02)
        self.brow_tilt = draws.bell(0.02, 0.09)
        self.brow_strength = draws.between(0.35, 1.0)
        self.nose_tip = draws.bell(0.20, 0.045)
        self.nose_width = draws.bell(0.145, 0.025)
        self.nose_height = draws.bell(0.20, 0.045)
        self.bridge_width = draws.bell(0.085, 0.015)
        self.mouth_height = draws.bell(0.475, 0.035)
        self.mouth_width = draws.bell(0.225, 0.028)
        self.upper_lip = draws.bell(0.042, 0.013)
        self.lower_lip = draws.bell(0.060, 0.015)
        self.lip_redness = draws.unit() * (1.2 - masculine)
        self.cheekbones = draws.between(0.0, 1.0)
        self.chin_bump = draws.between(0.0, 1.0)
        self.ear_size = draws.bell(0.15, 0.025)
        self.hair = mix(hair, (0.72, 0.71, 0.70), max(0.0, age - 0.6) * 2.0)
        self.hairline = -1.6 if bald else draws.bell(-0.70, 0.10)
        self.hairline_drop = draws.between(0.0, 0.5)
        self.hair_volume = 0.0 if bald else draws.between(0.03, 0.22)
        self.hair_length = (
            draws.between(0.3, 1.6) if hair_style > masculine else draws.bell(-0.2, 0.1)
        )
        self.parting = draws.bell(0.0, 0.25)
        self.beard = draws.between(0.3, 0.95) if bearded else 0.0
        self.moustache = draws.between(0.3, 0.95) if bearded or masculine > 0.9 else 0.0
        self.age = age
        self.freckles = draws.unit() * draws.unit()
        self.glasses = draws.between(0.5, 1.0) if draws.happens(0.2) else 0.0
        self.glasses_height = draws.between(0.11, 0.18)
        self.glasses_colour = draws.colour(0.02, 0.35)
        self.texture = draws.lattice(24, 24)


class Photo:
    """A drawn photo of a person: pose, light, expression and camera.

    Angles are in radians, shifts in half pictures, colours RGB in 0 … 1.

    Parameters
    ----------
    draws : Draws
        Where the numbers come from. Another order of the draws below gives other photos.
    size : int
        Height and width in pixels.
    """

    def __init__(self, draws: Draws, size: int) -> None:
        smile = draws.between(-0.3, 1.0)
        self.roll = draws.bell(0.0, 0.06)
        self.yaw = draws.bell(0.0, 0.24)
        self.pitch = draws.bell(0.0, 0.12)
        self.scale = draws.bell(1.06, 0.04)
        self.shift = (draws.bell(0.0, 0.03), draws.bell(0.0, 0.03))
        self.light = (draws.bell(0.0, 0.55), draws.bell(-0.35, 0.25))
        self.ambient = draws.between(0.30, 0.65)
        self.exposure = draws.bell(1.0, 0.14)
        self.contrast = draws.bell(1.0, 0.14)
        self.tint = mix((1.0, 1.0, 1.0), draws.colour(0.6, 1.4), 0.22)
        self.smile = smile
        self.mouth_open = draws.between(0.0, 0.09) if draws.happens(0.45) else 0.0
        self.eye_openness = draws.bell(1.0, 0.17) - 0.12 * smile
        self.gaze = draws.bell(0.0, 0.3)
        self.brow_raise = draws.bell(0.0, 0.02)
        self.background = (draws.muted(), draws.muted())
        self.shirt = draws.muted()
        self.clutter = draws.lattice(6, 6)
        self.hair_shift = draws.bell(0.0, 0.05)
        self.blur = draws.between(0.2, 1.4)
        self.noise = draws.between(0.004, 0.022)
        self.grain = draws.grain(size, size)
