"""The structure of encoded photos: segments, kind, size, and whether the file is complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"

END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers, which hold the size and the components."""

SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
PROGRESSIVE = frozenset({0xC2, 0xCA})
"""Frames whose coefficients come at once, or in several scans. C9 and CA: arithmetic coding."""

_UNREAD = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "hierarchical JPEG"),
    0xF7: "JPEG-LS",
}
"""Kinds of JPEG that are not read, by the marker of the frame header."""

# In a scan's data, FF followed by a stuffed zero, a restart or another FF is not a marker.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


@dataclass(frozen=True)
class Segment:
    """A segment of a JPEG.

    Attributes
    ----------
    marker : int
        The second byte of its marker.
    start, stop : int
        Its place in the file, marker included. The data of a scan follow its segment.
    content : bytes
        What follows marker and length.
    """

    marker: int
    start: int
    stop: int
    content: bytes


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments of the first picture of a JPEG, the end of the image last.

    A thumbnail in the header has an end marker of its own, so a search for the marker would not do.
    A truncated file yields the segments up to its end.
    """
    position = 2
    while (found := _NEXT_MARKER.search(data, position)) is not None:
        marker, position = data[found.end() - 1], found.end()
        if marker != END_OF_IMAGE:
            # Two bytes of length follow every other marker; they count themselves.
            position += int.from_bytes(data[position : position + 2], "big")
        content = data[found.end() + 2 : position]
        yield Segment(marker, found.start(), position, content)
        if marker == END_OF_IMAGE:
            return


def is_complete_jpeg(data: bytes) -> bool:
    """Return whether the end-of-image marker follows the scans. Bytes after it do not matter."""
    return any(segment.marker == END_OF_IMAGE for segment in jpeg_segments(data))


def is_complete_png(data: bytes) -> bool:
    """Return whether the list of chunks reaches ``IEND``."""
    position = len(PNG_START)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind, position = data[position + 4 : position + 8], position + 12 + length
        if kind == b"IEND":
            return position <= len(data)
    return False


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height in the header of a JPEG or PNG, None if there are none.

    A file may also state an orientation. It is ignored here, so the decoded picture may have width
    and height exchanged.

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
        size = int.from_bytes(frame.content[3:5], "big"), int.from_bytes(frame.content[1:3], "big")
    else:
        return None
    return size if min(size) > 0 else None


def unread_kind(data: bytes) -> str:
    """Return the kind of a JPEG or PNG that is not read; empty for any other file.

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
            return "JPEG of 12 bits a colour" if segment.content.startswith(b"\x0c") else ""
    return ""


def jpeg_frame(data: bytes) -> Segment | None:
    """Return the frame header of a JPEG; None if there is none, or it is cut off.

    Its content begins with bits a colour (1 byte), height (2), width (2) and the number of
    components (1).
    """
    if not data.startswith(JPEG_START):
        return None
    frame = next((one for one in jpeg_segments(data) if one.marker in FRAMES), None)
    return None if frame is None or len(frame.content) < 6 else frame
