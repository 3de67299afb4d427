"""Whether the scans of a JPEG make its whole picture.

A progressive picture comes in scans, each of which adds coefficients or bits of them. Where the
last ones are lost, decoders show what they have: a blurred picture, and no warning. Rules of the
format let a file stop early, but no encoder that we know does: libjpeg's and mozjpeg's files all
complete every coefficient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from facenet_validate.datasets.headers import FRAMES, START_OF_SCAN, jpeg_segments

_HEAD = 4
"""Bytes of a segment before what it holds: marker and length."""

_PROGRESSIVE = frozenset({0xC2, 0xCA})
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_COEFFICIENTS = 64


@dataclass(frozen=True)
class _Scan:
    """A scan's header: components, coefficients from first to last, bits that are still to come."""

    components: tuple[int, ...]
    first: int
    last: int
    bits: int


def missing_scans(data: bytes) -> str:
    """Return what of the picture no scan has; empty if nothing, or if the headers do not tell.

    Parameters
    ----------
    data : bytes
        The encoded file, from its first marker to its end-of-image marker at least.
    """
    frame, components = _frame(data)
    if frame not in _PROGRESSIVE | _SEQUENTIAL or not components:
        return ""
    to_come = {(one, number): 1 for one in components for number in range(_COEFFICIENTS)}
    for scan in _scans(data):
        if scan is None or not set(scan.components) <= set(components):
            return ""
        every = frame in _SEQUENTIAL
        numbers = range(_COEFFICIENTS) if every else range(scan.first, scan.last + 1)
        for one in scan.components:
            to_come.update({(one, number): 0 if every else scan.bits for number in numbers})
    return "scans are missing" if any(to_come.values()) else ""


def _frame(data: bytes) -> tuple[int, tuple[int, ...]]:
    """Return a frame's marker and the numbers of its components; none where they do not differ."""
    for segment in jpeg_segments(data):
        if segment.marker in FRAMES:
            content = data[segment.start + _HEAD : segment.stop]
            numbers = tuple(content[6::3])
            whole = len(content) > 6 and len(content) == 6 + 3 * content[5]
            return segment.marker, numbers if whole and len(set(numbers)) == len(numbers) else ()
    return 0, ()


def _scans(data: bytes) -> Iterator[_Scan | None]:
    """Yield the scans' headers, None for one that cannot be."""
    for segment in jpeg_segments(data):
        if segment.marker == START_OF_SCAN:
            content = data[segment.start + _HEAD : segment.stop]
            if len(content) < 6 or len(content) != 4 + 2 * content[0]:
                yield None
                continue
            first, last, bits = content[-3:]
            yield _Scan(tuple(content[1:-3:2]), first, min(last, _COEFFICIENTS - 1), bits & 15)
