"""An ONNX graph as TensorRT's parsed network, as far as our code looks at one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

_TYPES: dict[int, str] = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT64: "INT64",
}
_KINDS = {
    "Conv": "CONVOLUTION",
    "Gemm": "MATRIX_MULTIPLY",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Cast": "CAST",
    "Relu": "ACTIVATION",
}


@dataclass(frozen=True)
class Tensor:
    """A tensor; a dynamic dimension is −1."""

    name: str
    dtype: Any
    shape: tuple[int, ...]


class Layer:
    """A layer, with the binding's methods."""

    def __init__(
        self, name: str, kind: str, inputs: list[Tensor], outputs: list[Tensor], **settings: Any
    ) -> None:
        self.name = name
        self.type = SimpleNamespace(name=kind)
        self.inputs, self.outputs = inputs, outputs
        self.num_inputs, self.num_outputs = len(inputs), len(outputs)
        self.num_groups = settings.get("group", 1)
        self.kernel_size_nd = tuple(settings.get("kernel_shape", ()))

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]


class IConvolutionLayer(Layer):
    """What the code sets a convolution's class to."""


@dataclass
class Network:
    """A network: one activation until an ONNX graph is read."""

    layers: list[Layer] = field(default_factory=list)
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    read: bool = False

    def __post_init__(self) -> None:
        data = Tensor("input", SimpleNamespace(name="FLOAT"), (-1, 3, 8, 8))
        made = Tensor("embeddings", data.dtype, data.shape)
        self.inputs, self.outputs = [data], [made]
        self.layers = [Layer("relu", "ACTIVATION", [data], [made])]

    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))
    num_layers = property(lambda self: len(self.layers))

    def get_input(self, index: int) -> Tensor:
        return self.inputs[index]

    def get_output(self, index: int) -> Tensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> Layer:
        return self.layers[index]

    def parse(self, content: bytes) -> None:
        """Take the layers of an ONNX graph; what is no graph is left."""
        try:
            model = onnx.load_model_from_string(content)
        except DecodeError:
            return
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
        known = {one.name: _tensor(one) for one in (*graph.input, *graph.value_info, *graph.output)}
        known |= {
            one.name: Tensor(one.name, _dtype(one.data_type), tuple(one.dims))
            for one in graph.initializer
        }
        self.inputs = [known[one.name] for one in graph.input]
        self.outputs = [known[one.name] for one in graph.output]
        self.layers = [_layer(node, known) for node in graph.node]
        self.read = True


def _layer(node: onnx.NodeProto, known: dict[str, Tensor]) -> Layer:
    settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    kind = _KINDS.get(node.op_type, node.op_type.upper())
    return Layer(node.name, kind, _found(node.input, known), _found(node.output, known), **settings)


def _found(names: Iterable[str], known: dict[str, Tensor]) -> list[Tensor]:
    return [known[name] for name in names if name]


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
    return Tensor(value.name, _dtype(kind.elem_type), shape)


def _dtype(kind: int) -> Any:
    return SimpleNamespace(name=_TYPES.get(kind, "OTHER"))
