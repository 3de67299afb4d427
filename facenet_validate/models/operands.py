"""Element types and shapes of a graph's tensors, whatever operator makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.onnx_session import reason
from facenet_validate.models.passes import is_standard, makers_of, reads, whole, without_weights
from facenet_validate.models.stand_ins import stood_in

MOVING = ("Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")
"""Operators that give the values of their first input, at most in other places."""

_CHOOSING = (*MOVING, "MaxPool")
"""`MOVING`, and the pool, which picks the same values among integers as among numbers."""

EIGHT_BITS = (TensorProto.INT8, TensorProto.UINT8)

_STORED_DEFAULT = TensorProto.UINT8
"""Type that ``QuantizeLinear`` gives without a zero point and without ``output_dtype``."""

_CONSTANT_TYPES = {
    "value_float": TensorProto.FLOAT,
    "value_floats": TensorProto.FLOAT,
    "value_int": TensorProto.INT64,
    "value_ints": TensorProto.INT64,
}


@dataclass(frozen=True)
class Tensors:
    """Types and shapes of a graph's tensors.

    Attributes
    ----------
    makers : mapping
        Tensor → the node that gives it.
    types : mapping
        Tensor → ``TensorProto.DataType``, as the file or shape inference says; absent where
        neither does.
    shapes : mapping
        Tensor → sides at that batch; 0 where a side is unknown, absent where nothing is known.
    constants : frozenset of str
        Tensors that no input reaches: weights, and tensors made of weights alone.
    batch : int
        Images that the shapes are of: the batch of the image input, or 1 where it is dynamic.
    """

    makers: Mapping[str, onnx.NodeProto]
    types: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    constants: frozenset[str] = frozenset()
    batch: int = 1

    def type_of(self, name: str) -> int:
        """Return the element type of a tensor, ``TensorProto.UNDEFINED`` where it is not known.

        A quantising node says itself what it writes: inference does not know a runtime's own
        operators, and a file may annotate any type.
        """
        seen: set[str] = set()
        while name not in seen:
            seen.add(name)
            maker = self.makers.get(name)
            if maker is None:
                break
            if maker.op_type == "QuantizeLinear":
                return self._quantized_type(maker)
            if maker.op_type == "DynamicQuantizeLinear" and name == maker.output[0]:
                return int(TensorProto.UINT8)
            if maker.op_type == "Cast":
                return whole(maker, "to")
            if maker.op_type not in MOVING or not maker.input:
                break
            name = maker.input[0]
        return self.types.get(name, TensorProto.UNDEFINED)

    def _quantized_type(self, node: onnx.NodeProto) -> int:
        if len(node.input) > 2 and node.input[2]:
            return self.type_of(node.input[2])
        return whole(node, "output_dtype") or _STORED_DEFAULT

    def dequantized_from(self, name: str) -> int | None:
        """Return the type that a tensor was dequantised from; None where it never was."""
        seen: set[str] = set()
        while name in self.makers and name not in seen:
            seen.add(name)
            maker = self.makers[name]
            if maker.op_type == "DequantizeLinear":
                return self.type_of(maker.input[0])
            if maker.op_type not in _CHOOSING or name != maker.output[0] or not maker.input:
                return None
            name = maker.input[0]
        return None


def tensors_of_graph(model: onnx.ModelProto) -> Tensors:
    """Return types and shapes of every tensor of a model, as far as they are known.

    Raises
    ------
    ModelError
        If shape inference finds that the graph contradicts itself.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(_light(model), data_prop=True)
    except Exception as error:  # the C++ raises several kinds
        raise ModelError(f"the graph's shapes do not fit together: {reason(error)}.") from None
    types: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for value in [*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input]:
        tensor = value.type.tensor_type
        types[value.name] = tensor.elem_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(int(dim.dim_value) for dim in tensor.shape.dim)
    for weight in model.graph.initializer:
        types[weight.name] = weight.data_type
        shapes[weight.name] = tuple(weight.dims)
    makers = makers_of(model.graph)
    for name, node in makers.items():
        if node.op_type == "Constant" and node.attribute:
            given = node.attribute[0]
            if given.name == "value":
                types[name], shapes[name] = given.t.data_type, tuple(given.t.dims)
            elif given.name in _CONSTANT_TYPES:
                types[name] = _CONSTANT_TYPES[given.name]
    return Tensors(makers, types, shapes, _constants(model.graph), _batch_of(_inputs_at_one(model)))


def _constants(graph: onnx.GraphProto) -> frozenset[str]:
    """Return the tensors that no input reaches; the nodes are in order."""
    found = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if reads(node) <= found:
            found.update(filter(None, node.output))
    return frozenset(found)


def _inputs_at_one(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Return a model's own inputs with a batch of one where it is dynamic.

    With a dynamic batch nothing would be known behind a ``Reshape`` to rows.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    made = []
    for value in model.graph.input:
        if value.name not in weights:
            one = onnx.ValueInfoProto.FromString(value.SerializeToString())
            sides = one.type.tensor_type.shape.dim
            if len(sides) and sides[0].dim_value < 1:
                sides[0].dim_value = 1
            made.append(one)
    return made


def _batch_of(inputs: list[onnx.ValueInfoProto]) -> int:
    """Return the batch of the image: the input with the most sides."""
    sides: list[list[int]] = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in inputs]
    longest = max((len(found) for found in sides), default=0)
    return next((found[0] for found in sides if found and len(found) == longest), 1)


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model for shape inference.

    For tensors of a runtime's own operators it keeps the file's annotations. For those of standard
    operators inference knows better.
    """
    stood = [(node, stood_in(node)) for node in model.graph.node]
    nodes = [node if known is None else known for node, known in stood]
    light = without_weights(model, nodes, _inputs_at_one(model))
    graph = light.graph
    sides = [value.type.tensor_type.shape.dim for value in model.graph.input]
    batches = {dims[0].dim_param for dims in sides if len(dims)} - {""}
    foreign = {
        name
        for node, known in stood
        if not is_standard(node) and known is None
        for name in node.output
    }
    graph.value_info.extend(value for value in model.graph.value_info if value.name in foreign)
    for value in [*graph.value_info, *graph.output]:
        if value.name not in foreign:
            value.type.tensor_type.ClearField("shape")
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param in batches:
                side.dim_value = 1
    return light


def type_text(elem_type: int) -> str:
    """Return the name of an element type, ``unknown`` where it is not known."""
    known = elem_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(elem_type) if known and elem_type else "unknown"
