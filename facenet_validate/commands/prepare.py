"""``facenet-validate prepare``: a source model → the prepared model in a file."""

from __future__ import annotations

import argparse
import io
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

from facenet_validate.base.digests import short
from facenet_validate.base.errors import DatasetError, SettingsError
from facenet_validate.cache import Cache, check_writable
from facenet_validate.commands import cache_root, progress, source_path, table
from facenet_validate.commands.output import say
from facenet_validate.models.file_kinds import missing
from facenet_validate.models.sources import SourceModel, suffix_of

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from facenet_validate.datasets.faces import AlignedFaces

MOST_FACES = 64
"""Faces a proof uses of a folder: one that fails does so on the first."""


def run(arguments: argparse.Namespace) -> None:
    """Prepare a model, write it, and say what was found and how it was proven."""
    from facenet_validate.datasets.synthetic import proof_faces
    from facenet_validate.models.prepared import prepare, source_model

    path = source_path(arguments.source)
    source = source_model(path)
    engine = None if path is None else engine_to_restore(path)
    stem = Path(source.name).stem if path else source.name
    out = arguments.out or Path(f"{stem}.{'prepared' if engine is None else 'engine'}.onnx")
    if out.exists():
        raise SettingsError(f"{out} exists; nothing was written. Name another file with -o.")
    # Before the work, not after it.
    if not out.parent.is_dir():
        raise SettingsError(f"{out}: cannot be written (there is no folder {out.parent}).")
    root = cache_root(arguments.cache)
    check_writable(root)
    faces = proof_faces() if arguments.faces is None else read_faces(arguments.faces)
    if engine is not None:
        say(table(_restored(engine, source, arguments, faces, out)))
        return
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


def engine_to_restore(path: Path) -> onnx.ModelProto | None:
    """Return an engine graph whose edges are not the contract's; None of everything else.

    Raises
    ------
    ModelError
        If an ONNX file cannot be read.
    """
    if suffix_of(path) != ".onnx":
        return None
    from facenet_validate.models.contract import keeps_contract
    from facenet_validate.models.engine_edges import is_engine
    from facenet_validate.models.prepared import load_onnx

    model = load_onnx(path)
    return model if is_engine(model) and not keeps_contract(model) else None


def _restored(
    engine: onnx.ModelProto,
    source: SourceModel,
    arguments: argparse.Namespace,
    faces: NDArray[np.uint8],
    out: Path,
) -> list[tuple[str, str]]:
    """Write an engine graph with the contract's edges; return what to say of it."""
    from facenet_validate.models.engine_edges import restored
    from facenet_validate.models.quantization.precision import infer_precision

    with progress().stage(f"restoring the edges of {source.name}"):
        made = restored(
            engine,
            source=str(source.path),
            input_name=arguments.input,
            output_name=arguments.output,
            faces=faces,
        )
    content: bytes = made.model.SerializeToString(deterministic=True)
    _write(io.BytesIO(content), out)
    return [
        ("source", f"{source.name} (sha256 {short(source.digest)})"),
        ("engine", f"{infer_precision(engine)} already; only its edges were changed"),
        *(("changed", change) for change in made.changes),
        ("proof", made.proof),
        ("wrote", f"{out} (sha256 {short(sha256(content).hexdigest())})"),
        ("validate it", f"pytest suites/ --facenet-engine {out}"),
    ]


def read_faces(folder: Path) -> NDArray[np.uint8]:
    """Return the aligned faces in a folder, (N, 160, 160, 3) RGB: the first 64 by name."""
    import numpy as np

    found = faces_below(folder)
    return found.load(np.arange(len(found.names)))


def faces_below(folder: Path) -> AlignedFaces:
    """Return the aligned faces in a folder: the first 64 by name.

    Raises
    ------
    DatasetError
        If there is no such folder, there are fewer than four, or one is no photo of 160×160.
    """
    from facenet_validate.datasets.faces import already_aligned
    from facenet_validate.datasets.photo_files import photos_below
    from facenet_validate.models.proof import FACES

    if not folder.is_dir():
        found = missing(folder).replace("no such file", "no such folder") or "it is a file"
        raise DatasetError(
            f"--faces {folder}: {found}. Expected a folder of aligned face photos (.jpg, .png)."
        )
    paths = photos_below(folder).paths[:MOST_FACES]
    if len(paths) < FACES:
        raise DatasetError(
            f"{folder}: {len(paths)} photos (.jpg, .png); expected at least {FACES} aligned faces."
        )
    return already_aligned([str(path) for path in paths], paths)


def _copy(model: Path, out: Path) -> None:
    try:
        data = model.open("rb")
    except OSError as error:
        raise SettingsError(f"{model}: cannot be read ({error.strerror}). Run again.") from None
    with data:
        _write(data, out)


def _write(data: IO[bytes], out: Path) -> None:
    """Write a file that was not there, whole or, interrupted by whatever, not at all."""
    partial = out.with_name(f".{out.name}.{uuid4().hex}")
    try:
        with partial.open("xb") as file:
            shutil.copyfileobj(data, file)
        if out.exists():
            raise SettingsError(f"{out} exists; nothing was written. Name another file with -o.")
        partial.rename(out)
    except OSError as error:
        raise SettingsError(f"{out}: cannot be written ({error.strerror}).") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
