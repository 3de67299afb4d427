"""What the header of an encoded photo says: its segments, its size, whether it reaches its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"

END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that head a frame: its size and its components."""

_UNREAD = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical JPEG"),
    0xF7: "JPEG-LS",
}
"""Kinds by the markers that head their frames."""

# In a scan's data a marker is FF followed by neither a stuffed zero, a restart nor more padding.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


@dataclass(frozen=True)
class Segment:
    """A segment of a JPEG.

    Attributes
    ----------
    marker : int
        Its second byte.
    start, stop : int
        Where it lies in the file, marker included. A scan's data follow it.
    """

    marker: int
    start: int
    stop: int


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments of the first picture of a JPEG, the end of the image last.

    The segments are walked because a thumbnail in the header has an end marker of its own. Where
    the file stops before its end, so do they.
    """
    position = 2
    while (found := _NEXT_MARKER.search(data, position)) is not None:
        marker, position = data[found.end() - 1], found.end()
        if marker != END_OF_IMAGE:
            # Every other marker heads a segment whose length counts itself.
            position += int.from_bytes(data[position : position + 2], "big")
        yield Segment(marker, found.start(), position)
        if marker == END_OF_IMAGE:
            return


def is_complete_jpeg(data: bytes) -> bool:
    """Say whether the end-of-image marker follows the scans; bytes after it do not matter."""
    return any(segment.marker == END_OF_IMAGE for segment in jpeg_segments(data))


def is_complete_png(data: bytes) -> bool:
    """Say whether the chunk list reaches ``IEND``."""
    position = len(PNG_START)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, position = data[position + 4 : position + 8], position + 12 + length
        if kind == b"IEND":
            return position <= len(data)
    return False


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height that a JPEG or PNG states, None where it states none.

    The orientation that a file may state does not count: width and height may be exchanged in the
    decoded picture.

    Parameters
    ----------
    data : bytes
        The encoded file, or as much of its beginning as the header takes.
    """
    if data.startswith(PNG_START):
        if data[12:16] != b"IHDR":
            return None
        size = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    elif (frame := jpeg_frame(data)) is not None:
        size = int.from_bytes(frame[7:9], "big"), int.from_bytes(frame[5:7], "big")
    else:
        return None
    return size if min(size) > 0 else None


def unread_kind(data: bytes) -> str:
    """Return what kind of image this is, if it is a sound one that is not read; else empty.

    Parameters
    ----------
    data : bytes
        The encoded file, or as much of its beginning as the header takes.
    """
    if data.startswith(PNG_START):
        return "PNG of Apple's own form (CgBI)" if data[12:16] == b"CgBI" else ""
    if not data.startswith(JPEG_START):
        return ""
    for segment in jpeg_segments(data):
        if segment.marker in (START_OF_SCAN, END_OF_IMAGE):
            return ""
        if segment.marker in _UNREAD:
            return _UNREAD[segment.marker]
        if segment.marker in FRAMES:
            return (
                "JPEG of 12 bits a colour"
                if data[segment.start + 4 : segment.start + 5] == b"\x0c"
                else ""
            )
    return ""


def jpeg_frame(data: bytes) -> bytes | None:
    """Return the frame header of a JPEG from its marker on; None where there is no whole one.

    Its bytes are FF and the marker, the length (2), bits, height (2), width (2) and the number of
    components.
    """
    if not data.startswith(JPEG_START):
        return None
    for segment in jpeg_segments(data):
        if segment.marker in FRAMES:
            frame = data[segment.start : segment.stop]
            return frame if len(frame) >= 10 else None
    return None
