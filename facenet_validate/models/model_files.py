"""Model files that users name, read within bounds: no file is larger than a model can be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facenet_validate.base.errors import ModelError

SIZE_LIMIT = 2**31 - 1
"""Largest size of a protobuf message in bytes: a limit for source files and prepared models."""


def check_file_size(path: Path) -> None:
    """Check that a file is not larger than a model can be, before it is read.

    Raises
    ------
    ModelError
        If it is larger than 2.1 GB, or is not there.
    """
    with readable(path):
        size = path.stat().st_size
    if size > SIZE_LIMIT:
        raise ModelError(
            f"{path}: {size / 1e9:.1f} GB; a model file has at most 2.1. Expected a FaceNet model "
            "of about 0.1 GB."
        )


def read_source(path: Path) -> bytes:
    """Return the bytes of a source file.

    Raises
    ------
    ModelError
        If it is larger than a model can be, or cannot be read.
    """
    check_file_size(path)
    with readable(path):
        return path.read_bytes()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an error of the file system into a `ModelError` of one line."""
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"{error.filename or path}: cannot be read ({error.strerror}). Expected a model file "
            "this user may read."
        ) from None
