"""The pairs of the ORL faces: every genuine pair, and the hardest impostors of each fold.

``docs/evidence/choose_orl_pairs.py`` chose them once, by the pretrained FP32 model, and prints the
two tables below. They are fixed: no user's model changes them.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Sequence
from itertools import combinations, compress, product

import numpy as np

PEOPLE = 40
PHOTOS_PER_PERSON = 10
IMPOSTORS_PER_FOLD = 180
"""As many as genuine pairs: four people have 45 each."""

FOLDS: tuple[tuple[int, int, int, int], ...] = (
    (1, 4, 12, 23),
    (2, 7, 17, 37),
    (3, 8, 24, 35),
    (5, 18, 30, 40),
    (6, 26, 31, 34),
    (9, 19, 33, 36),
    (10, 32, 38, 39),
    (11, 15, 16, 29),
    (13, 22, 25, 28),
    (14, 20, 21, 27),
)
"""The people of each fold, from 1: people who look alike are in one fold, and nobody is in two."""

_CHOSEN: tuple[str, ...] = (
    "BgEAAAAfQABAWQADUANsAAAFsAAAAAAD/wABAABYFgAAAAAAAA"
    "AAAAAAAAAAAAAAAAD////////////////wZBgGDbNgGyYNsGwA",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP7///////////////"
    "z/8o/7/P4fh/H8/z8AAAAAUAAAAAAAAAAAAAAAAAAAAAAtgAAA",
    "ZRtW0ABtAAAAAEEZU+/7Lt+27/v+/7/s8wAAAAAAAAAAAAAAAA"
    "PM8zHvv/7/Mf/zj/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "/LcBA/L8vy3CcBwFD//9/T/78tW/bUpClPvkiQJIkqTPu+/zPv"
    "AAgAAAAAAAAAAAAAAQAAAAQAAGgAAAAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAD5P8eD/nw/RkHg/X9ED5cAQDAcAwDAMFwD"
    "hwFAAhyHAAACHAUgwAAAAAAAAAAAAAAAAOX5f1/X9dB+nxfh+X",
    "u7///+77/v+/////8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAA4DAEAAAAAAAAAAAf/9/3Pc973vc/73ve",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "jC/wgnf/4w/8AAgAGfQ9D0PZ//+P//D3/x9DkAb/v8fR9H8Pf/",
    "S//+vS4Lkvy/LkuS//+Z//m/5/3meZ5n//UAAwAACDwAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAADwAAAAAAAAAAAP/AAQBAdBWBAAAABA",
    "AAAAAAAAGAAAAAAYCmab//////+u6/vv////8AEi//////////"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAJEACRAAkQAAAAAA",
    "AAAAAAAAAAAAAAAAD////8f///8f///8f//n7ff///ff/n6fP/"
    "AAAAAhAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAACAAAAAAA",
)
"""Which of a fold's 600 `impostor_candidates` are pairs: a bit each, the first one highest."""

Pair = tuple[int, int, int, int]
"""A person, the number of a photo, another person, the number of a photo; all from 1."""


def person_name(person: int) -> str:
    """Return the name of a person's folder."""
    return f"ORL_{person:02d}"


def impostor_candidates(people: Sequence[int]) -> list[Pair]:
    """Return every pair of photos of different people, in a fixed order."""
    numbers = range(1, PHOTOS_PER_PERSON + 1)
    return [
        (one, first, other, second)
        for (one, other), first, second in product(combinations(people, 2), numbers, numbers)
    ]


def pack(chosen: Sequence[bool]) -> str:
    """Return a choice among candidates as `_CHOSEN` has it.

    Examples
    --------
    >>> pack([True, False, False, False, False, False, False, True])
    'gQ=='
    """
    from base64 import b64encode

    return b64encode(np.packbits(np.array(chosen, np.bool_)).tobytes()).decode("ascii")


def pairs_lines() -> Iterator[str]:
    """Yield the lines of ``pairs.txt``: per fold the genuine pairs, then the impostor pairs."""
    yield f"{len(FOLDS)}\t{IMPOSTORS_PER_FOLD}"
    numbers = range(1, PHOTOS_PER_PERSON + 1)
    for people, chosen in zip(FOLDS, _CHOSEN, strict=True):
        for person, (first, second) in product(people, combinations(numbers, 2)):
            yield f"{person_name(person)}\t{first}\t{second}"
        bits = np.unpackbits(np.frombuffer(b64decode(chosen), np.uint8)).tolist()
        for one, first, other, second in compress(impostor_candidates(people), bits):
            yield f"{person_name(one)}\t{first}\t{person_name(other)}\t{second}"
