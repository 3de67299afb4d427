"""Contact sheets for the report: photos with the faces found in them, and aligned faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.framing import Box, Framing
from facenet_validate.datasets.images import decode_image

MOST_PHOTOS = 60
"""Photos on one sheet; of more, the rest are counted in the last place."""

_COLUMNS = 6
_SIDE, _LINE, _GAP = 200, 24, 8
_TOP = 3 * _LINE

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

_PAPER, _INK = (250, 250, 250), (30, 30, 30)
_TAKEN, _OTHER, _CROP = (0, 200, 60), (255, 140, 0), (255, 255, 255)
_LEGEND = (
    (_TAKEN, "the face taken"),
    (_OTHER, "other faces"),
    (_CROP, "what was cropped"),
)


@dataclass(frozen=True)
class PhotoWithBoxes:
    """A photo of the report, and where its faces are.

    Attributes
    ----------
    name : str
        Written below it.
    path : Path
        The JPEG or PNG; read when the sheet is drawn.
    framing : Framing
        What is drawn on it.
    """

    name: str
    path: Path
    framing: Framing


def face_sheet(photos: Sequence[PhotoWithBoxes], title: str) -> bytes:
    """Draw photos side by side, each with the boxes of its faces and the crop, its name below.

    Parameters
    ----------
    photos : sequence of PhotoWithBoxes
        At least one. Of more than :data:`MOST_PHOTOS` the last place counts the rest: a sheet is
        at most 1256 × 2400 pixels, and only photos that are drawn are read.
    title : str
        Written above, in ASCII; what is not becomes a question mark.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    DatasetError
        If a photo cannot be read or decoded; it is named.
    ValueError
        Without photos.
    """
    if not photos:
        raise ValueError("a sheet of no photos")
    drawn = photos if len(photos) <= MOST_PHOTOS else photos[: MOST_PHOTOS - 1]
    tiles = [_tile(photo) for photo in drawn]
    if len(drawn) < len(photos):
        tiles.append(_rest(len(photos) - len(drawn)))
    sheet = _sheet(tiles, title, _TOP)
    _legend(sheet)
    return _png(sheet)


def face_strip(faces: Sequence[Picture], captions: Sequence[str], title: str) -> bytes:
    """Draw faces side by side, six in a row, each with its caption below.

    Parameters
    ----------
    faces : sequence of ndarray of shape (S, S, 3)
        uint8, RGB. At least one.
    captions : sequence of str
        As many, in ASCII; what is not becomes a question mark.
    title : str
        Written above.

    Returns
    -------
    bytes
        A PNG.

    Raises
    ------
    ValueError
        Without faces.
    """
    if not len(faces):
        raise ValueError("a strip of no faces")
    tiles = []
    for face, caption in zip(faces, captions, strict=True):
        tile = _blank()
        tile[:_SIDE] = cv2.resize(face, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
        _write(tile, caption, (0, _SIDE + _LINE - 8), _SIDE)
        tiles.append(tile)
    return _png(_sheet(tiles, title, 2 * _LINE))


def _sheet(tiles: Sequence[Picture], title: str, top: int) -> Picture:
    """Return tiles in rows below a title, the first row so many pixels down."""
    rows = -(-len(tiles) // _COLUMNS)
    across, down = _SIDE + _GAP, _SIDE + _LINE + _GAP
    sheet = np.full((top + rows * down, _COLUMNS * across + _GAP, 3), _PAPER, np.uint8)
    _write(sheet, title, (_GAP, _LINE), sheet.shape[1] - 2 * _GAP, size=0.7)
    for place, tile in enumerate(tiles):
        row, column = divmod(place, _COLUMNS)
        y, x = top + row * down, _GAP + column * across
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return sheet


def _png(sheet: Picture) -> bytes:
    _, png = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return bytes(png.tobytes())


def _tile(photo: PhotoWithBoxes) -> Picture:
    """Return a photo in a square, with boxes, and its name below."""
    try:
        image = decode_image(photo.path.read_bytes(), name=photo.name)
    except OSError as error:
        raise DatasetError(f"photo {photo.path}: cannot be read ({error.strerror}).") from None
    height, width, _ = image.shape
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    shown = cv2.resize(image, size, interpolation=way).astype(np.uint8, copy=False)
    _draw(shown, photo.framing.crop, scale, _CROP, 1)
    for box in photo.framing.boxes[1:]:
        _draw(shown, box, scale, _OTHER, 2)
    for box in photo.framing.boxes[:1]:
        _draw(shown, box, scale, _TAKEN, 2)
    tile = _blank()
    top, left = (_SIDE - size[1]) // 2, (_SIDE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = shown
    _write(tile, photo.name, (0, _SIDE + _LINE - 8), _SIDE)
    return tile


def _rest(count: int) -> Picture:
    tile = _blank()
    _write(tile, f"and {count:,} more", (0, _SIDE // 2), _SIDE, size=0.6)
    return tile


def _blank() -> Picture:
    return np.full((_SIDE + _LINE, _SIDE, 3), _PAPER, np.uint8)


def _legend(sheet: Picture) -> None:
    x, y = _GAP, 2 * _LINE
    for colour, meaning in _LEGEND:
        # On grey, since one of the colours is white.
        cv2.rectangle(sheet, (x, y - 14), (x + 22, y + 2), (128, 128, 128), -1)
        cv2.rectangle(sheet, (x + 3, y - 11), (x + 19, y - 1), colour, 2)
        _write(sheet, meaning, (x + 30, y), 170)
        x += 200


def _draw(image: Picture, box: Box, scale: float, colour: Colour, width: int) -> None:
    x1, y1, x2, y2 = (round(value * scale) for value in box)
    # Of a box that ends at the border the last line would lie outside.
    cv2.rectangle(image, (x1, y1), (max(x2 - 1, x1), max(y2 - 1, y1)), colour, width)


def _write(image: Picture, text: str, at: tuple[int, int], room: int, size: float = 0.45) -> None:
    """Write a line, shrunk to the room there is: OpenCV's fonts are ASCII."""
    plain = text.encode("ascii", "replace").decode()
    (width, _), _ = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    fitting = size * min(1.0, room / max(width, 1))
    cv2.putText(image, plain, at, cv2.FONT_HERSHEY_SIMPLEX, fitting, _INK, 1, cv2.LINE_AA)
