"""JPEGs whose data are damaged although the file is whole: a hole, a flipped bit.

OpenCV decodes them to grey rubble without a word. The decoder below it, libjpeg-turbo, warns of
them; simplejpeg is a way to hear it. The pixels are not taken from there.
"""

from __future__ import annotations

from itertools import pairwise

import simplejpeg

from facenet_validate.datasets.headers import (
    FRAMES,
    START_OF_SCAN,
    jpeg_frame,
    jpeg_segments,
)
from facenet_validate.datasets.jpeg_scans import missing_scans
from facenet_validate.datasets.jpeg_tables import HUFFMAN, QUANTISATION, table_damage

_WARNINGS = ("Corrupt JPEG data", "Premature end of JPEG file", "Inconsistent progression")
"""How libjpeg's warnings of damage begin.

Other errors are left to OpenCV: it reads layouts that simplejpeg does not.
"""

_COLOURS = {1: "GRAY", 3: "GRAY", 4: "CMYK"}
"""The cheapest that simplejpeg decodes to, by the number of components."""

_TABLES = frozenset({HUFFMAN, 0xCC, QUANTISATION, 0xDC, 0xDD})
"""Huffman tables, arithmetic conditions, quantisation tables, number of lines, restart interval."""

_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_PADDINGS = ((b"\0", 0), (b"\0", 1), (b"\0\r\n", 0), (b"\0\r\n", 1))
"""What is taken for padding at the end of a scan, and how many zeros of it are spared.

A zero may be the scan's last byte: the one that is stuffed behind FF. Line ends come from transfers
as text, or from multipart messages.
"""


def jpeg_damage(data: bytes) -> str:
    """Return what is wrong with the tables and scans of a whole JPEG; empty if nothing.

    Not every damage is seen: the decoder may fall into step again and end where it should. How
    much is, is told in ``docs/evidence/damage.md``.

    Parameters
    ----------
    data : bytes
        The encoded file, from its first marker to its end-of-image marker at least.
    """
    frame = jpeg_frame(data)
    colours = None if frame is None else _COLOURS.get(frame[9])
    if colours is None:
        return ""
    return table_damage(data) or _damage_in_scans(data, colours) or missing_scans(data)


def _damage_in_scans(data: bytes, colours: str) -> str:
    """Return what libjpeg warns of in the data of the scans; empty if nothing."""
    if not _complaint(data, colours):
        return ""
    # It may be of the header or of padding, which do no harm, and hides what comes after it.
    found = [_complaint(_bare(data, *padding), colours) for padding in _PADDINGS]
    damages = [text if text.startswith(_WARNINGS) else "" for text in found]
    return damages[0] if all(damages) else ""


def _complaint(data: bytes, colours: str) -> str:
    try:
        # An eighth of the size: all codes are read, and hardly a pixel is computed.
        simplejpeg.decode_jpeg(
            data, colours, fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8
        )
    except ValueError as error:
        return str(error)
    return ""


def _bare(data: bytes, padding: bytes, spared: int) -> bytes:
    """Return a JPEG of the same scans without what does not belong to the picture.

    That is: padding between segments, comments and metadata, and zeros or line ends between the
    data of a scan and the marker after them. Of zeros a few are spared, in case they are the scan's
    last bytes.
    """
    parts = [data[:2]]
    sequential = False
    for segment, after in pairwise(jpeg_segments(data)):
        body = data[segment.start : segment.stop]
        if segment.marker == START_OF_SCAN:
            parts += [_scan_header(body) if sequential else body]
            parts += [_without_padding(data[segment.stop : after.start], padding, spared)]
        elif segment.marker in _TABLES | FRAMES:
            sequential = sequential or segment.marker in _SEQUENTIAL
            parts.append(body)
    return b"".join([*parts, b"\xff\xd9"])


def _scan_header(body: bytes) -> bytes:
    """Return a sequential scan's header with the spectral range that decoders assume."""
    return body[:-3] + b"\x00\x3f\x00"


def _without_padding(scan: bytes, padding: bytes, spared: int) -> bytes:
    kept = scan.rstrip(padding)
    return kept + bytes(min(spared, len(scan) - len(kept)))
