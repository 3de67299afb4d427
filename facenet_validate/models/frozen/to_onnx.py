"""The inference part of a frozen graph → ONNX.

The graph's NHWC tensors become NCHW, ``BiasAdd`` becomes the bias of the ``Conv`` before it, the
batch dimension becomes dynamic, and the reshapes around the embedding disappear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.base.vocabulary import INPUT_NAME, OUTPUT_NAME
from facenet_validate.models.frozen.graphdef import attributes, tensor_value
from facenet_validate.models.frozen.inference import InferenceGraph
from facenet_validate.models.frozen.layers import Window, kernel_of_pool, window

OPSET = 17

_BINARY = {"Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "Maximum": "Max"}


def inference_onnx(cut: InferenceGraph, *, source: str) -> onnx.ModelProto:
    """Write an inference graph as ONNX.

    Parameters
    ----------
    cut : InferenceGraph
        The graph and its shapes.
    source : str
        What to call the file in an error.

    Returns
    -------
    onnx.ModelProto
        Input ``input`` float32 ``[N, 3, H, W]``, output ``embeddings`` float32 ``[N, D]``.

    Raises
    ------
    ModelError
        If a node of it has no form in ONNX; the node is named.
    """
    converter = _Converter(source, cut)
    for node in cut.graph.node:
        converter.convert(node)
    return converter.model()


class _Converter:
    """Writes the ONNX nodes of an inference graph; every check of it is behind us."""

    def __init__(self, source: str, cut: InferenceGraph) -> None:
        self.source = source
        self.cut = cut
        self.consumers = Counter(name for node in cut.graph.node for name in node.input)
        self.onnx_nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, NDArray[Any]] = {}
        self.constants: dict[str, NDArray[Any]] = {}
        self.tensors: dict[str, str] = {}
        # Around its last batch norm TensorFlow reshapes [N, D] to [N, 1, 1, D] and back; ONNX
        # needs neither, so a tensor's axes may be fewer than its TensorFlow shape has.
        self.axes: dict[str, int] = {}

    def fail(self, node: Any, why: str) -> ModelError:
        return ModelError(f"{self.source}: node {node.name!r} ({node.op}): {why}.")

    def emit(
        self,
        node: Any,
        op: str,
        inputs: list[str],
        *,
        axes: int,
        suffix: str = "",
        attrs: dict[str, Any] | None = None,
    ) -> str:
        output = self.free(f"{node.name}{suffix}")
        self.onnx_nodes.append(helper.make_node(op, inputs, [output], name=output, **(attrs or {})))
        self.tensors[node.name] = output
        self.axes[node.name] = axes
        return output

    def free(self, name: str) -> str:
        """Return a name that is not the graph input's; the output's is sorted out at the end."""
        return f"{name}/layer" if name == INPUT_NAME else name

    def weight(self, name: str, value: NDArray[Any]) -> str:
        name = f"{name}/weight" if name in (INPUT_NAME, OUTPUT_NAME) else name
        self.initializers[name] = np.array(value, order="C")
        return name

    def alias(self, node: Any, name: str) -> None:
        self.tensors[node.name] = self.tensors[name]
        self.axes[node.name] = self.axes[name]

    def image(self, node: Any, name: str) -> str:
        """Return a tensor that a layer reads as an image."""
        if self.axes[name] != 4:
            raise self.fail(node, "reads features that were reshaped to an image")
        return self.tensors[name]

    # -- one method an operator --------------------------------------------------------------

    def convert(self, node: Any) -> None:
        _HANDLERS[node.op](self, node)

    def const(self, node: Any) -> None:
        self.constants[node.name] = tensor_value(attributes(node)["value"].tensor, node=node.name)

    def placeholder(self, node: Any) -> None:
        self.tensors[node.name] = INPUT_NAME
        self.axes[node.name] = 4
        _, self.height, self.width, _ = self.cut.shapes[node.name]

    def windowed(self, node: Any, op: str, data: str, weights: list[str], at: Window) -> None:
        attrs = {
            "kernel_shape": at.kernel,
            "strides": at.strides,
            "pads": (*at.before, *at.after),
        }
        self.emit(node, op, [self.image(node, data), *weights], axes=4, attrs=attrs)

    def conv(self, node: Any) -> None:
        data, kernel_name = node.input
        kernel = self.constants[kernel_name]  # height, width, in, out
        at = window(node, self.cut.shapes[data], (kernel.shape[0], kernel.shape[1]))
        weight = self.weight(kernel_name, kernel.transpose(3, 2, 0, 1))
        self.windowed(node, "Conv", data, [weight], at)

    def pool(self, node: Any) -> None:
        (data,) = node.input
        at = window(node, self.cut.shapes[data], kernel_of_pool(node))
        op = {"MaxPool": "MaxPool", "AvgPool": "AveragePool"}[node.op]
        self.windowed(node, op, data, [], at)

    def bias_add(self, node: Any) -> None:
        data, bias_name = node.input
        made = (n for n in reversed(self.onnx_nodes) if n.output[0] == self.tensors[data])
        producer = next(made, None)
        if (
            producer is not None
            and producer.op_type == "Conv"
            and len(producer.input) == 2
            and self.consumers[data] == 1
        ):
            producer.input.append(self.weight(bias_name, self.constants[bias_name]))
            self.alias(node, data)
            return
        self.binary(node)

    def unary(self, node: Any) -> None:
        (data,) = node.input
        self.emit(node, node.op, [self.tensors[data]], axes=self.axes[data])

    def concat(self, node: Any) -> None:
        *parts, _ = node.input
        inputs = [self.image(node, part) for part in parts]
        self.emit(node, "Concat", inputs, axes=4, attrs={"axis": 1})

    def binary(self, node: Any) -> None:
        data = [name for name in node.input if name in self.tensors]
        axes = {self.axes[name] for name in data}
        if len(axes) != 1:
            raise self.fail(node, "joins features and an image")
        count = axes.pop()
        operands = [
            self.tensors[name] if name in data else self.broadcast(node, name, count)
            for name in node.input
        ]
        self.emit(node, _BINARY.get(node.op, "Add"), operands, axes=count)

    def broadcast(self, node: Any, name: str, axes: int) -> str:
        """Return a constant that goes with data of so many axes, its channels second."""
        value = self.constants[name]
        if value.size == 1:
            return self.weight(name, value.reshape(()))
        value = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(0, 3, 1, 2)
        shape = value.shape if axes == 4 else (1, value.shape[1])
        return self.weight(f"{node.name}/operand", value.reshape(shape))

    def features(self, node: Any) -> None:
        """Reshape, squeeze: either a new name for [N, D], or the end of the image."""
        data = node.input[0]
        _, *sizes = self.cut.shapes[data]
        _, *target = self.cut.shapes[node.name]
        if self.axes[data] == 2 and target[:-1] in ([], [1, 1]) and target[-1] == sizes[-1]:
            self.alias(node, data)
        elif self.axes[data] == 4 and sizes[:2] == [1, 1] and len(target) == 1:
            self.emit(node, "Flatten", [self.tensors[data]], axes=2, attrs={"axis": 1})
        else:
            raise self.fail(node, f"a reshape of {sizes} to {target}; expected a 1×1 image")

    def matmul(self, node: Any) -> None:
        data, name = node.input
        weight = self.weight(name, self.constants[name])
        self.emit(node, "MatMul", [self.tensors[data], weight], axes=2)

    def batch_norm(self, node: Any) -> None:
        data, *parameters = node.input
        epsilon = attributes(node)["epsilon"].f
        weights = [self.weight(name, self.constants[name]) for name in parameters]
        inputs = [self.tensors[data], *weights]
        axes = self.axes[data]
        self.emit(node, "BatchNormalization", inputs, axes=axes, attrs={"epsilon": epsilon})

    def square(self, node: Any) -> None:
        (data,) = node.input
        self.emit(node, "Mul", [self.tensors[data]] * 2, axes=self.axes[data])

    def total(self, node: Any) -> None:
        data, axes_name = node.input
        axes = self.weight(axes_name, np.array([1], np.int64))
        self.emit(node, "ReduceSum", [self.tensors[data], axes], axes=2, attrs={"keepdims": 1})

    def mean(self, node: Any) -> None:
        image = self.image(node, node.input[0])
        if len(self.cut.shapes[node.name]) == 4:
            self.emit(node, "GlobalAveragePool", [image], axes=4)
            return
        pooled = self.emit(node, "GlobalAveragePool", [image], axes=4, suffix="/pool")
        self.emit(node, "Flatten", [pooled], axes=2, attrs={"axis": 1})

    def rsqrt(self, node: Any) -> None:
        (data,) = node.input
        axes = self.axes[data]
        root = self.emit(node, "Sqrt", [self.tensors[data]], axes=axes, suffix="/sqrt")
        self.emit(node, "Reciprocal", [root], axes=axes)

    def pad(self, node: Any) -> None:
        data, amounts_name = node.input
        before, after = self.constants[amounts_name][[0, 3, 1, 2]].T.astype(np.int64)
        amounts = self.weight(amounts_name, np.concatenate([before, after]))
        self.emit(node, "Pad", [self.image(node, data), amounts], axes=4)

    # -- the result ------------------------------------------------------------------------

    def model(self) -> onnx.ModelProto:
        embedding = self.tensors[self.cut.output]
        if self.axes[self.cut.output] == 4:
            last = helper.make_node("Flatten", [embedding], [OUTPUT_NAME], name="flatten", axis=1)
            self._rename(OUTPUT_NAME, f"{OUTPUT_NAME}/inner")
            self.onnx_nodes.append(last)
        else:
            self._rename(embedding, OUTPUT_NAME)
        used = {name for node in self.onnx_nodes for name in node.input}
        size = [self.height, self.width]
        graph = helper.make_graph(
            self.onnx_nodes,
            "facenet",
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["N", 3, *size])],
            [
                helper.make_tensor_value_info(
                    OUTPUT_NAME, TensorProto.FLOAT, ["N", self.cut.embedding_size]
                )
            ],
            [numpy_helper.from_array(v, k) for k, v in self.initializers.items() if k in used],
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="facenet_validate",
            ir_version=8,
        )
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelError(f"{self.source}: cannot be written as ONNX: {error}") from None
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
    "Relu": _Converter.unary,
    "MaxPool": _Converter.pool,
    "AvgPool": _Converter.pool,
    "ConcatV2": _Converter.concat,
    "MatMul": _Converter.matmul,
    "FusedBatchNorm": _Converter.batch_norm,
    "Square": _Converter.square,
    "Sum": _Converter.total,
    "Mean": _Converter.mean,
    "Rsqrt": _Converter.rsqrt,
    "Reshape": _Converter.features,
    "Squeeze": _Converter.features,
    "Pad": _Converter.pad,
} | dict.fromkeys(_BINARY, _Converter.binary)
