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
from facenet_validate.models.frozen.layers import kernel_of_pool, window
from facenet_validate.models.passes import rename_tensor

OPSET = 17

_OPERATORS = {
    "BiasAdd": "Add",
    "Add": "Add",
    "AddV2": "Add",
    "Sub": "Sub",
    "Mul": "Mul",
    "Maximum": "Max",
    "MaxPool": "MaxPool",
    "AvgPool": "AveragePool",
}


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
        _HANDLERS[node.op](converter, node)
    return converter.model()


class _Converter:
    """Writes the ONNX nodes of an inference graph, whose nodes are all checked."""

    def __init__(self, source: str, cut: InferenceGraph) -> None:
        self.source = source
        self.cut = cut
        self.readers = Counter(name for node in cut.graph.node for name in node.input)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.constants: dict[str, NDArray[Any]] = {}
        self.tensors: dict[str, str] = {}
        # Around its last batch norm TensorFlow reshapes [N, D] to [N, 1, 1, D] and back. ONNX needs
        # neither reshape, so a tensor here may have fewer axes than in TensorFlow.
        self.axes: dict[str, int] = {}

    def fail(self, node: Any, why: str) -> ModelError:
        return ModelError(f"{self.source}: node {node.name!r} ({node.op}): {why}.")

    def emit(
        self, node: Any, op: str, *inputs: str, axes: int, suffix: str = "", **attrs: Any
    ) -> str:
        """Write a node and return its output, which has so many axes."""
        output = f"{node.name}{suffix}"
        # Nothing else may have the name of the graph's input; `model` frees that of its output.
        output = f"{output}/layer" if output == INPUT_NAME else output
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attrs))
        self.tensors[node.name] = output
        self.axes[node.name] = axes
        return output

    def weight(self, name: str, value: NDArray[Any]) -> str:
        name = f"{name}/weight" if name in (INPUT_NAME, OUTPUT_NAME) else name
        self.weights[name] = np.array(value, order="C")
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

    def const(self, node: Any) -> None:
        self.constants[node.name] = tensor_value(attributes(node)["value"].tensor, node=node.name)

    def placeholder(self, node: Any) -> None:
        self.tensors[node.name] = INPUT_NAME
        self.axes[node.name] = 4
        _, self.height, self.width, _ = self.cut.shapes[node.name]

    def windowed(self, node: Any, op: str, kernel: tuple[int, int], *weights: str) -> None:
        data = node.input[0]
        at = window(node, self.cut.shapes[data], kernel)
        pads = (*at.before, *at.after)
        inputs = (self.image(node, data), *weights)
        self.emit(node, op, *inputs, axes=4, kernel_shape=kernel, strides=at.strides, pads=pads)

    def conv(self, node: Any) -> None:
        kernel = self.constants[node.input[1]]  # height, width, in, out
        weight = self.weight(node.input[1], kernel.transpose(3, 2, 0, 1))
        self.windowed(node, "Conv", (kernel.shape[0], kernel.shape[1]), weight)

    def pool(self, node: Any) -> None:
        self.windowed(node, _OPERATORS[node.op], kernel_of_pool(node))

    def bias_add(self, node: Any) -> None:
        data, bias = node.input
        made = (n for n in reversed(self.nodes) if n.output[0] == self.tensors[data])
        maker = next(made, None)
        alone = maker is not None and len(maker.input) == 2 and self.readers[data] == 1
        if maker is not None and maker.op_type == "Conv" and alone:
            maker.input.append(self.weight(bias, self.constants[bias]))
            self.alias(node, data)
        else:
            self.binary(node)

    def relu(self, node: Any) -> None:
        (data,) = node.input
        self.emit(node, "Relu", self.tensors[data], axes=self.axes[data])

    def concat(self, node: Any) -> None:
        parts = [self.image(node, part) for part in node.input[:-1]]
        self.emit(node, "Concat", *parts, axes=4, axis=1)

    def binary(self, node: Any) -> None:
        axes = {self.axes[name] for name in node.input if name in self.tensors}
        if len(axes) != 1:
            raise self.fail(node, "joins features and an image")
        (count,) = axes
        operands = [
            self.tensors[name] if name in self.tensors else self.broadcast(node, name, count)
            for name in node.input
        ]
        self.emit(node, _OPERATORS[node.op], *operands, axes=count)

    def broadcast(self, node: Any, name: str, axes: int) -> str:
        """Return a constant that goes with data of so many axes, its channels second."""
        value = self.constants[name]
        if value.size == 1:
            return self.weight(name, value.reshape(()))
        value = value.reshape((1,) * (4 - value.ndim) + value.shape).transpose(0, 3, 1, 2)
        shape = value.shape if axes == 4 else (1, value.shape[1])
        return self.weight(f"{node.name}/operand", value.reshape(shape))

    def features(self, node: Any) -> None:
        """Reshape or squeeze: either another name of [N, D], or the end of the image."""
        data = node.input[0]
        _, *sizes = self.cut.shapes[data]
        _, *target = self.cut.shapes[node.name]
        if self.axes[data] == 2 and target[:-1] in ([], [1, 1]) and target[-1] == sizes[-1]:
            self.alias(node, data)
        elif self.axes[data] == 4 and sizes[:2] == [1, 1] and len(target) == 1:
            self.emit(node, "Flatten", self.tensors[data], axes=2, axis=1)
        else:
            raise self.fail(node, f"a reshape of {sizes} to {target}; expected a 1×1 image")

    def matmul(self, node: Any) -> None:
        data, name = node.input
        weight = self.weight(name, self.constants[name])
        self.emit(node, "MatMul", self.tensors[data], weight, axes=2)

    def batch_norm(self, node: Any) -> None:
        data, *parameters = node.input
        inputs = [self.tensors[data], *(self.weight(p, self.constants[p]) for p in parameters)]
        epsilon = attributes(node)["epsilon"].f
        self.emit(node, "BatchNormalization", *inputs, axes=self.axes[data], epsilon=epsilon)

    def square(self, node: Any) -> None:
        (data,) = node.input
        self.emit(node, "Mul", *[self.tensors[data]] * 2, axes=self.axes[data])

    def total(self, node: Any) -> None:
        data, axes_name = node.input
        axes = self.weight(axes_name, np.array([1], np.int64))
        self.emit(node, "ReduceSum", self.tensors[data], axes, axes=2, keepdims=1)

    def mean(self, node: Any) -> None:
        image = self.image(node, node.input[0])
        if len(self.cut.shapes[node.name]) == 4:
            self.emit(node, "GlobalAveragePool", image, axes=4)
            return
        pooled = self.emit(node, "GlobalAveragePool", image, axes=4, suffix="/pool")
        self.emit(node, "Flatten", pooled, axes=2, axis=1)

    def rsqrt(self, node: Any) -> None:
        (data,) = node.input
        axes = self.axes[data]
        root = self.emit(node, "Sqrt", self.tensors[data], axes=axes, suffix="/sqrt")
        self.emit(node, "Reciprocal", root, axes=axes)

    def pad(self, node: Any) -> None:
        data, amounts_name = node.input
        before, after = self.constants[amounts_name][[0, 3, 1, 2]].T.astype(np.int64)
        amounts = self.weight(amounts_name, np.concatenate([before, after]))
        self.emit(node, "Pad", self.image(node, data), amounts, axes=4)

    # -- the result ------------------------------------------------------------------------

    def model(self) -> onnx.ModelProto:
        embedding, inner = self.tensors[self.cut.output], f"{OUTPUT_NAME}/inner"
        if self.axes[self.cut.output] == 4:
            rename_tensor(self.nodes, OUTPUT_NAME, inner)
            read = inner if embedding == OUTPUT_NAME else embedding
            last = helper.make_node("Flatten", [read], [OUTPUT_NAME], name="flatten", axis=1)
            self.nodes.append(last)
        elif embedding != OUTPUT_NAME:
            rename_tensor(self.nodes, OUTPUT_NAME, inner)
            rename_tensor(self.nodes, embedding, OUTPUT_NAME)
        used = {name for node in self.nodes for name in node.input}
        image: list[str | int | None] = ["N", 3, self.height, self.width]
        rows: list[str | int] = ["N", self.cut.embedding_size]
        graph = helper.make_graph(
            self.nodes,
            "facenet",
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, image)],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, rows)],
            [numpy_helper.from_array(v, k) for k, v in self.weights.items() if k in used],
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(
            graph, opset_imports=[opset], producer_name="facenet_validate", ir_version=8
        )
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ModelError(f"{self.source}: cannot be written as ONNX: {error}") from None
        return model


_HANDLERS: dict[str, Callable[[_Converter, Any], None]] = {
    "Const": _Converter.const,
    "Placeholder": _Converter.placeholder,
    "Conv2D": _Converter.conv,
    "BiasAdd": _Converter.bias_add,
    "Relu": _Converter.relu,
    "ConcatV2": _Converter.concat,
    "MatMul": _Converter.matmul,
    "FusedBatchNorm": _Converter.batch_norm,
    "Square": _Converter.square,
    "Sum": _Converter.total,
    "Mean": _Converter.mean,
    "Rsqrt": _Converter.rsqrt,
    "Pad": _Converter.pad,
    **dict.fromkeys(("MaxPool", "AvgPool"), _Converter.pool),
    **dict.fromkeys(("Reshape", "Squeeze"), _Converter.features),
    **dict.fromkeys(("Add", "AddV2", "Sub", "Mul", "Maximum"), _Converter.binary),
}
