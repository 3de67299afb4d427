"""Source model → prepared model: the canonical ONNX every recipe starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.cache import Cache, Entry
from facenet_validate.digests import file_digest, short
from facenet_validate.errors import ModelError
from facenet_validate.models.pretrained import PRETRAINED, PRETRAINED_NAME, locate

if TYPE_CHECKING:
    import onnx

CONVERTER_VERSION = 2
"""Changes when a converted model may change for the same source."""

INPUT_NAME = "input"
OUTPUT_NAME = "embeddings"
IMAGE_SIZE = 160


@dataclass(frozen=True)
class SourceModel:
    """What the user has.

    Attributes
    ----------
    path : Path
        A frozen graph ``.pb`` or an ``.onnx`` that already keeps the contract.
    name : str
        For people.
    digest : str
        SHA-256 of the file.
    """

    path: Path
    name: str
    digest: str


@dataclass(frozen=True)
class PreparedModel:
    """Canonical ONNX: ``input`` float32 ``[N, 3, 160, 160]`` → ``embeddings`` float32 ``[N, D]``.

    Attributes
    ----------
    source : SourceModel
        Where it came from.
    entry : Entry
        The ONNX file in the cache.
    embedding_size : int
        D.
    """

    source: SourceModel
    entry: Entry
    embedding_size: int


def source_model(path: Path | None) -> SourceModel:
    """Describe a model file; the pretrained one for None.

    Raises
    ------
    ModelError
        If the file is missing, or the pretrained file is not the one we know.
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
    if not path.is_file():
        raise ModelError(f"model {path}: no such file. Expected a .pb frozen graph or an .onnx.")
    return SourceModel(path, path.name, file_digest(path))


def prepare(source: SourceModel, cache: Cache) -> PreparedModel:
    """Convert a source model to the prepared model, or take it from the cache.

    Raises
    ------
    ModelError
        If the file is neither kind, cannot be converted, or an ``.onnx`` breaks the contract.
    """
    builders: dict[str, Callable[[Path], onnx.ModelProto]] = {
        ".pb": _from_frozen_graph,
        ".onnx": _from_onnx,
    }
    builder = builders.get(source.path.suffix)
    if builder is None:
        raise ModelError(
            f"model {source.path}: unknown kind {source.path.suffix!r}. Expected a TensorFlow "
            f"frozen graph (.pb) or an ONNX model (.onnx)."
        )
    inputs = {
        "source model": source.digest,
        "converter": f"{CONVERTER_VERSION}, onnx {metadata.version('onnx')}",
    }

    def build(path: Path) -> None:
        path.write_bytes(builder(source.path).SerializeToString(deterministic=True))

    entry = cache.get_or_build("prepared", inputs, "model.onnx", build)
    return PreparedModel(source, entry, check_contract(load_onnx(entry.path), str(source.path)))


def _from_frozen_graph(path: Path) -> onnx.ModelProto:
    from facenet_validate.models.frozen_graph import convert_frozen_graph
    from facenet_validate.models.passes import fold_scales

    model = convert_frozen_graph(path.read_bytes(), source=str(path))
    fold_scales(model)
    return model


def _from_onnx(path: Path) -> onnx.ModelProto:
    from facenet_validate.models.passes import name_nodes
    from facenet_validate.models.precision import infer_precision

    model = load_onnx(path)
    check_contract(model, str(path))
    precision = infer_precision(model)
    if precision != "fp32":
        raise ModelError(
            f"model {path}: is {precision} already. A source model is FP32, since it is what every "
            "engine is compared with; validate this one with --facenet-engine."
        )
    name_nodes(model)
    return model


def load_onnx(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file whose weights are inside it.

    Raises
    ------
    ModelError
        If the file is no ONNX model, or keeps weights in other files.
    """
    import onnx
    from google.protobuf.message import DecodeError

    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError(
            f"{path}: not an ONNX model ({error}). Check that the file was copied whole."
        ) from None
    if not model.graph.node:
        raise ModelError(f"{path}: an ONNX file without nodes. Expected a FaceNet model.")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelError(
            f"{path}: keeps weights in external files. Expected one file; save it with "
            "onnx.save(onnx.load(path), new_path)."
        )
    return model


def check_contract(model: onnx.ModelProto, source: str) -> int:
    """Check input and output of a model and return its embedding size D.

    Raises
    ------
    ModelError
        If there is not one float32 input ``[N, 3, 160, 160]`` with dynamic N, or not one float32
        output ``[N, D]``.
    """
    import onnx

    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    for role, values in (("input", inputs), ("output", list(model.graph.output))):
        if len(values) != 1:
            names = ", ".join(value.name for value in values)
            raise ModelError(f"{source}: {len(values)} {role}s ({names}); expected one.")
        if values[0].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            kind = onnx.TensorProto.DataType.Name(values[0].type.tensor_type.elem_type)
            raise ModelError(f"{source}: {role} {values[0].name!r} is {kind}; expected FLOAT.")
    shape = _shape(inputs[0])
    if shape[1:] != [3, IMAGE_SIZE, IMAGE_SIZE] or isinstance(shape[0], int):
        raise ModelError(
            f"{source}: input {inputs[0].name!r} has shape {_text(shape)}; expected "
            f"[N, 3, {IMAGE_SIZE}, {IMAGE_SIZE}] with a dynamic N: RGB faces in planes. Export the "
            "model that way."
        )
    output = _shape(model.graph.output[0])
    if len(output) != 2 or not isinstance(output[1], int):
        raise ModelError(
            f"{source}: output {model.graph.output[0].name!r} has shape {_text(output)}; expected "
            "[N, D]: one embedding a face."
        )
    return output[1]


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    ]


def _text(shape: list[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"
