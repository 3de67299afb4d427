"""Raw ONNX from any exporter → canonical ONNX: NCHW, dynamic batch, folded, L2-normalised.

ONNX Runtime's optimiser simplifies the graph: it folds constants, batch norms and residual scales
into the convolutions, and removes transposes. The rest is the head: reshapes, a dense layer, a
batch norm, the L2 norm. It is found by its structure and always written in the same form.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.models.endless import check_ends
from facenet_validate.models.exported.anatomy import (
    Anatomy,
    Embedding,
    find_embedding,
    listed,
    parameter_count,
)
from facenet_validate.models.exported.assembly import assembled
from facenet_validate.models.exported.graph_view import (
    GraphView,
    declared_shape,
    own_inputs,
    shapes_at,
)
from facenet_validate.models.exported.head import find_head
from facenet_validate.models.exported.image_input import ImageInput, find_image, with_inner_batch
from facenet_validate.models.exported.simplification import simplified, undo_strides
from facenet_validate.models.network import multiply_adds
from facenet_validate.models.passes import (
    constants_of,
    described,
    is_standard,
    opset_of,
    set_nodes,
    whole,
)

OPSET = 17
"""Older graphs are converted to this opset; newer ones keep theirs."""


def canonical(
    model: onnx.ModelProto,
    *,
    source: str,
    input_name: str | None = None,
    output_name: str | None = None,
) -> tuple[onnx.ModelProto, Anatomy]:
    """Turn an ONNX model into canonical form.

    Parameters
    ----------
    model : onnx.ModelProto
        As `load_onnx` gives it. It is not changed.
    source : str
        What to call the model in an error.
    input_name, output_name : str, optional
        The image input and the embedding's tensor, where structure leaves a choice.

    Returns
    -------
    model : onnx.ModelProto
        Input ``input`` float32 ``[N, 3, H, W]``, output ``embeddings`` float32 ``[N, D]`` of
        length 1; operators of the default ONNX domain only. The same source gives the same bytes.
    anatomy : Anatomy
        The parts found in the source.

    Raises
    ------
    ModelError
        If the model is no FaceNet, is not FP32, or leaves a choice; the error names what was found.
    """
    try:
        return _canonical(model, source, input_name, output_name)
    except (IndexError, KeyError, StopIteration, TypeError, ValueError) as error:
        # No check finds all that a malformed node may lack. The cause stays attached.
        raise ModelError(
            f"{source}: its graph is malformed ({type(error).__name__}: {error}). Expected a valid "
            "ONNX model: onnx.checker.check_model says what is wrong; export it again."
        ) from error


def _canonical(
    model: onnx.ModelProto, source: str, input_name: str | None, output_name: str | None
) -> tuple[onnx.ModelProto, Anatomy]:
    _check_operators(model, source)
    _check_inference(model, source)
    raw = _modern(model, source)
    batch_norms = sum(node.op_type == "BatchNormalization" for node in raw.graph.node)
    image = find_image(raw.graph, source=source, name=input_name)
    image = _not_training(raw.graph, with_inner_batch(raw.graph, image, source))
    # At a concrete batch all shape arithmetic folds. At a batch of one, that side would fold too.
    batch = image.batch or 2
    planes = _feed(raw.graph, image, batch)
    known = shapes_at(raw, source, batch, planes)
    if output_name is not None:
        _add_output(raw.graph, known, output_name, source)
    with image.running():
        body = simplified(raw, planes, source)
    undo_strides(body.graph, shapes_at(body, source, batch, planes))
    view = GraphView(body.graph, shapes_at(body, source, batch, planes), planes)
    embedding = find_embedding(view, body, source=source, name=output_name)
    _check_image_alone(view, embedding, source)
    _check_inception_resnet(view, embedding, source)
    head = find_head(view, embedding.features, source=source)
    prepared = assembled(view, body, image, embedding, head, source=source)
    return prepared, Anatomy(
        image,
        embedding,
        head.weights is not None,
        batch_norms,
        parameter_count(prepared),
        sum(multiply_adds(prepared).values()),
    )


# -- the source, made readable --------------------------------------------------------------------


def _check_operators(model: onnx.ModelProto, source: str) -> None:
    from facenet_validate.models.quantization.precision import infer_precision

    check_ends(model, source)
    for node in model.graph.node:
        if not is_standard(node):
            raise ModelError(
                f"{source}: {described(node)} is of domain {node.domain!r}. Expected standard ONNX "
                "operators: name the model as it was before a runtime optimised it."
            )
    precision = infer_precision(model)
    if precision != "fp32":
        raise ModelError(
            f"model {source}: is {precision} already. A source model is FP32, since it is what "
            "every engine is compared with; validate this one with --facenet-engine."
        )


def _check_inference(model: onnx.ModelProto, source: str) -> None:
    """Check that no layer was exported as it trains."""
    constants = constants_of(model.graph)
    for node in model.graph.node:
        trains = False
        if node.op_type == "BatchNormalization":
            # Before opset 14 there is no mode: a layer that trains gives its statistics too.
            trains = len(node.output) > 1 or whole(node, "training_mode") != 0
        elif node.op_type == "Dropout" and len(node.input) > 2 and node.input[2] in constants:
            trains = bool(np.any(numpy_helper.to_array(constants[node.input[2]])))
        if trains:
            raise ModelError(
                f"{source}: {described(node)} was exported in training mode. Expected a model for "
                "inference: call model.eval() and export it again."
            )


def _modern(model: onnx.ModelProto, source: str) -> onnx.ModelProto:
    """Return a copy at opset 17 or newer whose weights are not inputs as well."""
    copied = copy.deepcopy(model)
    version = opset_of(model)
    if version < 1:
        raise ModelError(f"{source}: no opset is stated. Export the model again.")
    copied.ir_version = max(model.ir_version, 8)
    inputs = own_inputs(copied.graph)
    del copied.graph.input[:]
    copied.graph.input.extend(inputs)
    del copied.opset_import[:]
    copied.opset_import.add(domain="", version=version)
    for node in copied.graph.node:
        node.domain = ""
    if version >= OPSET:
        return copied
    from onnx import version_converter

    try:
        return version_converter.convert_version(copied, OPSET)
    except Exception as error:  # the converter raises what its C++ raises
        raise ModelError(
            f"{source}: cannot be brought from opset {version} to {OPSET} ({error}). Export it "
            f"with opset {OPSET}."
        ) from None


def _not_training(graph: onnx.GraphProto, image: ImageInput) -> ImageInput:
    """Make each input of one BOOL, such as TensorFlow's ``phase_train``, a constant False."""
    given = {value.name for value in own_inputs(graph)}
    flags = [
        value
        for value in graph.input
        if value.name in given
        and value.type.tensor_type.elem_type == TensorProto.BOOL
        and value.type.tensor_type.HasField("shape")
        and all(side == 1 for side in declared_shape(value))
    ]
    for value in flags:
        false = np.zeros(len(declared_shape(value)) * (1,), np.bool_)
        graph.initializer.append(numpy_helper.from_array(false, value.name))
        graph.input.remove(value)
        image = replace(image, why=f"{image.why}; {value.name} (BOOL) is taken as False: inference")
    return image


def _feed(graph: onnx.GraphProto, image: ImageInput, batch: int) -> str:
    """Make the input planes of a concrete batch, in place, and return the input's name.

    All that the graph states about other sizes is removed. Interleaved pixels get a transpose,
    which ONNX Runtime cancels against the source's own one.
    """
    value = next(value for value in graph.input if value.name == image.name)
    planes = image.name
    if image.layout == "NHWC":
        planes = f"{image.name}/planes"
        turn = helper.make_node("Transpose", [planes], [image.name], planes, perm=[0, 2, 3, 1])
        set_nodes(graph, [turn, *graph.node])
    shape = (batch, 3, image.size, image.size)
    value.CopyFrom(helper.make_tensor_value_info(planes, TensorProto.FLOAT, shape))
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    view = GraphView(graph, {}, planes)
    for node in graph.node:
        # ONNX Runtime folds a scale into the convolution before it only where the scale is second.
        if node.op_type == "Mul" and node.input[0] not in view.live:
            node.input.reverse()
    return planes


def _add_output(
    graph: onnx.GraphProto, shapes: Mapping[str, tuple[int, ...]], name: str, source: str
) -> None:
    """Make a tensor that the user named an output, so that simplification keeps it."""
    if name in {value.name for value in graph.output}:
        return
    if name not in {made for node in graph.node for made in node.output}:
        outputs = [value.name for value in graph.output]
        raise ModelError(
            f"{source}: no tensor {name!r}. Its outputs are: {listed(shapes, outputs)}; --output "
            "takes any tensor's name."
        )
    graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _check_image_alone(view: GraphView, embedding: Embedding, source: str) -> None:
    others = {value.name for value in own_inputs(view.graph)} - {view.image}
    for node in view.ancestors([embedding.name]):
        needed = others & set(node.input)
        if needed:
            raise ModelError(
                f"{source}: the embedding depends on input {min(needed)!r} too, by "
                f"{described(node)}. Expected a model frozen for inference, of which the image is "
                "the only input."
            )


def _check_inception_resnet(view: GraphView, embedding: Embedding, source: str) -> None:
    """Check that the simplified graph is an Inception-ResNet that starts with a convolution."""
    nodes = view.ancestors([embedding.features])
    for node in nodes:
        if node.domain:
            raise ModelError(
                f"{source}: onnxruntime made {described(node)} of domain {node.domain!r} of it; "
                "expected standard ONNX."
            )
        if view.image in node.input and node.op_type not in ("Conv", "Pad"):
            raise ModelError(
                f"{source}: {described(node)} works on the image before the first convolution. "
                "Expected a network that reads standardized faces, (x − 127.5) / 128, as they "
                "are; export it without its preprocessing."
            )
    if not any(_is_residual(view, node) for node in nodes):
        census = Counter(node.op_type for node in nodes)
        found = ", ".join(f"{count} {op}" for op, count in census.most_common(6))
        raise ModelError(
            f"{source}: not an Inception-ResNet: {found}, then {embedding.size} values; no "
            "convolutions are concatenated, projected and added to what they read. Expected a "
            "FaceNet."
        )


def _is_residual(view: GraphView, node: onnx.NodeProto) -> bool:
    """Say whether an ``Add`` closes a block: ``Concat`` → 1×1 ``Conv`` → + the block's input."""
    if node.op_type != "Add":
        return False
    for branch, skip in (tuple(node.input), tuple(reversed(node.input))):
        conv = view.makers.get(branch)
        concat = view.makers.get(conv.input[0]) if conv and conv.op_type == "Conv" else None
        if concat is None or concat.op_type != "Concat":
            continue
        reached = {name for n in view.ancestors(concat.input, until=skip) for name in n.input}
        if skip in reached and view.image not in reached:
            return True
    return False
