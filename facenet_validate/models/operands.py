"""What a graph's tensors are stored in: element types and shapes, whoever makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import onnx
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.passes import reads
from facenet_validate.models.stand_ins import stood_in

MOVING = ("Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze")
"""Operators that hand on the values of their first input, moved at most."""

_CHOOSING = (*MOVING, "MaxPool")
"""These and what commutes with dequantising: the largest integer is the largest number."""

EIGHT_BITS = (TensorProto.INT8, TensorProto.UINT8)

_FEW = 16
"""Values of a weight that shape inference is shown, whatever their type."""

_STORED_DEFAULT = TensorProto.UINT8
"""What ``QuantizeLinear`` gives without a zero point and without ``output_dtype``."""

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
        Tensor → ``TensorProto.DataType``, as the file or shape inference tells it; absent where
        neither does.
    shapes : mapping
        Tensor → sides at that batch; 0 where a side is unknown, absent where nothing is known.
    constants : frozenset of str
        Tensors that no input reaches: weights, and what the graph makes of weights alone.
    batch : int
        How many images the shapes are of: what the image input states, or 1 where it is dynamic.
    """

    makers: Mapping[str, onnx.NodeProto]
    types: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    constants: frozenset[str] = frozenset()
    batch: int = 1

    def type_of(self, name: str) -> int:
        """Return the element type of a tensor, ``TensorProto.UNDEFINED`` where it is not told.

        What a quantising node writes is told by that node: inference does not know a runtime's own
        operators, and a file may annotate whatever it likes.
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
                return next((int(a.i) for a in maker.attribute if a.name == "to"), 0)
            if maker.op_type not in MOVING or not maker.input:
                break
            name = maker.input[0]
        return self.types.get(name, TensorProto.UNDEFINED)

    def _quantized_type(self, node: onnx.NodeProto) -> int:
        if len(node.input) > 2 and node.input[2]:
            return self.type_of(node.input[2])
        asked = next((int(a.i) for a in node.attribute if a.name == "output_dtype"), 0)
        return asked or _STORED_DEFAULT

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
    """Return types and shapes of every tensor of a model, as far as they can be told.

    Raises
    ------
    ModelError
        If shape inference finds that the graph contradicts itself.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(_light(model), data_prop=True)
    except Exception as error:  # the C++ raises several kinds
        line = str(error).strip().splitlines()[0][:300]
        raise ModelError(f"the graph's shapes do not fit together: {line}.") from None
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
    makers = {name: node for node in model.graph.node for name in node.output if name}
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
    """Return the batch of the image, which has most sides."""
    sides: list[list[int]] = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in inputs]
    longest = max((len(found) for found in sides), default=0)
    return next((found[0] for found in sides if found and len(found) == longest), 1)


def _light(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model whose large weights are inputs: inference needs their shapes alone.

    A file's annotations are taken for what operators of other domains give; of standard ones
    inference knows better.
    """
    light = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    graph = light.graph
    graph.name = "types"
    stood = [(node, stood_in(node)) for node in model.graph.node]
    graph.node.extend(node if known is None else known for node, known in stood)
    graph.input.extend(_inputs_at_one(model))
    batches = {v.type.tensor_type.shape.dim[0].dim_param for v in model.graph.input
               if len(v.type.tensor_type.shape.dim)} - {""}  # fmt: skip
    foreign = {
        name
        for node, known in stood
        if node.domain not in ("", "ai.onnx") and known is None
        for name in node.output
    }
    graph.value_info.extend(value for value in model.graph.value_info if value.name in foreign)
    graph.output.extend(model.graph.output)
    for value in [*graph.value_info, *graph.output]:
        if value.name not in foreign:
            value.type.tensor_type.ClearField("shape")
        for side in value.type.tensor_type.shape.dim if value.name in foreign else ():
            if side.dim_param in batches:
                side.dim_value = 1
    for tensor in model.graph.initializer:
        # Shapes, axes and the scales of a resize decide sizes by their values.
        if tensor.data_type == TensorProto.INT64 or prod(tensor.dims) <= _FEW:
            graph.initializer.append(tensor)
        else:
            graph.input.append(
                onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    return light


def type_text(elem_type: int) -> str:
    """Return what an element type is called, ``unknown`` where it was not told."""
    known = elem_type in TensorProto.DataType.values()
    return TensorProto.DataType.Name(elem_type) if known and elem_type else "unknown"
