"""The contract of prepared models and engine graphs: faces in planes → rows of embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from facenet_validate.base.errors import ModelError
from facenet_validate.base.vocabulary import INPUT_NAME, OUTPUT_NAME
from facenet_validate.models.exported.graph_view import (
    declared_shape,
    own_inputs,
    shape_text,
    type_name,
)


def check_contract(model: onnx.ModelProto, source: str) -> int:
    """Check the input and the output of a model, and return its embedding size D.

    Raises
    ------
    ModelError
        If there is not one float32 input ``[N, 3, H, H]`` with dynamic N, or not one float32 output
        ``[N, D]``.
    """
    how_to = f"write it that way: facenet-validate prepare {source} -o NEW.onnx."
    inputs = own_inputs(model.graph)
    for role, values in (("input", inputs), ("output", list(model.graph.output))):
        if len(values) != 1:
            names = ", ".join(value.name for value in values)
            raise ModelError(
                f"{source}: {len(values)} {role}s ({names}); expected one. "
                f"{_one_edge(role, values, source)}"
            )
        kind = values[0].type.tensor_type.elem_type
        if kind != onnx.TensorProto.FLOAT:
            how = "Export it with FLOAT ones: faces as (x − 127.5) / 128, embeddings as they are."
            if kind in (onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
                how = "Export it with FLOAT ones (keep_io_types=True where it is made FP16), or "
                how += how_to
            raise ModelError(
                f"{source}: {role} {values[0].name!r} is {type_name(kind)}; expected FLOAT. {how}"
            )
    shape = declared_shape(inputs[0])
    planes = len(shape) == 4 and shape[1] == 3 and not isinstance(shape[0], int)
    if not planes or shape[2] != shape[3] or not isinstance(shape[2], int):
        raise ModelError(
            f"{source}: input {inputs[0].name!r} has shape {shape_text(shape)}; expected "
            "[N, 3, H, H], such as [N, 3, 160, 160], with a dynamic N: RGB faces in planes. Export "
            f"it that way, or {how_to}"
        )
    output = declared_shape(model.graph.output[0])
    if len(output) != 2 or not isinstance(output[1], int):
        raise ModelError(
            f"{source}: output {model.graph.output[0].name!r} has shape {shape_text(output)}; "
            f"expected [N, D]: one embedding a face. Export it that way, or {how_to}"
        )
    return output[1]


def _one_edge(role: str, values: Sequence[onnx.ValueInfoProto], source: str) -> str:
    """Return what to do about a graph of several inputs or outputs, or of none."""
    if role == "input" or not values:
        return "Export it for inference: the image in, the embedding out."
    rows = [value.name for value in values if len(declared_shape(value)) == 2]
    name = rows[0] if len(rows) == 1 else "NAME"
    return (
        "Write it with the embedding alone: facenet-validate prepare "
        f"{source} -o NEW.onnx --output {name}."
    )


def keeps_contract(model: onnx.ModelProto) -> bool:
    """Say whether a graph's edges are those of the contract, with its names."""
    try:
        check_contract(model, "")
    except ModelError:
        return False
    names = [own_inputs(model.graph)[0].name, model.graph.output[0].name]
    return names == [INPUT_NAME, OUTPUT_NAME]


def image_size(model: onnx.ModelProto) -> int:
    """Return the pixels a side, H, of a model that keeps the contract."""
    return int(model.graph.input[0].type.tensor_type.shape.dim[2].dim_value)
