"""Whether the scans of a JPEG complete its picture.

A progressive picture comes in scans, each of which adds coefficients or bits of them. If the last
scans are lost, decoders show a blurred picture without a warning. The format lets a file stop
early, but no encoder that we know does: files by libjpeg and mozjpeg complete every coefficient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from facenet_validate.datasets.headers import (
    PROGRESSIVE,
    SEQUENTIAL,
    START_OF_SCAN,
    Segment,
    jpeg_frame,
    jpeg_segments,
)

_COEFFICIENTS = 64


@dataclass(frozen=True)
class _Scan:
    """A scan's header: components, first and last coefficient, number of bits still to come."""

    components: tuple[int, ...]
    first: int
    last: int
    bits: int


def missing_scans(data: bytes) -> str:
    """Return that scans are missing; empty if none is, or if the headers do not tell.

    Parameters
    ----------
    data : bytes
        The encoded file, from its first marker to its end-of-image marker at least.
    """
    frame = jpeg_frame(data)
    components = () if frame is None else _components(frame)
    if frame is None or not components:
        return ""
    sequential = frame.marker in SEQUENTIAL
    to_come = {(one, number): 1 for one in components for number in range(_COEFFICIENTS)}
    for scan in _scans(data):
        if scan is None or not set(scan.components) <= set(components):
            return ""
        numbers = range(_COEFFICIENTS) if sequential else range(scan.first, scan.last + 1)
        for one in scan.components:
            to_come.update({(one, number): 0 if sequential else scan.bits for number in numbers})
    return "scans are missing" if any(to_come.values()) else ""


def _components(frame: Segment) -> tuple[int, ...]:
    """Return the numbers of a frame's components; empty if they are cut off or come twice."""
    content = frame.content
    numbers = tuple(content[6::3])
    complete = len(content) > 6 and len(content) == 6 + 3 * content[5]
    known = complete and frame.marker in SEQUENTIAL | PROGRESSIVE
    return numbers if known and len(set(numbers)) == len(numbers) else ()


def _scans(data: bytes) -> Iterator[_Scan | None]:
    """Yield the headers of the scans, None for a malformed one."""
    for segment in jpeg_segments(data):
        if segment.marker == START_OF_SCAN:
            content = segment.content
            if len(content) < 6 or len(content) != 4 + 2 * content[0]:
                yield None
                continue
            first, last, bits = content[-3:]
            yield _Scan(tuple(content[1:-3:2]), first, min(last, _COEFFICIENTS - 1), bits & 15)
