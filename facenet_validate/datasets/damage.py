"""Damage in JPEGs that are complete files: a hole, a flipped bit.

OpenCV decodes such a file to partly grey pixels without an error. Its decoder, libjpeg-turbo, does
warn of the damage, and simplejpeg shows the warning. Its pixels are not used.
"""

from __future__ import annotations

from itertools import pairwise

import simplejpeg

from facenet_validate.datasets.headers import (
    FRAMES,
    SEQUENTIAL,
    START_OF_SCAN,
    jpeg_frame,
    jpeg_segments,
)
from facenet_validate.datasets.jpeg_scans import missing_scans
from facenet_validate.datasets.jpeg_tables import HUFFMAN, QUANTISATION, table_damage

_WARNINGS = ("Corrupt JPEG data", "Premature end of JPEG file", "Inconsistent progression")
"""Beginnings of libjpeg's warnings of damage.

Other errors do not count: OpenCV reads layouts that simplejpeg refuses.
"""

_COLOURS = {1: "GRAY", 3: "GRAY", 4: "CMYK"}
"""The colour space that simplejpeg decodes to fastest, by the number of components."""

_TABLES = frozenset({HUFFMAN, 0xCC, QUANTISATION, 0xDC, 0xDD})
"""Huffman tables, arithmetic conditions, quantisation tables, number of lines, restart interval."""

_PADDINGS = ((b"\0", 0), (b"\0", 1), (b"\0\r\n", 0), (b"\0\r\n", 1))
"""Bytes that count as padding at the end of a scan, and how many zeros of the padding are kept.

A zero may belong to the scan: it is stuffed behind FF. Line ends come from transfers as text, or
from multipart messages.
"""


def jpeg_damage(data: bytes) -> str:
    """Return what is wrong with the tables and scans of a complete JPEG; empty if nothing is.

    Some damage is not found: the decoder may get back into step and end at the right place.
    ``docs/evidence/damage.md`` has the measured shares.

    Parameters
    ----------
    data : bytes
        The encoded file, from its first marker to its end-of-image marker at least.
    """
    frame = jpeg_frame(data)
    colours = None if frame is None else _COLOURS.get(frame.content[5])
    if colours is None:
        return ""
    return table_damage(data) or _damage_in_scans(data, colours) or missing_scans(data)


def _damage_in_scans(data: bytes, colours: str) -> str:
    """Return libjpeg's warning of damage in the data of the scans; empty if there is none."""
    if not _complaint(data, colours):
        return ""
    # It may be about the header or padding, which do no harm, and hide a later complaint.
    found = [_complaint(_bare(data, *padding), colours) for padding in _PADDINGS]
    damages = [text if text.startswith(_WARNINGS) else "" for text in found]
    return damages[0] if all(damages) else ""


def _complaint(data: bytes, colours: str) -> str:
    try:
        # At an eighth of the size all codes are read, and few pixels are computed.
        simplejpeg.decode_jpeg(
            data, colours, fastdct=True, fastupsample=True, min_height=1, min_width=1, min_factor=8
        )
    except ValueError as error:
        return str(error)
    return ""


def _bare(data: bytes, padding: bytes, spared: int) -> bytes:
    """Return a JPEG with the same scans, reduced to what makes the picture.

    Dropped are padding between segments, comments, metadata, and zeros or line ends between the
    data of a scan and the next marker. ``spared`` of these zeros are kept: they may belong to the
    scan.
    """
    parts = [data[:2]]
    sequential = False
    for segment, after in pairwise(jpeg_segments(data)):
        body = data[segment.start : segment.stop]
        if segment.marker == START_OF_SCAN:
            # Decoders assume this spectral range of a sequential scan, whatever it states.
            parts += [body[:-3] + b"\x00\x3f\x00" if sequential else body]
            parts += [_without_padding(data[segment.stop : after.start], padding, spared)]
        elif segment.marker in _TABLES | FRAMES:
            sequential = sequential or segment.marker in SEQUENTIAL
            parts.append(body)
    return b"".join([*parts, b"\xff\xd9"])


def _without_padding(scan: bytes, padding: bytes, spared: int) -> bytes:
    kept = scan.rstrip(padding)
    return kept + bytes(min(spared, len(scan) - len(kept)))
