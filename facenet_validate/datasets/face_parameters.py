"""What tells synthetic faces apart: the draws behind a person and behind one photo of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        Non-negative integers; equal keys give equal draws. Give keys of one length: numpy takes
        (1, 2) and (1, 2, 0) for the same seed.
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


@dataclass(frozen=True)
class Person:
    """What stays the same in every photo of a person.

    Lengths are in half pictures (80 px) of a frontal, centred face; v grows downwards from the
    middle of the picture. Colours are RGB in 0 … 1.
    """

    face_width: float
    chin: float
    jaw_roundness: float
    jaw_taper: float
    skin: Colour
    eye_apart: float
    eye_height: float
    eye_width: float
    eye_opening: float
    eye_tilt: float
    socket_depth: float
    iris: Colour
    brow_gap: float
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    brow_strength: float
    nose_tip: float
    nose_width: float
    nose_height: float
    bridge_width: float
    mouth_height: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    lip_redness: float
    cheekbones: float
    chin_bump: float
    ear_size: float
    hair: Colour
    hairline: float
    hairline_drop: float
    hair_volume: float
    hair_length: float
    parting: float
    beard: float
    moustache: float
    age: float
    freckles: float
    glasses: float
    glasses_height: float
    glasses_colour: Colour
    texture: Plane

    @classmethod
    def drawn(cls, draws: Draws) -> Person:
        """Draw a person."""
        age = draws.unit() * draws.unit()
        masculine = draws.unit()
        hair = draws.blend(_HAIR_COLOURS)
        bearded = masculine > 0.5 and draws.happens(0.45)
        bald = masculine > 0.5 and draws.happens(0.2)
        hair_style = draws.unit()
        return cls(
            face_width=draws.bell(0.67, 0.05),
            chin=draws.bell(0.90, 0.05) + 0.03 * masculine,
            jaw_roundness=draws.unit(),
            jaw_taper=draws.between(0.0, 0.34) - 0.08 * masculine,
            skin=mix(draws.blend(_SKIN_TONES), draws.colour(0.3, 0.8), 0.08),
            eye_apart=draws.bell(0.315, 0.027),
            eye_height=draws.bell(-0.20, 0.04),
            eye_width=draws.bell(0.128, 0.014),
            eye_opening=draws.bell(0.060, 0.012),
            eye_tilt=draws.bell(0.06, 0.10),
            socket_depth=draws.between(0.2, 1.0),
            iris=draws.blend(_IRIS_COLOURS),
            brow_gap=draws.bell(0.155, 0.026) - 0.02 * masculine,
            brow_thickness=draws.bell(0.030, 0.008) + 0.012 * masculine,
            brow_arch=draws.bell(0.035, 0.02),
            brow_tilt=draws.bell(0.02, 0.09),
            brow_strength=draws.between(0.35, 1.0),
            nose_tip=draws.bell(0.20, 0.045),
            nose_width=draws.bell(0.145, 0.025),
            nose_height=draws.bell(0.20, 0.045),
            bridge_width=draws.bell(0.085, 0.015),
            mouth_height=draws.bell(0.475, 0.035),
            mouth_width=draws.bell(0.225, 0.028),
            upper_lip=draws.bell(0.042, 0.013),
            lower_lip=draws.bell(0.060, 0.015),
            lip_redness=draws.unit() * (1.2 - masculine),
            cheekbones=draws.between(0.0, 1.0),
            chin_bump=draws.between(0.0, 1.0),
            ear_size=draws.bell(0.15, 0.025),
            hair=mix(hair, (0.72, 0.71, 0.70), max(0.0, age - 0.6) * 2.0),
            hairline=-1.6 if bald else draws.bell(-0.70, 0.10),
            hairline_drop=draws.between(0.0, 0.5),
            hair_volume=0.0 if bald else draws.between(0.03, 0.22),
            hair_length=draws.between(0.3, 1.6)
            if hair_style > masculine
            else draws.bell(-0.2, 0.1),
            parting=draws.bell(0.0, 0.25),
            beard=draws.between(0.3, 0.95) if bearded else 0.0,
            moustache=draws.between(0.3, 0.95) if bearded or masculine > 0.9 else 0.0,
            age=age,
            freckles=draws.unit() * draws.unit(),
            glasses=draws.between(0.5, 1.0) if draws.happens(0.2) else 0.0,
            glasses_height=draws.between(0.11, 0.18),
            glasses_colour=draws.colour(0.02, 0.35),
            texture=draws.lattice(24, 24),
        )


@dataclass(frozen=True)
class Photo:
    """What differs between two photos of a person: pose, light, expression and camera.

    Angles are in radians, shifts in half pictures, colours RGB in 0 … 1.
    """

    roll: float
    yaw: float
    pitch: float
    scale: float
    shift: tuple[float, float]
    light: tuple[float, float]
    ambient: float
    exposure: float
    contrast: float
    tint: Colour
    smile: float
    mouth_open: float
    eye_openness: float
    gaze: float
    brow_raise: float
    background: tuple[Colour, Colour]
    shirt: Colour
    clutter: Plane
    hair_shift: float
    blur: float
    noise: float
    grain: Plane

    @classmethod
    def drawn(cls, draws: Draws, size: int) -> Photo:
        """Draw a photo of ``size`` × ``size`` pixels."""
        smile = draws.between(-0.3, 1.0)
        return cls(
            roll=draws.bell(0.0, 0.06),
            yaw=draws.bell(0.0, 0.24),
            pitch=draws.bell(0.0, 0.12),
            scale=draws.bell(1.06, 0.04),
            shift=(draws.bell(0.0, 0.03), draws.bell(0.0, 0.03)),
            light=(draws.bell(0.0, 0.55), draws.bell(-0.35, 0.25)),
            ambient=draws.between(0.30, 0.65),
            exposure=draws.bell(1.0, 0.14),
            contrast=draws.bell(1.0, 0.14),
            tint=mix((1.0, 1.0, 1.0), draws.colour(0.6, 1.4), 0.22),
            smile=smile,
            mouth_open=draws.between(0.0, 0.09) if draws.happens(0.45) else 0.0,
            eye_openness=draws.bell(1.0, 0.17) - 0.12 * smile,
            gaze=draws.bell(0.0, 0.3),
            brow_raise=draws.bell(0.0, 0.02),
            background=(draws.muted(), draws.muted()),
            shirt=draws.muted(),
            clutter=draws.lattice(6, 6),
            hair_shift=draws.bell(0.0, 0.05),
            blur=draws.between(0.2, 1.4),
            noise=draws.between(0.004, 0.022),
            grain=draws.grain(size, size),
        )
