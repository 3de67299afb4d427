"""Packed sets for tests: faces of random blocks, and pickles that Python 3 does not write."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2

from facenet_validate.datasets.images import decode_image
from tests.datasets.odd_sets import picture

PEOPLE = 12
PAIRS = 44

Content = tuple[list[bytes], list[bool]]


@functools.cache
def face(person: int, photo: int, side: int = 112) -> bytes:
    """Return a JPEG, even photos, or PNG that no other person and number give."""
    png = picture(100 * person + photo, side)
    if photo % 2:
        return png
    return bytes(cv2.imencode(".jpg", decode_image(png, name=""))[1])


def content(pairs: int = PAIRS) -> Content:
    """Return photos and booleans: genuine and impostor pairs in turn."""
    photos: list[bytes] = []
    for pair in range(pairs):
        person, turn = pair // 2 % PEOPLE, pair // (2 * PEOPLE)
        other = person if pair % 2 == 0 else (person + 1) % PEOPLE
        photos += [face(person, turn), face(other, turn + (pair % 2 == 0))]
    return photos, [pair % 2 == 0 for pair in range(pairs)]


def by_python_2(photos: Sequence[bytes], same: Sequence[bool], *, arrays: bool = False) -> bytes:
    """Return the pickle that Python 2 writes by protocol 2: texts are bytes, ``BINSTRING``.

    Parameters
    ----------
    arrays : bool
        Whether the photos are NumPy arrays of one column, as ``cv2.imencode`` of OpenCV 3 gave
        them, and the booleans NumPy's.
    """
    photo = python_2_array if arrays else _python_2_text
    number = _python_2_bool if arrays else (lambda one: b"\x88" if one else b"\x89")
    return b"".join(
        (
            b"\x80\x02]q\x00(",
            *(photo(one) for one in photos),
            b"e]q\x01(",
            *(number(one) for one in same),
            b"e\x86q\x02.",
        )
    )


def _python_2_text(text: bytes) -> bytes:
    if len(text) < 256:
        return b"U" + bytes([len(text)]) + text
    return b"T" + struct.pack("<i", len(text)) + text


def _python_2_dtype(kind: bytes) -> bytes:
    return (
        b"cnumpy\ndtype\n" + _python_2_text(kind) + b"K\x00K\x01\x87R"
        b"(K\x03" + _python_2_text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )


def python_2_array(text: bytes, shape: bytes = b"") -> bytes:
    # The length is a long, as shapes may be.
    shape = shape or b"\x8a\x04" + struct.pack("<i", len(text)) + b"K\x01\x86"
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01" + shape + _python_2_dtype(b"u1") + b"\x89"
        b"" + _python_2_text(text) + b"tb"
    )


def _python_2_bool(value: bool) -> bytes:
    return (
        b"cnumpy.core.multiarray\nscalar\n" + _python_2_dtype(b"b1")
        + b"U\x01" + bytes([value]) + b"\x86R"
    )  # fmt: skip


def write(path: Path, pickled: bytes) -> Path:
    path.write_bytes(pickled)
    return path
