"""Source models: the user's file, its digest, its ONNX form, and the run of the file itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.digests import file_digest, inputs_digest, short
from facenet_validate.base.errors import ModelError
from facenet_validate.models.file_kinds import kind_by_content, kind_by_name, kind_of, missing
from facenet_validate.models.model_files import check_file_size, read_source, readable
from facenet_validate.models.pretrained import PRETRAINED, PRETRAINED_NAME, locate

if TYPE_CHECKING:
    import onnx

    from facenet_validate.models.exported.anatomy import Anatomy
    from facenet_validate.models.proof import Runner

EXPECTED = (
    "Expected a TensorFlow frozen graph (.pb), an ONNX model (.onnx) or a facenet-pytorch "
    "checkpoint (.pt, .pth)."
)


@dataclass(frozen=True)
class SourceModel:
    """The model file that a user has.

    Attributes
    ----------
    path : Path
        A frozen graph ``.pb``, an ``.onnx`` of any exporter, or a facenet-pytorch ``.pt``.
    name : str
        For people.
    digest : str
        SHA-256 of the file and, of an ``.onnx``, of the files that hold its weights.
    """

    path: Path
    name: str
    digest: str


@dataclass(frozen=True)
class RawModel:
    """A source as ONNX, and a way to run the source itself.

    Attributes
    ----------
    model : onnx.ModelProto
        As an exporter or converter wrote it.
    runner : callable
        Given the anatomy, returns the source's own run and the name of that run.
    """

    model: onnx.ModelProto
    runner: Callable[[Anatomy], tuple[Runner, str]]


def source_model(path: Path | None) -> SourceModel:
    """Describe a model file: the pretrained one for None.

    Raises
    ------
    ModelError
        If the file is missing or of no known kind, or the pretrained file has another digest.
    """
    if path is None:
        path = locate(PRETRAINED)
        digest = file_digest(path)
        if digest != PRETRAINED.sha256:
            raise ModelError(
                f"{path}: not the file {PRETRAINED.distribution} 0.1.0 carries (sha256 "
                f"{short(digest)}, expected {short(PRETRAINED.sha256)}). Reinstall it, or name "
                "your model with --facenet-model."
            )
        return SourceModel(path, PRETRAINED_NAME, digest)
    check_kind(path)
    check_file_size(path)
    return SourceModel(path, path.name, model_digest(path))


def suffix_of(path: Path) -> str:
    """Return a file's ending in small letters: ``.ONNX`` is ``.onnx``."""
    return path.suffix.lower()


def model_digest(path: Path) -> str:
    """Return the SHA-256 of a source: its file and, of an ``.onnx``, the weights beside it."""
    if suffix_of(path) == ".onnx":
        return onnx_digest(path)
    with readable(path):
        return file_digest(path)


def model_size(path: Path) -> int:
    """Return the bytes of a source: its file and, of an ``.onnx``, the weights beside it."""
    if suffix_of(path) == ".onnx":
        return onnx_size(path)
    with readable(path):
        return path.stat().st_size


def onnx_digest(path: Path) -> str:
    """Return the SHA-256 of an ONNX graph and its weights' files; the file may have any ending.

    Raises
    ------
    ModelError
        If a file cannot be read, or is no ONNX graph.
    """
    from facenet_validate.models.exported.onnx_file import external_files

    with readable(path):
        digest = file_digest(path)
        weights = {name: file_digest(file) for name, file in external_files(path).items()}
    return inputs_digest({"model": digest, "weights": weights}) if weights else digest


def onnx_size(path: Path) -> int:
    """Return the bytes of an ONNX graph and of each file of its weights, once.

    Raises
    ------
    ModelError
        As `onnx_digest` does.
    """
    from facenet_validate.models.exported.onnx_file import external_files

    with readable(path):
        files = {path.resolve(), *external_files(path).values()}
        return sum(file.stat().st_size for file in files)


def check_kind(path: Path, origin: str = "model") -> None:
    """Check that a source file is of a kind that can be converted.

    Parameters
    ----------
    origin : str
        What to call it in an error, such as ``--facenet-model:``.

    Raises
    ------
    ModelError
        If there is no such file, or its ending or its first bytes are those of another kind.
    """
    absent = missing(path)
    if absent:
        raise ModelError(f"{origin} {path}: {absent}. {EXPECTED}")
    by_content, kind = kind_by_content(path), kind_of(path)
    if suffix_of(path) not in _KINDS:
        looks = f" It looks like {kind.what}." if kind else ""
        advice = f" {kind.advice}" if kind else ""
        raise ModelError(
            f"{origin} {path}: unknown kind {path.suffix!r}.{looks} {EXPECTED}{advice}"
        )
    if by_content is not None and by_content is not kind_by_name(path):
        raise ModelError(
            f"{origin} {path}: it is called {path.suffix} but looks like {by_content.what}. "
            f"{EXPECTED} {by_content.advice}"
        )


def raw_model(path: Path, *, input_name: str | None, output_name: str | None) -> RawModel:
    """Return a source as ONNX, not yet canonical.

    Raises
    ------
    ModelError
        If it cannot be read or converted, or a name is given that its kind does not take.
    """
    check_kind(path)
    return _KINDS[suffix_of(path)](path, input_name, output_name)


def _from_onnx(path: Path, input_name: str | None, output_name: str | None) -> RawModel:
    del input_name, output_name  # found in the canonical form, by structure or name

    from facenet_validate.models.exported.onnx_file import load_onnx
    from facenet_validate.models.exported.onnx_run import onnx_runner

    model = load_onnx(path)
    return RawModel(
        model, lambda anatomy: onnx_runner(path, model, anatomy.image, anatomy.embedding.name)
    )


def _from_frozen_graph(path: Path, input_name: str | None, output_name: str | None) -> RawModel:
    from facenet_validate.models.frozen.conversion import convert_frozen_graph, frozen_graph_runner

    if input_name is not None:
        raise ModelError(
            f"{path}: --input {input_name} is for ONNX models; a frozen graph's image input is the "
            "placeholder its convolutions read."
        )
    data = read_source(path)
    model = convert_frozen_graph(data, source=str(path), output=output_name)

    def runner(_: Anatomy) -> tuple[Runner, str]:
        import cv2

        run, what = frozen_graph_runner(data, source=str(path), output=output_name)
        return run, f"OpenCV {cv2.__version__}'s run of {what}"

    return RawModel(model, runner)


def _from_checkpoint(path: Path, input_name: str | None, output_name: str | None) -> RawModel:
    from facenet_validate.models.checkpoint.reading import checkpoint_runner, export_checkpoint

    if input_name is not None or output_name is not None:
        raise ModelError(
            f"{path}: --input and --output are for ONNX models and frozen graphs; a checkpoint has "
            "weights only."
        )

    def runner(_: Anatomy) -> tuple[Runner, str]:
        version = metadata.version("torch")
        return checkpoint_runner(path), f"PyTorch {version}'s run of the checkpoint"

    return RawModel(export_checkpoint(path), runner)


_KINDS: dict[str, Callable[[Path, str | None, str | None], RawModel]] = {
    ".pb": _from_frozen_graph,
    ".onnx": _from_onnx,
    ".pt": _from_checkpoint,
    ".pth": _from_checkpoint,
}
