"""Source model → prepared model: canonical ONNX, proven to be the source, kept in the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.cache import Cache, Entry
from facenet_validate.errors import ModelError
from facenet_validate.models.sources import SourceModel, check_kind, raw_model, source_model

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from facenet_validate.models.anatomy import Anatomy
    from facenet_validate.models.proof import Proof

    Faces = NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]

__all__ = [
    "PreparedModel",
    "SourceModel",
    "check_contract",
    "load_onnx",
    "prepare",
    "source_model",
]

CONVERTER_VERSION = 3
"""Changes when a converted model may change for the same source."""

_PROOF = "facenet_validate.proof"
_ANATOMY = "facenet_validate.anatomy"
_STEPS = 4


@dataclass(frozen=True)
class PreparedModel:
    """Canonical ONNX: ``input`` float32 ``[N, 3, H, H]`` → ``embeddings`` float32 ``[N, D]``.

    Attributes
    ----------
    source : SourceModel
        Where it came from.
    entry : Entry
        The ONNX file in the cache.
    embedding_size : int
        D.
    image_size : int
        H.
    proof : Proof
        What shows that it is the source.
    anatomy : tuple of (str, str)
        What was found in the source and why, by subject.
    """

    source: SourceModel
    entry: Entry
    embedding_size: int
    image_size: int
    proof: Proof
    anatomy: tuple[tuple[str, str], ...]


def prepare(
    source: SourceModel,
    cache: Cache,
    *,
    input_name: str | None = None,
    output_name: str | None = None,
    faces: Faces | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PreparedModel:
    """Convert a source model to the prepared model and prove it, or take it from the cache.

    Parameters
    ----------
    source : SourceModel
        From `source_model`.
    input_name, output_name : str, optional
        The image input and the embedding's tensor, where the source leaves a choice.
    faces : ndarray of shape (N, 160, 160, 3), uint8, or callable giving it, optional
        Aligned faces to prove the model on; drawn ones by default.
    progress : callable, optional
        Called with (steps done, steps in all) of a conversion.

    Raises
    ------
    ModelError
        If the file is of no known kind, is no FaceNet, leaves a choice, or the prepared model
        gives other embeddings than the source.
    """
    check_kind(source.path)
    given = faces() if callable(faces) else faces
    inputs = {
        "source model": source.digest,
        "converter": f"{CONVERTER_VERSION}, "
        + ", ".join(f"{name} {metadata.version(name)}" for name in ("onnx", "onnxruntime")),
    }
    if source.path.suffix in (".pt", ".pth"):
        inputs["exporter"] = f"torch {_version('torch')}"
    if input_name is not None:
        inputs["input"] = input_name
    if output_name is not None:
        inputs["output"] = output_name
    if given is not None:
        inputs["faces"] = sha256(given.tobytes()).hexdigest()

    def report(done: int) -> None:
        if progress is not None:
            progress(done, _STEPS)

    def build(path: Path) -> None:
        from facenet_validate.models.canonical import canonical
        from facenet_validate.models.proof import prove

        report(0)
        raw = raw_model(source.path, input_name=input_name, output_name=output_name)
        report(1)
        model, anatomy = canonical(
            raw.model,
            source=str(source.path),
            input_name=input_name,
            # A frozen graph's converter has cut at the output already.
            output_name=output_name if source.path.suffix == ".onnx" else None,
        )
        report(2)
        run_source, how = raw.runner(anatomy)
        report(3)
        proof = prove(model, run_source, source=str(source.path), source_run=how, faces=given)
        _store(model, proof, anatomy)
        path.write_bytes(model.SerializeToString(deterministic=True))
        report(4)

    entry = cache.get_or_build("prepared", inputs, "model.onnx", build)
    return _read(source, entry)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


def _store(model: onnx.ModelProto, proof: Proof, anatomy: Anatomy) -> None:
    model.metadata_props.add(key=_PROOF, value=proof.to_json())
    model.metadata_props.add(key=_ANATOMY, value=json.dumps(anatomy.lines()))


def _read(source: SourceModel, entry: Entry) -> PreparedModel:
    from facenet_validate.models.proof import Proof

    model = load_onnx(entry.path)
    kept = {prop.key: prop.value for prop in model.metadata_props}
    return PreparedModel(
        source,
        entry,
        check_contract(model, str(source.path)),
        int(model.graph.input[0].type.tensor_type.shape.dim[2].dim_value),
        Proof.from_json(kept[_PROOF]),
        tuple((subject, text) for subject, text in json.loads(kept[_ANATOMY])),
    )


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file; see `facenet_validate.models.onnx_file.load_onnx`."""
    from facenet_validate.models import onnx_file

    return onnx_file.load_onnx(path)


def check_contract(model: onnx.ModelProto, source: str) -> int:
    """Check input and output of a model and return its embedding size D.

    Raises
    ------
    ModelError
        If there is not one float32 input ``[N, 3, H, H]`` with dynamic N, or not one float32 output
        ``[N, D]``.
    """
    import onnx

    from facenet_validate.models.graph_view import declared_shape, own_inputs, shape_text

    inputs = own_inputs(model.graph)
    for role, values in (("input", inputs), ("output", list(model.graph.output))):
        if len(values) != 1:
            names = ", ".join(value.name for value in values)
            raise ModelError(f"{source}: {len(values)} {role}s ({names}); expected one.")
        if values[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            kind = onnx.TensorProto.DataType.Name(values[0].type.tensor_type.elem_type)
            raise ModelError(f"{source}: {role} {values[0].name!r} is {kind}; expected FLOAT.")
    shape = declared_shape(inputs[0])
    planes = len(shape) == 4 and shape[1] == 3 and not isinstance(shape[0], int)
    if not planes or shape[2] != shape[3] or not isinstance(shape[2], int):
        raise ModelError(
            f"{source}: input {inputs[0].name!r} has shape {shape_text(shape)}; expected "
            "[N, 3, H, H], such as [N, 3, 160, 160], with a dynamic N: RGB faces in planes. Export "
            "the model that way; facenet-validate prepare does."
        )
    output = declared_shape(model.graph.output[0])
    if len(output) != 2 or not isinstance(output[1], int):
        raise ModelError(
            f"{source}: output {model.graph.output[0].name!r} has shape {shape_text(output)}; "
            "expected [N, D]: one embedding a face."
        )
    return output[1]
