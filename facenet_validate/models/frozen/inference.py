"""The inference part of a frozen graph, as a graph of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from facenet_validate.base.errors import ModelError
from facenet_validate.models.frozen.evaluation import Dead, Evaluation, Failed, Layer, is_source
from facenet_validate.models.frozen.graphdef import (
    attributes,
    graph_message,
    optional,
    set_tensor,
    split_reference,
    type_code,
)
from facenet_validate.models.frozen.layers import Constant, Operand, Shape, Tensor, text

_MOST_SHOWN = 6
_EPSILON = 1e-4  # TensorFlow's default; OpenCV has another


@dataclass(frozen=True)
class InferenceGraph:
    """A frozen graph without its training.

    Attributes
    ----------
    graph : Message
        A ``GraphDef`` of one ``Placeholder``, constants and layers, each after what it reads.
    shapes : dict of str to tuple
        TensorFlow's shape of the placeholder and of each layer; the batch is None.
    output : str
        The layer that gives the embedding, ``(None, D)`` or ``(None, 1, 1, D)``.
    """

    graph: Any
    shapes: dict[str, Shape]
    output: str

    @property
    def embedding_size(self) -> int:
        """D."""
        return self.shapes[self.output][-1] or 0


def inference_graph(graph: Any, *, source: str, output: str | None = None) -> InferenceGraph:
    """Cut the inference part out of a frozen graph.

    Parameters
    ----------
    graph : Message
        A ``GraphDef``, as :func:`~facenet_validate.models.frozen.graphdef.parse_graph` gives it.
    source : str
        What to call the file in an error.
    output : str, optional
        The node that gives the embedding. By default it is found: it depends on an image, no node
        reads it, and it has one row a face. Of several such nodes the L2-normalised one is taken.

    Returns
    -------
    InferenceGraph
        The graph with ``phase_train`` False, without queues, labels, conditionals, moving averages,
        dropout, identities and the arithmetic of shapes.

    Raises
    ------
    ModelError
        If a node of the inference part is unsupported (it is named with its operator), if there is
        no embedding, or if there are several.
    """
    evaluation = Evaluation(graph, source=source)
    chosen = _found(evaluation) if output is None else _named(evaluation, output)
    return _cut(evaluation, chosen)


# -- which output ----------------------------------------------------------------------------------


def _named(evaluation: Evaluation, output: str) -> Tensor:
    name, source = split_reference(output)[0], evaluation.source
    if name not in evaluation.nodes:
        raise ModelError(
            f"{source}: output {output!r} is not in the graph. {_candidates(_sinks(evaluation)[0])}"
        )
    value = evaluation.value(output)
    if isinstance(value, Failed):
        raise value.error(evaluation.source)
    if isinstance(value, Tensor) and not is_source(value):
        if _is_rows(value):
            return value
        found = f"has shape {text(value.shape)}"
    else:
        found = "is not computed at inference" if isinstance(value, Dead) else "reads no image"
    raise ModelError(f"{source}: output {output!r} {found}; expected one row a face, [N, D].")


def _found(evaluation: Evaluation) -> Tensor:
    source = evaluation.source
    sinks, failures = _sinks(evaluation)
    rows = [tensor for tensor in sinks if _is_rows(tensor)]
    chosen = [tensor for tensor in rows if _is_normalised(evaluation, tensor)]
    if not sinks:
        everything = [value for values in evaluation.outputs.values() for value in values]
        failures = [value for value in everything if isinstance(value, Failed)]
    nearest = max(failures, key=lambda failure: failure.nearness, default=None)
    if not chosen:
        if nearest is not None and (nearest.nearness == 2 or not sinks):
            raise nearest.error(source)
        chosen = rows
    if len(chosen) == 1:
        _refuse_scores(evaluation, chosen[0])
        return chosen[0]
    if not sinks:
        raise ModelError(f"{source}: no convolution reads an image. Expected a FaceNet model.")
    many = f"{len(chosen)} outputs may be the embedding"
    none = "no output has one row a face, [N, D]"
    raise ModelError(f"{source}: {many if chosen else none}. {_candidates(chosen or sinks)}")


def _sinks(evaluation: Evaluation) -> tuple[list[Tensor], list[Failed]]:
    """Return the values that no node reads: tensors that depend on an image, and failures."""
    read = {
        split_reference(reference)[0]
        for node in evaluation.nodes.values()
        for reference in node.input
        if not reference.startswith("^")
    }
    last = [name for name in evaluation.nodes if name not in read] or list(evaluation.nodes)
    values = [value for name in last for value in evaluation.outputs[name]]
    tensors = {v.name: v for v in values if isinstance(v, Tensor) and not is_source(v)}
    return list(tensors.values()), [value for value in values if isinstance(value, Failed)]


def _candidates(tensors: list[Tensor]) -> str:
    shown = ", ".join(f"{tensor.name!r} {text(tensor.shape)}" for tensor in tensors[:_MOST_SHOWN])
    more = f" and {len(tensors) - _MOST_SHOWN} more" if len(tensors) > _MOST_SHOWN else ""
    return f"Found {shown or 'none'}{more}: name the embedding's node with --output NAME."


def _is_rows(tensor: Tensor) -> bool:
    return tensor.shape[-1] != 1 and (len(tensor.shape) == 2 or tensor.shape[1:3] == (1, 1))


def _layer(evaluation: Evaluation, operand: Operand, *operators: str) -> Layer | None:
    layer = evaluation.layers.get(operand.name) if isinstance(operand, Tensor) else None
    return layer if layer is not None and layer.node.op in operators else None


def _is_normalised(evaluation: Evaluation, tensor: Tensor) -> bool:
    """Whether a tensor is ``x · rsqrt(max(sum(x²), ε))``, TensorFlow's ``l2_normalize``."""
    product = _layer(evaluation, tensor, "Mul")
    if product is None:
        return False
    for data, scale in (product.operands, product.operands[::-1]):
        step = _layer(evaluation, scale, "Rsqrt")
        for operator in ("Maximum", "Sum", "Square"):
            below = [o for o in step.operands if isinstance(o, Tensor)] if step else []
            found = _layer(evaluation, below[0], operator) if below else None
            step = found if found is not None or operator != "Maximum" else step
        if step is not None and step.node.op == "Square" and step.operands[0] == data:
            return True
    return False


def _refuse_scores(evaluation: Evaluation, tensor: Tensor) -> None:
    """Refuse a classifier: the result of a second dense layer without a norm."""
    if _is_normalised(evaluation, tensor):
        return
    dense = [layer for layer in _reached(evaluation, tensor).values() if layer.node.op == "MatMul"]
    if len(dense) > 1:
        read = [o for o in dense[-1].operands if isinstance(o, Tensor)]
        raise ModelError(
            f"{evaluation.source}: output {tensor.name!r} {text(tensor.shape)} comes from the "
            f"{len(dense)}th of several dense layers in a row, as a classifier's scores do; "
            f"expected an embedding. {_candidates([*read, tensor])}"
        )


# -- the graph -------------------------------------------------------------------------------------


def _reached(evaluation: Evaluation, tensor: Tensor) -> dict[str, Layer]:
    """Return the layers a tensor depends on, in order."""
    needed = {tensor.name}
    for name, layer in reversed(evaluation.layers.items()):
        if name in needed:
            needed.update(o.name for o in layer.operands if isinstance(o, Tensor))
    return {name: layer for name, layer in evaluation.layers.items() if name in needed}


def _cut(evaluation: Evaluation, output: Tensor) -> InferenceGraph:
    graph = graph_message()
    shapes: dict[str, Shape] = {}
    names: dict[str, str] = {}
    for name, layer in _reached(evaluation, output).items():
        operands = _settled(layer)
        for operand in operands:
            if operand.name in names:
                continue
            names[operand.name] = _unused(evaluation, operand.name)
            if isinstance(operand, Constant):
                node = graph.node.add(name=names[operand.name], op="Const")
                _set(node, "dtype").type = type_code(operand.value.dtype)
                set_tensor(_set(node, "value").tensor, operand.value)
            else:
                shapes[names[operand.name]] = operand.shape
                _add_placeholder(graph, names[operand.name], operand.shape)
        names[name] = name
        shapes[name] = layer.shape
        node = graph.node.add(name=name, op=layer.node.op)
        node.input.extend(names[operand.name] for operand in operands)
        attrs = attributes(layer.node)
        for key, value in attrs.items():
            if not key.startswith(("_", "transpose_")):  # _: where it ran, what its shape was
                _set(node, key).CopyFrom(value)
        if node.op.startswith("FusedBatchNorm"):
            node.op = "FusedBatchNorm"  # its versions differ in training; OpenCV reads the first
            if "epsilon" not in attrs:
                _set(node, "epsilon").f = _EPSILON
    return InferenceGraph(graph, shapes, output.name)


def _settled(layer: Layer) -> list[Operand]:
    """Return the operands of a layer: shapes without the batch, weights that are not transposed."""
    attrs, (data, *constants) = attributes(layer.node), layer.operands
    if layer.node.op == "Reshape":
        target = np.array([-1, *layer.shape[1:]], np.int32)
        return [data, Constant(f"{layer.node.name}:shape", target)]
    if optional(attrs, "transpose_b").b and isinstance(constants[0], Constant):
        return [data, Constant(f"{layer.node.name}:weights", constants[0].value.T)]
    return [data, *constants]


def _unused(evaluation: Evaluation, name: str) -> str:
    """Return a name if a node has it, or else a similar name that no node has."""
    if name in evaluation.nodes:
        return name
    name = name.replace(":", "/output_")
    while name in evaluation.nodes:
        name += "_"
    return name


def _add_placeholder(graph: Any, name: str, shape: Shape) -> None:
    node = graph.node.add(name=name, op="Placeholder")
    _set(node, "dtype").type = type_code(np.dtype(np.float32))
    sizes = _set(node, "shape").shape
    for size in shape:
        sizes.dim.add(size=-1 if size is None else size)


def _set(node: Any, key: str) -> Any:
    return node.attr.add(key=key).value
