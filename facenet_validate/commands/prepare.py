"""``facenet-validate prepare``: a source model → the prepared model in a file."""

from __future__ import annotations

import argparse
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from facenet_validate.cache import Cache, check_writable
from facenet_validate.commands import cache_root, progress, source_path, table
from facenet_validate.digests import short
from facenet_validate.errors import DatasetError, SettingsError
from facenet_validate.output import say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_FACES = 64
"""Faces a proof uses of a folder: one that fails does so on the first."""


def run(arguments: argparse.Namespace) -> None:
    """Prepare a model, write it, and say what was found and how it was proven."""
    from facenet_validate.models.prepared import prepare, source_model

    path = source_path(arguments.source)
    source = source_model(path)
    out = arguments.out or Path(f"{Path(source.name).stem if path else source.name}.prepared.onnx")
    if out.exists():
        raise SettingsError(f"{out} exists; nothing was written. Name another file with -o.")
    # Before the work, not after it.
    if not out.parent.is_dir():
        raise SettingsError(f"{out}: cannot be written (there is no folder {out.parent}).")
    root = cache_root(arguments.cache)
    check_writable(root)
    faces = None if arguments.faces is None else read_faces(arguments.faces)
    with progress().stage(f"preparing {source.name}") as report:
        prepared = prepare(
            source,
            Cache(root),
            input_name=arguments.input,
            output_name=arguments.output,
            faces=faces,
            progress=report,
        )
    _copy(prepared.entry.path, out)
    rows = [
        ("source", f"{source.name} (sha256 {short(source.digest)})"),
        *prepared.anatomy,
        ("proof", prepared.proof.text()),
        ("cache", prepared.entry.reason),
        ("wrote", f"{out} (sha256 {short(prepared.entry.digest)})"),
    ]
    say(table(rows))


def read_faces(folder: Path) -> NDArray[np.uint8]:
    """Return the aligned faces in a folder, (N, 160, 160, 3) RGB: the first 64 by name.

    Raises
    ------
    DatasetError
        If there are fewer than four, or one is no photo of 160×160.
    """
    import numpy as np

    from facenet_validate.datasets.images import decode_image
    from facenet_validate.models.proof import FACES

    suffixes = (".jpg", ".jpeg", ".png")
    try:
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes)[:MOST_FACES]
        faces = [decode_image(path.read_bytes(), name=str(path)) for path in paths]
    except OSError as error:
        raise DatasetError(f"{error.filename}: cannot be read ({error.strerror}).") from None
    if len(faces) < FACES:
        raise DatasetError(
            f"{folder}: {len(faces)} photos (.jpg, .png); expected at least {FACES} aligned faces."
        )
    for path, face in zip(paths, faces, strict=True):
        if face.shape != (160, 160, 3):
            height, width = face.shape[:2]
            raise DatasetError(
                f"{path}: {width}×{height} pixels; expected an aligned face of 160×160."
            )
    return np.stack(faces)


def _copy(model: Path, out: Path) -> None:
    """Write a file that was not there, whole or, interrupted by whatever, not at all."""
    partial = out.with_name(f".{out.name}.{uuid4().hex}")
    try:
        with model.open("rb") as data, partial.open("xb") as file:
            shutil.copyfileobj(data, file)
        if out.exists():
            raise SettingsError(f"{out} exists; nothing was written. Name another file with -o.")
        partial.rename(out)
    except OSError as error:
        raise SettingsError(f"{out}: cannot be written ({error.strerror}).") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
