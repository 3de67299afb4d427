"""Draws a synthetic face from its parameters.

The face is a relief: an oval with nose, sockets, cheeks and lips, lit from one side. Features are
painted on it in layers, from the background to the glasses. As in `face_raster`, all arithmetic is
rounded the same way on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from facenet_validate.datasets.face_parameters import Person, Photo, Plane, mix
from facenet_validate.datasets.face_raster import (
    blur,
    bump,
    grey,
    paint,
    plane,
    ramp,
    sample,
    square,
    step,
)

_FACE_DEPTH = 0.55
_SKULL = 1.06


def draw_face(person: Person, photo: Photo, size: int) -> NDArray[np.uint8]:
    """Draw one photo of a person.

    Parameters
    ----------
    person, photo
        What to draw.
    size
        Height and width in pixels; ``photo.grain`` must have the shape (size, size).

    Returns
    -------
    NDArray[np.uint8]
        RGB picture, shape (size, size, 3).
    """
    head = _pose(person, photo, size)
    picture = _background(photo, head)
    _draw_neck(picture, head, person, photo)
    _draw_hair_behind(picture, head, person)
    _draw_ears(picture, head, person)
    paint(picture, head.inside, _shaded_skin(head, person, photo))
    rows, part = head.rows(person.eye_height, 0.17)
    _draw_eyes(picture[:, rows], part, person, photo)
    rows, part = head.rows(person.eye_height - person.brow_gap, 0.22)
    _draw_brows(picture[:, rows], part, person, photo)
    rows, part = head.rows(person.mouth_height, 0.26)
    _draw_mouth(picture[:, rows], part, person, photo)
    _draw_hair_in_front(picture, head, person, photo)
    rows, part = head.rows(person.eye_height, 0.25)
    _draw_glasses(picture[:, rows], part, person)
    return _photograph(picture, photo)


@dataclass(frozen=True)
class _Head:
    """Coordinates of every pixel, float32 (size, size), in half pictures.

    ``x, y`` lie on the picture, ``across, down`` on the plane of the head, and ``u, v`` on the
    skin, where the features are. ``u, v`` differ from ``across, down`` when the head is turned.
    """

    x: Plane
    y: Plane
    across: Plane
    down: Plane
    u: Plane
    v: Plane
    relief: Plane
    inside: Plane
    texture: Plane
    strands: Plane

    def rows(self, level: float, reach: float) -> tuple[slice, _Head]:
        """Return the rows of pixels whose ``v`` is within reach of a level, and the head there.

        A small feature is drawn on its own rows only: so a photo takes less than 10 ms.
        """
        found = np.flatnonzero((np.abs(self.v - level) < reach).any(axis=1))
        rows = slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0)
        planes = {field.name: getattr(self, field.name)[rows] for field in fields(self)}
        return rows, _Head(**planes)


def _pose(person: Person, photo: Photo, size: int) -> _Head:
    line = (np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0
    x, y = np.meshgrid(line, line)
    cos, sin = math.cos(photo.roll) / photo.scale, math.sin(photo.roll) / photo.scale
    moved_x, moved_y = x - photo.shift[0], y - photo.shift[1]
    across, down = cos * moved_x + sin * moved_y, cos * moved_y - sin * moved_x
    outline = _outline(person, across, down)
    relief = _FACE_DEPTH * np.sqrt(np.maximum(0.0, -outline))
    # A detector centres its box on the visible face, so half of the depth is subtracted.
    turn, nod = math.sin(photo.yaw), math.sin(photo.pitch)
    u = (across - turn * (relief - 0.5 * _FACE_DEPTH)) / math.cos(photo.yaw)
    v = (down - nod * (relief - 0.5 * _FACE_DEPTH)) / math.cos(photo.pitch)
    inside = step(-outline * (0.5 * person.face_width))
    texture = sample(person.texture, 11.0 * u, 11.0 * v)
    strands = sample(person.texture, 55.0 * across, 5.0 * down)
    return _Head(x, y, across, down, u, v, relief, inside, texture, strands)


def _outline(person: Person, across: Plane, down: Plane) -> Plane:
    """Return an implicit outline of the face: negative inside, 0 on the edge."""
    cheek_level = 0.05
    below = np.clip((down - cheek_level) / (person.chin - cheek_level), 0.0, 1.6)
    above = np.clip((cheek_level - down) / _SKULL, 0.0, 2.0)
    squared = square(below)
    width = person.face_width * (1.0 - person.jaw_taper * squared)
    lower = squared * (person.jaw_roundness + (1.0 - person.jaw_roundness) * squared)
    upper = square(above) * (0.45 + 0.55 * square(above))
    outline: Plane = square(across / width) + lower + upper - 1.0
    return outline


def _background(photo: Photo, head: _Head) -> Plane:
    clutter = sample(photo.clutter, 2.5 * (head.x + 1.0), 2.5 * (head.y + 1.0))
    first, second = photo.background
    return plane(first) + clutter * (plane(second) - plane(first))


def _draw_neck(picture: Plane, head: _Head, person: Person, photo: Photo) -> None:
    neck_width = 0.72 * person.face_width
    neck = step(neck_width - np.abs(head.across)) * step(head.down - 0.3)
    shade = 0.55 + 0.25 * ramp(head.down, 0.8, 1.1)
    paint(picture, neck, plane(person.skin) * shade)
    collar = 1.02 - 0.5 * np.maximum(0.0, np.abs(head.across) - neck_width)
    paint(picture, step(head.down - collar), photo.shirt)


def _hair_colour(head: _Head, person: Person) -> Plane:
    sheen = 0.35 * bump(square((head.down + 0.72) / 0.3))
    return plane(person.hair) * (0.65 + 0.6 * head.strands + sheen)


def _hair_outline(head: _Head, person: Person) -> Plane:
    """Return the cover (0 … 1) of the area within the outline of the hair."""
    tapered = ramp(person.hair_length - head.down, -0.1, 0.7)
    wide = person.face_width + person.hair_volume * tapered
    tall = _SKULL + person.hair_volume
    outline = 1.0 - square(head.across / wide) - square(np.minimum(head.down, 0.0) / tall)
    return step(outline * 0.4)


def _draw_hair_behind(picture: Plane, head: _Head, person: Person) -> None:
    if person.hair_volume == 0.0:
        return
    ends = ramp(person.hair_length - head.down, -0.05, 0.05)
    paint(picture, _hair_outline(head, person) * ends, _hair_colour(head, person) * 0.8)


def _draw_ears(picture: Plane, head: _Head, person: Person) -> None:
    if person.hair_length > 0.3:
        return
    outward = np.abs(head.across) - person.face_width
    radius = square(outward / (0.55 * person.ear_size)) + square(
        (head.down - 0.02) / person.ear_size
    )
    paint(picture, step((1.0 - radius) * 0.05), plane(person.skin) * (0.5 + 0.3 * radius))


def _shaded_skin(head: _Head, person: Person, photo: Photo) -> Plane:
    height = head.relief + _features(head, person)
    slopes = np.gradient(height, 2.0 / height.shape[0])
    slope_y, slope_x = (np.asarray(slope, dtype=np.float32) for slope in slopes)
    length = np.sqrt(1.0 + square(slope_x) + square(slope_y))
    azimuth, elevation = photo.light
    light = (math.sin(azimuth) * math.cos(elevation), math.sin(elevation))
    towards = math.sqrt(max(0.05, 1.0 - light[0] ** 2 - light[1] ** 2))
    facing = (towards - light[0] * slope_x - light[1] * slope_y) / length
    lit = np.maximum(0.0, 0.75 * facing + 0.25)
    gloss = square(square(np.maximum(0.0, facing)))
    shade = photo.ambient + (1.05 - photo.ambient) * lit
    return _complexion(head, person) * shade + 0.10 * gloss * gloss


def _features(head: _Head, person: Person) -> Plane:
    """Return the height of nose, sockets, cheeks, lips and chin above the oval of the face."""
    u, v = head.u, head.v
    side = np.abs(u)
    tip, root = person.nose_tip, person.eye_height - 0.02
    along = np.clip((v - root) / (tip - root), 0.0, 1.0)
    width = person.bridge_width + (person.nose_width - person.bridge_width) * along * along
    under = 1.0 - ramp(v, tip - 0.04, tip + 0.09)
    height: Plane = person.nose_height * along * under * bump(square(u / (1.6 * width)))
    wing = square((side - 0.62 * person.nose_width) / 0.07) + square((v - tip) / 0.07)
    height += 0.05 * bump(wing)
    socket = square((side - person.eye_apart) / 0.22) + square((v - person.eye_height) / 0.15)
    height -= 0.07 * person.socket_depth * bump(socket)
    cheek = square((side - 0.40) / 0.24) + square((v - 0.10) / 0.20)
    height += 0.08 * person.cheekbones * bump(cheek)
    chin = square(u / 0.22) + square((v - person.chin + 0.14) / 0.14)
    height += 0.07 * person.chin_bump * bump(chin)
    lips = square(u / person.mouth_width) + square((v - person.mouth_height) / 0.13)
    height += 0.04 * bump(lips)
    return height


def _complexion(head: _Head, person: Person) -> Plane:
    """Return the colour of the skin under even light, with beard, folds and freckles."""
    u, v, side = head.u, head.v, np.abs(head.u)
    colour = plane(person.skin) * (0.93 + 0.14 * head.texture)
    flush = bump(square((side - 0.40) / 0.26) + square((v - 0.14) / 0.22))
    colour *= 1.0 - flush * plane((0.0, 0.10, 0.09))
    hollow = bump(square((side - person.eye_apart) / 0.2) + square((v - person.eye_height) / 0.13))
    colour *= 1.0 - (0.16 * person.socket_depth) * hollow
    bag_level = person.eye_height + 0.10
    bag = bump(square((side - person.eye_apart) / 0.14) + square((v - bag_level) / 0.03))
    colour *= 1.0 - (0.05 + 0.25 * person.age) * bag
    fold_at = 0.17 + 0.33 * (v - person.nose_tip)
    fold = bump(square((side - fold_at) / 0.035)) * bump(square((v - person.nose_tip - 0.13) / 0.2))
    colour *= 1.0 - (0.06 + 0.25 * person.age) * fold
    lines = bump(square((v + 0.52) / 0.014)) + bump(square((v + 0.60) / 0.014))
    colour *= 1.0 - 0.22 * person.age * lines * bump(square(u / 0.5))
    if person.freckles > 0.2:
        spots = ramp(sample(person.texture, 45.0 * u, 45.0 * v), 0.75, 0.9)
        colour *= 1.0 - 0.35 * person.freckles * spots * flush
    nostril = square((side - 0.45 * person.nose_width) / 0.045)
    nostril = nostril + square((v - person.nose_tip - 0.035) / 0.022)
    colour *= 1.0 - 0.7 * bump(nostril)
    under = bump(square(u / person.nose_width) + square((v - person.nose_tip - 0.06) / 0.03))
    colour *= 1.0 - 0.2 * under
    _grow_beard(colour, head, person)
    return colour


def _grow_beard(colour: Plane, head: _Head, person: Person) -> None:
    if person.beard == 0.0 and person.moustache == 0.0:
        return
    u, v = head.u, head.v
    grain = 0.65 + 0.35 * head.strands
    cheek_line = 0.62 - 0.75 * np.abs(u)
    bare = bump(square(u / 0.24) + square((v - person.mouth_height) / 0.11))
    beard = ramp(v, cheek_line, cheek_line + 0.12) * (1.0 - bare)
    level = 0.5 * (person.nose_tip + person.mouth_height) + 0.02
    lip = bump(square(u / 0.30) + square((v - level - 0.35 * square(u)) / 0.075))
    cover = np.maximum(person.beard * beard, np.minimum(1.0, 1.6 * lip) * person.moustache)
    paint(colour, cover * grain, _hair_colour(head, person))


def _draw_eyes(picture: Plane, head: _Head, person: Person, photo: Photo) -> None:
    openness = max(0.25, photo.eye_openness) * person.eye_opening
    for side in (-1.0, 1.0):
        out = side * head.u - person.eye_apart
        down = head.v - person.eye_height + person.eye_tilt * out
        arch = np.maximum(0.0, 1.0 - square(out / person.eye_width))
        upper, lower = -openness * arch, 0.62 * openness * arch
        ends = ramp(arch, 0.0, 0.12)
        opening = step(np.minimum(down - upper, lower - down)) * ends
        paint(picture, opening, grey(0.80))
        radius = np.sqrt(square(out - side * 0.04 * photo.gaze) + square(down + 0.008))
        iris = step(0.058 - radius) * opening
        paint(picture, iris, plane(person.iris) * (0.55 + 9.0 * radius))
        paint(picture, step(0.024 - radius) * opening, grey(0.03))
        glint = square(head.u - side * person.eye_apart - 0.015) + square(down + 0.025)
        paint(picture, bump(glint / 0.0004) * opening, grey(0.95))
        lashes = bump(square((down - upper) / 0.020)) * ends
        paint(picture, 0.8 * lashes, grey(0.06))
        rim = bump(square((down - lower) / 0.014)) * ends
        paint(picture, 0.35 * rim, plane(person.skin) * 0.45)
        crease = bump(square((down - 1.25 * upper + 0.035) / 0.016)) * arch
        paint(picture, 0.4 * crease, plane(person.skin) * 0.4)


def _draw_brows(picture: Plane, head: _Head, person: Person, photo: Photo) -> None:
    level = person.eye_height - person.brow_gap - photo.brow_raise
    out = np.abs(head.u) - person.eye_apart
    along = np.clip(out / 0.19, -1.3, 1.3)
    centre = level - person.brow_arch * (1.0 - along * along) - person.brow_tilt * out
    thickness = person.brow_thickness * (1.15 - 0.4 * along)
    brow = bump(square((head.v - centre) / (1.6 * thickness)))
    ends = ramp(1.0 - np.abs(along), 0.0, 0.25)
    paint(
        picture,
        person.brow_strength * brow * ends * (0.75 + 0.25 * head.strands),
        mix(person.hair, grey(0.0), 0.3),
    )


def _draw_mouth(picture: Plane, head: _Head, person: Person, photo: Photo) -> None:
    width = person.mouth_width * (1.0 + 0.16 * photo.smile)
    along = head.u / width
    arch = np.maximum(0.0, 1.0 - along * along)
    line = person.mouth_height - 0.05 * photo.smile * (along * along - 0.4)
    gap = photo.mouth_open * arch
    bow = 1.0 - 0.35 * bump(square(along / 0.28))
    thin = 1.0 - 0.25 * max(0.0, photo.smile)
    top = line - 0.3 * gap - 1.3 * person.upper_lip * thin * arch * bow
    upper_edge, lower_edge = line - 0.3 * gap, line + 0.7 * gap
    bottom = lower_edge + 1.2 * person.lower_lip * thin * arch
    down, present = head.v, arch > 0.0
    red = plane(person.skin) * (1.0 - (0.15 + 0.35 * person.lip_redness) * plane((0.25, 1.0, 0.8)))
    shade = 0.55 + 0.5 * photo.ambient
    lips = step(np.minimum(down - top, bottom - down)) * present
    relief = 0.85 + 0.25 * ramp(down, lower_edge, bottom + 0.01)
    paint(picture, 0.85 * lips, red * (shade * relief))
    inner = step(np.minimum(down - upper_edge, lower_edge - down) - 0.004) * present
    paint(picture, inner, plane((0.20, 0.06, 0.06)))
    teeth = step(np.minimum(0.45 * photo.mouth_open - (down - upper_edge), 0.8 - np.abs(along)))
    paint(picture, teeth * inner, grey(0.82))
    seam = bump(square((down - upper_edge) / 0.014)) * ramp(arch, 0.0, 0.1)
    paint(picture, 0.6 * seam, plane((0.22, 0.09, 0.08)))


def _draw_hair_in_front(picture: Plane, head: _Head, person: Person, photo: Photo) -> None:
    if person.hair_volume == 0.0:
        return
    # Hair lies above the skull, so it turns with the head but less than the face does.
    across = 0.5 * (head.across + head.u)
    down = 0.5 * (head.down + head.v)
    from_parting = np.abs(across - person.parting)
    hairline = person.hairline + photo.hair_shift + person.hairline_drop * square(from_parting)
    # A fringe ends above the eyes, whatever its parting.
    hairline = np.minimum(hairline, person.eye_height - 0.16)
    edge = hairline + 0.06 * (head.strands - 0.5)
    front = ramp(edge - down, -0.02, 0.03)
    panel = np.abs(across) - (person.face_width - 0.10 + 0.1 * ramp(down, -0.2, 0.6))
    sides = ramp(panel, -0.01, 0.03) * ramp(person.hair_length - down, -0.03, 0.05)
    cover = np.maximum(front, sides) * _hair_outline(head, person)
    paint(picture, cover, _hair_colour(head, person))


def _draw_glasses(picture: Plane, head: _Head, person: Person) -> None:
    if person.glasses == 0.0:
        return
    side, v = np.abs(head.u), head.v - person.eye_height - 0.02
    out = (side - person.eye_apart) / 0.20
    lens = square(square(out)) + square(square(v / person.glasses_height))
    frame = bump(square((lens - 1.0) / 0.42))
    paint(picture, 0.10 * step((1.0 - lens) * 0.1), grey(0.6))
    inner = person.eye_apart - 0.20
    bridge = bump(square((v + 0.04) / 0.022)) * step(inner - side)
    temple = bump(square((v + 0.03) / 0.025)) * step(side - person.eye_apart - 0.2) * head.inside
    rims = np.maximum(frame, np.maximum(bridge, temple))
    paint(picture, person.glasses * rims, person.glasses_colour)


def _photograph(picture: Plane, photo: Photo) -> NDArray[np.uint8]:
    """Apply the light's strength and colour, the lens, the contrast and the sensor's noise."""
    picture = picture * (photo.exposure * plane(photo.tint))
    for axis in (1, 2):
        picture = blur(picture, photo.blur, axis)
    picture = 0.5 + photo.contrast * (picture - 0.5)
    picture += photo.noise * photo.grain
    pixels = np.clip(picture * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
