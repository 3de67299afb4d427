"""TensorFlow frozen graph → canonical ONNX, without TensorFlow.

The graph's NHWC tensors become NCHW, ``BiasAdd`` becomes the bias of the ``Conv`` before it, the
batch dimension becomes dynamic, and the reshapes that pin it to one disappear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.errors import ModelError
from facenet_validate.models.graphdef import (
    attributes,
    parse_graph,
    producer_of,
    sorted_nodes,
    tensor_value,
)

OPSET = 17
INPUT_NAME = "input"
OUTPUT_NAME = "embeddings"

Spatial = tuple[int, int] | None
"""Height and width of a four-dimensional tensor; None for a two-dimensional one."""


def convert_frozen_graph(data: bytes, *, source: str) -> onnx.ModelProto:
    """Convert a serialized frozen FaceNet graph to ONNX.

    Parameters
    ----------
    data : bytes
        Serialized ``GraphDef``: one image placeholder ``[?, H, W, 3]``, one output ``[?, D]``.
    source : str
        What to call the file in an error.

    Returns
    -------
    onnx.ModelProto
        Input ``input`` float32 ``[N, 3, H, W]``, output ``embeddings`` float32 ``[N, D]``.

    Raises
    ------
    ModelError
        If the bytes are no frozen graph, or a node is unsupported; the node is named.
    """
    graph = parse_graph(data, source=source)
    nodes = {node.name: node for node in graph.node}
    if len(nodes) != len(graph.node):
        repeated = [
            name for name, count in Counter(n.name for n in graph.node).items() if count > 1
        ]
        raise ModelError(f"{source}: node names are not unique: {repeated[:3]}.")
    converter = _Converter(source, nodes)
    for node in sorted_nodes(nodes, source=source):
        converter.convert(node)
    return converter.model()


@dataclass
class _Converter:
    source: str
    nodes: dict[str, Any]
    onnx_nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, NDArray[Any]] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    spatial: dict[str, Spatial] = field(default_factory=dict)
    channels: dict[str, int] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    graph_input: onnx.ValueInfoProto | None = None

    def __post_init__(self) -> None:
        self.consumers = Counter(
            producer_of(reference) for node in self.nodes.values() for reference in node.input
        )

    # -- reading ---------------------------------------------------------------------------

    def fail(self, node: Any, why: str) -> ModelError:
        return ModelError(f"{self.source}: node {node.name!r} ({node.op}): {why}")

    def inputs(self, node: Any) -> list[str]:
        return [producer_of(reference) for reference in node.input if not reference.startswith("^")]

    def constant(self, node: Any, name: str) -> NDArray[Any]:
        if name not in self.constants:
            raise self.fail(node, f"expected a constant, found the output of {name!r}.")
        return self.constants[name]

    def data_and_constant(self, node: Any) -> tuple[str, NDArray[Any]] | None:
        """Return the tensor and the constant of a two-input node with exactly one constant."""
        left, right = self.inputs(node)
        if (left in self.constants) == (right in self.constants):
            return None
        return (
            (right, self.constants[left])
            if left in self.constants
            else (left, self.constants[right])
        )

    def image_size(self, node: Any, name: str) -> tuple[int, int]:
        size = self.spatial[name]
        if size is None:
            raise self.fail(node, "expected a four-dimensional input, found two dimensions.")
        return size

    # -- writing ---------------------------------------------------------------------------

    def emit(
        self,
        node: Any,
        op: str,
        inputs: list[str],
        *,
        like: str,
        suffix: str = "",
        attrs: dict[str, Any] | None = None,
    ) -> str:
        """Append an ONNX node; its output has the shape of ``like`` until told otherwise."""
        output = f"{node.name}{suffix}"
        self.onnx_nodes.append(helper.make_node(op, inputs, [output], name=output, **(attrs or {})))
        self.tensors[node.name] = output
        self.spatial[node.name] = self.spatial[like]
        self.channels[node.name] = self.channels[like]
        return output

    def weight(self, name: str, value: NDArray[Any]) -> str:
        self.initializers[name] = np.array(value, order="C")
        return name

    def alias(self, node: Any, name: str) -> None:
        self.tensors[node.name] = self.tensors[name]
        self.spatial[node.name] = self.spatial[name]
        self.channels[node.name] = self.channels[name]

    # -- one method an operator --------------------------------------------------------------

    def convert(self, node: Any) -> None:
        handler = _HANDLERS.get(node.op)
        if handler is None:
            raise self.fail(
                node, f"operator not supported. Supported are {', '.join(sorted(_HANDLERS))}."
            )
        handler(self, node)

    def const(self, node: Any) -> None:
        self.constants[node.name] = tensor_value(attributes(node)["value"].tensor, node=node.name)

    def placeholder(self, node: Any) -> None:
        if self.graph_input is not None:
            raise self.fail(node, "a second placeholder; expected one image input.")
        shape = [int(d.size) for d in attributes(node)["shape"].shape.dim]
        if len(shape) != 4 or shape[3] != 3 or min(shape[1:3]) < 1:
            raise self.fail(node, f"input of shape {shape}; expected [batch, height, width, 3].")
        height, width = shape[1:3]
        self.graph_input = helper.make_tensor_value_info(
            INPUT_NAME, TensorProto.FLOAT, ["N", 3, height, width]
        )
        self.tensors[node.name] = INPUT_NAME
        self.spatial[node.name] = (height, width)
        self.channels[node.name] = 3

    def window(self, node: Any, name: str, kernel: tuple[int, int]) -> dict[str, list[int]]:
        """Strides and explicit pads of a convolution or pool, and the output's size."""
        attrs = attributes(node)
        if attrs["data_format"].s not in (b"NHWC", b""):
            raise self.fail(node, f"data format {attrs['data_format'].s!r}; expected NHWC.")
        if "dilations" in attrs and set(attrs["dilations"].list.i) - {1}:
            raise self.fail(node, f"dilations {list(attrs['dilations'].list.i)}; expected 1.")
        strides = [int(s) for s in attrs["strides"].list.i][1:3]
        padding = attrs["padding"].s
        before, after, size = [], [], []
        for extent, k, stride in zip(self.image_size(node, name), kernel, strides, strict=True):
            if padding == b"VALID":
                total, out = 0, (extent - k) // stride + 1
            elif padding == b"SAME":
                out = -(-extent // stride)
                total = max((out - 1) * stride + k - extent, 0)
            else:
                raise self.fail(node, f"padding {padding!r}; expected SAME or VALID.")
            if out < 1:
                raise self.fail(node, f"a window of {k} does not fit an input of {extent} pixels.")
            before.append(total // 2)
            after.append(total - total // 2)
            size.append(out)
        self.spatial[node.name] = (size[0], size[1])
        return {"kernel_shape": list(kernel), "strides": strides, "pads": before + after}

    def conv(self, node: Any) -> None:
        data, kernel_name = self.inputs(node)
        kernel = self.constant(node, kernel_name)  # height, width, in, out
        if kernel.ndim != 4 or kernel.shape[2] != self.channels[data]:
            raise self.fail(
                node, f"kernel of shape {kernel.shape} for {self.channels[data]} channels."
            )
        window = self.window(node, data, (kernel.shape[0], kernel.shape[1]))
        size = self.spatial[node.name]
        weight = self.weight(kernel_name, kernel.transpose(3, 2, 0, 1))
        self.emit(node, "Conv", [self.tensors[data], weight], like=data, attrs=window)
        self.spatial[node.name] = size
        self.channels[node.name] = kernel.shape[3]

    def bias_add(self, node: Any) -> None:
        data, bias_name = self.inputs(node)
        bias = self.constant(node, bias_name)
        made = (n for n in reversed(self.onnx_nodes) if n.output[0] == self.tensors[data])
        producer = next(made, None)
        if (
            producer is not None
            and producer.op_type == "Conv"
            and len(producer.input) == 2
            and self.consumers[data] == 1
        ):
            producer.input.append(self.weight(bias_name, bias))
            self.alias(node, data)
            return
        shape = (1, -1) if self.spatial[data] is None else (1, -1, 1, 1)
        weight = self.weight(bias_name, bias.reshape(shape))
        self.emit(node, "Add", [self.tensors[data], weight], like=data)

    def relu(self, node: Any) -> None:
        (data,) = self.inputs(node)
        self.emit(node, "Relu", [self.tensors[data]], like=data)

    def pool(self, node: Any) -> None:
        (data,) = self.inputs(node)
        ksize = [int(k) for k in attributes(node)["ksize"].list.i]
        window = self.window(node, data, (ksize[1], ksize[2]))
        size = self.spatial[node.name]
        op = {"MaxPool": "MaxPool", "AvgPool": "AveragePool"}[node.op]
        self.emit(node, op, [self.tensors[data]], like=data, attrs=window)
        self.spatial[node.name] = size

    def concat(self, node: Any) -> None:
        *parts, axis_name = self.inputs(node)
        axis = int(self.constant(node, axis_name))
        if axis not in (3, -1) or any(self.spatial[part] is None for part in parts):
            raise self.fail(node, f"concatenation along axis {axis}; expected channels (3).")
        self.emit(
            node, "Concat", [self.tensors[p] for p in parts], like=parts[0], attrs={"axis": 1}
        )
        self.channels[node.name] = sum(self.channels[part] for part in parts)

    def binary(self, node: Any) -> None:
        op = {"Add": "Add", "AddV2": "Add", "Mul": "Mul", "Sub": "Sub", "Maximum": "Max"}[node.op]
        left, right = self.inputs(node)
        pair = self.data_and_constant(node)
        if pair is None:
            like = left if self.channels[left] >= self.channels[right] else right
            self.emit(node, op, [self.tensors[left], self.tensors[right]], like=like)
            return
        data, value = pair
        if value.size != 1:
            raise self.fail(node, f"a constant of shape {value.shape}; expected a scalar.")
        name = left if left in self.constants else right
        weight = self.weight(name, value.reshape(()))
        operands = [weight if name == left else self.tensors[left]]
        operands.append(weight if name == right else self.tensors[right])
        self.emit(node, op, operands, like=data)

    def reshape(self, node: Any) -> None:
        data, shape_name = self.inputs(node)
        target = [int(s) for s in self.constant(node, shape_name)]
        channels, size = self.channels[data], self.spatial[data]
        if target[-1] not in (-1, channels) and size in (None, (1, 1)):
            raise self.fail(node, f"reshape to {target} of {channels} channels is not supported.")
        if size is None and (len(target) == 2 or target[1:3] == [1, 1]):
            # Around the last batch norm TensorFlow reshapes [N, D] to [N, 1, 1, D] and back.
            self.alias(node, data)
        elif size == (1, 1) and len(target) == 2:
            self.emit(node, "Flatten", [self.tensors[data]], like=data, attrs={"axis": 1})
            self.spatial[node.name] = None
        else:
            raise self.fail(node, f"reshape of size {size} to {target} is not supported.")

    def matmul(self, node: Any) -> None:
        data, weight_name = self.inputs(node)
        attrs = attributes(node)
        weight = self.constant(node, weight_name)
        if attrs["transpose_a"].b or self.spatial[data] is not None:
            raise self.fail(node, "expected a two-dimensional input, not transposed.")
        if attrs["transpose_b"].b:
            weight = weight.T
        if weight.shape[0] != self.channels[data]:
            raise self.fail(
                node, f"weights of shape {weight.shape} for {self.channels[data]} features."
            )
        self.emit(node, "MatMul", [self.tensors[data], self.weight(weight_name, weight)], like=data)
        self.channels[node.name] = weight.shape[1]

    def batch_norm(self, node: Any) -> None:
        data, *parameters = self.inputs(node)
        attrs = attributes(node)
        if "is_training" in attrs and attrs["is_training"].b:
            raise self.fail(node, "in training mode; expected a graph frozen for inference.")
        # TensorFlow's default, used where the attribute is absent.
        epsilon = attrs["epsilon"].f if "epsilon" in attrs else 1e-4
        weights = [self.weight(name, self.constant(node, name)) for name in parameters]
        self.emit(
            node,
            "BatchNormalization",
            [self.tensors[data], *weights],
            like=data,
            attrs={"epsilon": epsilon},
        )

    def square(self, node: Any) -> None:
        (data,) = self.inputs(node)
        self.emit(node, "Mul", [self.tensors[data]] * 2, like=data)

    def reduce_sum(self, node: Any) -> None:
        data, axes_name = self.inputs(node)
        axes = [int(a) for a in np.atleast_1d(self.constant(node, axes_name))]
        if self.spatial[data] is not None or axes not in ([1], [-1]):
            raise self.fail(node, f"sum over axes {axes}; expected the embedding's axis 1.")
        if not attributes(node)["keep_dims"].b:
            raise self.fail(node, "a sum that drops its axis; expected keep_dims.")
        weight = self.weight(axes_name, np.array([1], np.int64))
        self.emit(node, "ReduceSum", [self.tensors[data], weight], like=data, attrs={"keepdims": 1})
        self.channels[node.name] = 1

    def rsqrt(self, node: Any) -> None:
        (data,) = self.inputs(node)
        root = self.emit(node, "Sqrt", [self.tensors[data]], like=data, suffix="/sqrt")
        self.emit(node, "Reciprocal", [root], like=data)

    # -- the result ------------------------------------------------------------------------

    def model(self) -> onnx.ModelProto:
        if self.graph_input is None:
            raise ModelError(f"{self.source}: no image placeholder. Expected one graph input.")
        sinks = [n for n in self.tensors if not self.consumers[n]]
        if len(sinks) != 1:
            raise ModelError(
                f"{self.source}: {len(sinks)} outputs ({', '.join(sinks[:4])}); expected one."
            )
        sink = sinks[0]
        if self.spatial[sink] is not None:
            raise ModelError(f"{self.source}: output {sink!r} is an image; expected [N, D].")
        self._rename(self.tensors[sink], OUTPUT_NAME)
        used = {name for node in self.onnx_nodes for name in node.input}
        output = helper.make_tensor_value_info(
            OUTPUT_NAME, TensorProto.FLOAT, ["N", self.channels[sink]]
        )
        graph = helper.make_graph(
            self.onnx_nodes,
            "facenet",
            [self.graph_input],
            [output],
            [numpy_helper.from_array(v, k) for k, v in self.initializers.items() if k in used],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="facenet_validate",
            ir_version=8,
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _rename(self, old: str, new: str) -> None:
        for node in self.onnx_nodes:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == old:
                        names[index] = new
                    elif name == new:
                        names[index] = f"{new}/inner"


_HANDLERS: dict[str, Callable[[_Converter, Any], None]] = {
    "Const": _Converter.const,
    "Placeholder": _Converter.placeholder,
    "Conv2D": _Converter.conv,
    "BiasAdd": _Converter.bias_add,
    "Relu": _Converter.relu,
    "MaxPool": _Converter.pool,
    "AvgPool": _Converter.pool,
    "ConcatV2": _Converter.concat,
    "Add": _Converter.binary,
    "AddV2": _Converter.binary,
    "Sub": _Converter.binary,
    "Mul": _Converter.binary,
    "Maximum": _Converter.binary,
    "Reshape": _Converter.reshape,
    "MatMul": _Converter.matmul,
    "FusedBatchNorm": _Converter.batch_norm,
    "FusedBatchNormV2": _Converter.batch_norm,
    "FusedBatchNormV3": _Converter.batch_norm,
    "Square": _Converter.square,
    "Sum": _Converter.reduce_sum,
    "Rsqrt": _Converter.rsqrt,
}
