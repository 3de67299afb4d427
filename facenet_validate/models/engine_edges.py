"""An engine graph whose edges do not keep the contract → the same engine with edges that do.

The network between the edges is not touched: its precision, scales and operators stay as built.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.vocabulary import INPUT_NAME, OUTPUT_NAME
from facenet_validate.models.endless import check_ends
from facenet_validate.models.engine_runs import (
    BATCHES,
    SAME,
    SAME_IN_HALF,
    TYPES,
    EdgeRunner,
    compare,
)
from facenet_validate.models.exported.graph_view import (
    GraphView,
    declared_shape,
    own_inputs,
    shape_text,
    type_name,
)
from facenet_validate.models.exported.image_input import ImageInput, find_image, with_inner_batch
from facenet_validate.models.passes import (
    constants_of,
    has_equal_names,
    name_nodes,
    rename_tensor,
    set_nodes,
)
from facenet_validate.models.quantization.precision import infer_precision


@dataclass(frozen=True)
class Restored:
    """An engine graph with the edges of the contract.

    Attributes
    ----------
    model : onnx.ModelProto
        ``input`` float32 ``[N, 3, H, H]`` → ``embeddings`` float32 ``[N, D]``.
    changes : tuple of str
        The changes, for people.
    proof : str
        The comparison that shows that it computes the same, for people.
    """

    model: onnx.ModelProto
    changes: tuple[str, ...]
    proof: str


def is_engine(model: onnx.ModelProto) -> bool:
    """Say whether a graph is an engine's: quantised, FP16, or fed or giving other than float32."""
    edges = [*own_inputs(model.graph), *model.graph.output]
    others = (TensorProto.FLOAT16, TensorProto.DOUBLE)
    return any(v.type.tensor_type.elem_type in others for v in edges) or (
        infer_precision(model) != "fp32"
    )


def restored(
    model: onnx.ModelProto,
    *,
    source: str,
    faces: NDArray[np.uint8],
    input_name: str | None = None,
    output_name: str | None = None,
) -> Restored:
    """Return an engine graph with a dynamic batch, float32 faces in planes and rows of embeddings.

    Parameters
    ----------
    model : onnx.ModelProto
        As `load_onnx` gives it. It is not changed.
    source : str
        What to call it in an error.
    faces : ndarray of shape (N, 160, 160, 3), uint8
        Aligned RGB faces to compare both graphs on.
    input_name, output_name : str, optional
        The image input and the output that is the embedding, where there is a choice.

    Raises
    ------
    ModelError
        If image or embedding are not found, a part is repeated, the graph does not run, or the
        batch is fixed inside it, so that the rows differ from those of the graph as it was.
    """
    check_ends(model, source)
    if has_equal_names(model):
        model = copy.deepcopy(model)
        name_nodes(model)
    image = find_image(model.graph, source=source, name=input_name, types=tuple(TYPES))
    image = with_inner_batch(model.graph, image, source)
    if len(own_inputs(model.graph)) > 1:
        names = ", ".join(value.name for value in own_inputs(model.graph))
        raise ModelError(
            f"{source}: {len(own_inputs(model.graph))} inputs ({names}); expected the image alone. "
            "Export the engine for inference."
        )
    output = _output(model, source, output_name)
    images = standardize(faces, image.size)
    before = EdgeRunner(model, image, output, source)
    with image.running():
        expected = before.rows(images)
    made, changes = _with_edges(model, image, output, expected.shape[1])
    planes = replace(image, layout="NCHW", batch=None)
    after = EdgeRunner(made, planes, made.graph.output[0], source)
    edges = {value.type.tensor_type.elem_type for value in (*own_inputs(model.graph), output)}
    limit = SAME_IN_HALF if TensorProto.FLOAT16 in edges else SAME
    compare(before, after, images, expected, limit, source)
    return Restored(
        made,
        changes,
        f"the same embeddings as the graph as it was, of {len(images)} faces, in batches of "
        f"{BATCHES[0]} and {BATCHES[1]} too",
    )


def _output(model: onnx.ModelProto, source: str, name: str | None) -> onnx.ValueInfoProto:
    outputs = list(model.graph.output)
    listed = "; ".join(f"{v.name} {shape_text(declared_shape(v))}" for v in outputs)
    found = [value for value in outputs if name in (None, value.name)]
    if len(found) != 1:
        what = f"{len(outputs)} outputs" if name is None else f"no output {name!r}"
        raise ModelError(
            f"{source}: {what}; its outputs are: {listed}. Expected one that is the embedding: "
            "name it with --output NAME."
        )
    kind = found[0].type.tensor_type.elem_type
    if kind not in TYPES:
        raise ModelError(
            f"{source}: output {found[0].name!r} is {type_name(kind)}; expected FLOAT or FLOAT16. "
            "Export the engine with its embeddings in floating point."
        )
    chosen: onnx.ValueInfoProto = found[0]
    return chosen


# -- the graph ----------------------------------------------------------------------------------


def _with_edges(
    model: onnx.ModelProto, image: ImageInput, output: onnx.ValueInfoProto, size: int
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    made = copy.deepcopy(model)
    graph = made.graph
    value = next(v for v in own_inputs(graph) if v.name == image.name)
    changes = []
    if image.batch is not None:
        changes.append(f"batch fixed at {image.batch} → dynamic")
        _open_batch(graph, image.name, image.batch)
    # A tensor that has the name of an edge gets another name first.
    for name in (INPUT_NAME, OUTPUT_NAME):
        _rename(graph, name, f"{name}/inner")
    faces, rows = (f"{n}/inner" if n in (INPUT_NAME, OUTPUT_NAME) else n
                   for n in (image.name, output.name))  # fmt: skip
    first: list[tuple[str, dict[str, Any]]] = []
    last: list[tuple[str, dict[str, Any]]] = []
    read, given = value.type.tensor_type.elem_type, output.type.tensor_type.elem_type
    if image.layout == "NHWC":
        changes.append("interleaved pixels (NHWC) → planes")
        first.append(("Transpose", {"perm": [0, 2, 3, 1]}))
    if read != TensorProto.FLOAT:
        changes.append(f"input {type_name(read)} → FLOAT, cast inside")
        first.append(("Cast", {"to": read}))
    if given != TensorProto.FLOAT:
        changes.append(f"output {type_name(given)} → FLOAT, cast inside")
        last.append(("Cast", {"to": int(TensorProto.FLOAT)}))
    if len(declared_shape(output)) != 2:
        changes.append("output → rows")
        last.append(("Flatten", {"axis": 1}))
    before = _chain(INPUT_NAME, faces, first, INPUT_NAME)
    after = _chain(rows, OUTPUT_NAME, last, OUTPUT_NAME)
    if not before:
        _rename(graph, faces, INPUT_NAME)
    if not after:
        _rename(graph, rows, OUTPUT_NAME)
    set_nodes(graph, [*before, *graph.node, *after])
    weights = {tensor.name for tensor in graph.initializer}
    kept = [v for v in graph.input if v.name in weights]
    shape: list[str | int] = ["N", 3, image.size, image.size]
    inputs = [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, shape), *kept]
    outputs = [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["N", size])]
    del graph.input[:], graph.output[:]
    graph.input.extend(inputs)
    graph.output.extend(outputs)
    annotated = [v for v in graph.value_info if v.name not in (INPUT_NAME, OUTPUT_NAME)]
    del graph.value_info[:]
    graph.value_info.extend(annotated)
    if not changes:
        changes.append(f"named {INPUT_NAME} and {OUTPUT_NAME}, its sides stated")
    return made, tuple(changes)


def _chain(
    read: str, made: str, steps: list[tuple[str, dict[str, Any]]], prefix: str
) -> list[onnx.NodeProto]:
    nodes = []
    for place, (operator, attributes) in enumerate(steps):
        name = f"{prefix}/{operator}"
        result = made if place == len(steps) - 1 else f"{name}/made"
        nodes.append(helper.make_node(operator, [read], [result], name=name, **attributes))
        read = result
    return nodes


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Rename a tensor wherever it is read, made or annotated, in inner graphs too."""
    rename_tensor(graph.node, old, new)
    for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        if value.name == old:
            value.name = new


def _open_batch(graph: onnx.GraphProto, image: str, batch: int) -> None:
    """Let reshapes and annotations of what the image reaches take any batch, in place."""
    live = GraphView(graph, {}, image).live
    constants = constants_of(graph)
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[0] not in live or node.input[1] not in constants:
            continue
        target = numpy_helper.to_array(constants[node.input[1]]).copy()
        if target.ndim != 1 or not len(target) or target[0] != batch:
            continue
        # Zero keeps the batch that is read. Where another side is open, only zero can be written.
        target[0] = 0 if -1 in target[1:] else -1
        node.input[1] = f"{node.output[0]}/shape"
        graph.initializer.append(numpy_helper.from_array(target, node.input[1]))
    for value in graph.value_info:
        sides = value.type.tensor_type.shape.dim
        if value.name in live and sides and sides[0].dim_value == batch:
            sides[0].dim_param = "N"
