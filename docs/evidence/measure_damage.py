"""Measure which share of damaged JPEGs is refused, on LFW's photos: docs/evidence/damage.md.

    python docs/evidence/measure_damage.py --lfw FOLDER

Looks over every photo as it is, to count false alarms. Then damages 300 photos, drawn at random, in
one place each: a hole of zeros in the data of the scan, or anywhere in the file, and flipped bits.
A damage that changes no pixel is none and is drawn anew. Prints the table. A minute on one core.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from facenet_validate.base.errors import DatasetError
from facenet_validate.datasets.headers import START_OF_SCAN, jpeg_segments
from facenet_validate.datasets.images import decode_image
from facenet_validate.datasets.layout import find_layout

PHOTOS, SEED = 300, 0
HOLES = (16, 64, 256, 1024)

Damage = Callable[[bytes, random.Random], bytes]


def hole(size: int, *, header: bool = False) -> Damage:
    """Return what puts zeros into a file, its end marker spared."""

    def damage(data: bytes, draws: random.Random) -> bytes:
        start, stop = (2, len(data) - 2) if header else _scan(data)
        position = draws.randrange(start, stop - size)
        return data[:position] + bytes(size) + data[position + size :]

    return damage


def flipped(bits: int) -> Damage:
    """Return what flips bits in the data of the scan."""

    def damage(data: bytes, draws: random.Random) -> bytes:
        start, stop = _scan(data)
        changed = bytearray(data)
        for bit in draws.sample(range(8 * start, 8 * stop), bits):
            changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    return damage


DAMAGES: dict[str, Damage] = {
    **{f"hole of {size} bytes in the scan": hole(size) for size in HOLES},
    **{f"hole of {size} bytes anywhere": hole(size, header=True) for size in HOLES},
    **{f"{bits} flipped bit{'s' * (bits > 1)} in the scan": flipped(bits) for bits in (1, 4, 16)},
}


def _scan(data: bytes) -> tuple[int, int]:
    segments = list(jpeg_segments(data))
    (place,) = (row for row, one in enumerate(segments) if one.marker == START_OF_SCAN)
    return segments[place].stop, segments[place + 1].start


def _refused(data: bytes) -> bool:
    try:
        decode_image(data, name="photo")
    except DatasetError:
        return True
    return False


def _pixels(data: bytes) -> bytes:
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return b"" if found is None else found.tobytes()


def _caught(photos: Sequence[bytes], damage: Damage) -> tuple[int, int]:
    """Return how many photos are refused, and how many OpenCV alone refuses."""
    draws = random.Random(SEED)  # noqa: S311
    caught = alone = 0
    for data in photos:
        damaged = damage(data, draws)
        while (pixels := _pixels(damaged)) == _pixels(data):
            damaged = damage(data, draws)
        caught += _refused(damaged)
        alone += not pixels
    return caught, alone


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lfw", type=Path, required=True)
    paths = sorted(find_layout(parser.parse_args().lfw).photos.glob("*/*.jpg"))
    every = [path.read_bytes() for path in paths]
    begun = time.perf_counter()
    alarms = sum(map(_refused, every))
    seconds = time.perf_counter() - begun
    sys.stdout.write(
        f"{alarms} of {len(every)} photos as they are refused, "
        f"{1000 * seconds / len(every):.2f} ms each with decoding\n\n"
    )
    photos = random.Random(SEED).sample(every, PHOTOS)  # noqa: S311
    sys.stdout.write(f"| damage | refused, of {PHOTOS} | by OpenCV alone |\n|---|---|---|\n")
    for name, damage in DAMAGES.items():
        caught, alone = _caught(photos, damage)
        sys.stdout.write(f"| {name} | {caught} | {alone} |\n")


if __name__ == "__main__":
    main()
