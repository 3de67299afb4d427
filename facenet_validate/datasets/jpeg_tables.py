"""Damage in the tables of a JPEG: content that no camera or program writes.

libjpeg decodes with any content, and with tables of its own where one is missing.
"""

from __future__ import annotations

from facenet_validate.datasets.headers import FRAMES, START_OF_SCAN, jpeg_segments

QUANTISATION, HUFFMAN = 0xDB, 0xC4

_HUFFMAN_SEQUENTIAL, _HUFFMAN_PROGRESSIVE = frozenset({0xC0, 0xC1}), 0xC2
_DC, _AC = 0, 1

Table = tuple[int, int]
"""Class, DC or AC, and number."""


def table_damage(data: bytes) -> str:
    """Return what is wrong with a JPEG's tables; empty if nothing.

    Parameters
    ----------
    data : bytes
        The encoded file, from its first marker to its end-of-image marker at least.
    """
    defined: set[Table] = set()
    frame = 0
    for segment in jpeg_segments(data):
        content = segment.content
        if segment.marker == QUANTISATION and _has_zero(content):
            return "a zero in a quantisation table"
        if segment.marker == HUFFMAN:
            tables = _huffman_tables(content)
            if tables is None:
                return "a Huffman table that cannot be"
            defined |= tables
        elif segment.marker in FRAMES:
            frame = segment.marker
        # A frame of a film has no tables at all: they are the same for all frames.
        elif segment.marker == START_OF_SCAN and defined and _needed(content, frame) - defined:
            return "a Huffman table is missing"
    return ""


def _has_zero(content: bytes) -> bool:
    position = 0
    while position < len(content):
        width = 2 if content[position] >> 4 else 1
        table = content[position + 1 : position + 1 + 64 * width]
        values = (table[start : start + width] for start in range(0, len(table), width))
        if b"\0" in table and not all(map(any, values)):
            return True
        position += 1 + 64 * width
    return False


def _huffman_tables(content: bytes) -> set[Table] | None:
    """Return the tables of a segment; None if one is cut off or has a symbol twice."""
    found: set[Table] = set()
    while content:
        count = sum(content[1:17])
        symbols = content[17 : 17 + count]
        if len(set(symbols)) < count:
            return None
        found.add((content[0] >> 4, content[0] & 15))
        content = content[17 + count :]
    return found


def _needed(scan: bytes, frame: int) -> set[Table]:
    """Return the tables that a scan needs, by its header."""
    if len(scan) < 4 or len(scan) != 4 + 2 * scan[0]:
        return set()
    classes: tuple[int, ...] = ()
    if frame in _HUFFMAN_SEQUENTIAL:
        classes = (_DC, _AC)
    elif frame == _HUFFMAN_PROGRESSIVE:
        first, refines = scan[-3], scan[-1] >> 4
        # A scan that refines the DC coefficients holds plain bits.
        classes = (_AC,) if first else () if refines else (_DC,)
    numbers = [(byte >> 4, byte & 15) for byte in scan[2:-3:2]]
    return {(kind, number[kind]) for kind in classes for number in numbers}
