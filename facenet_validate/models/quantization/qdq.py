"""Writing ``QuantizeLinear`` / ``DequantizeLinear`` pairs into a prepared model."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.models.onnx_session import cpu_session
from facenet_validate.models.passes import set_nodes
from facenet_validate.models.quantization.calibration import (
    Activation,
    ActivationRange,
    activation_range,
)
from facenet_validate.models.quantization.placement import edges_in_8_bits, rounded_ahead
from facenet_validate.models.quantization.recipes import Int8Recipe


def insert_qdq(
    model: onnx.ModelProto, recipe: Int8Recipe, activations: Mapping[str, Activation]
) -> onnx.ModelProto:
    """Return the graph with Q/DQ pairs as a recipe places them.

    Weights are signed, symmetric and per output channel; activations per tensor. The embedding
    tail and the recipe's ``keep`` stay in floating point.

    Parameters
    ----------
    model : onnx.ModelProto
        FP32; equalized already where the recipe says so.
    activations : mapping
        Every tensor's values over the calibration images.
    """
    edges = edges_in_8_bits(model, recipe)
    scales = _scales(model, recipe, activations, {name for _, name in edges})
    if recipe.placement == "tensors" and not recipe.symmetric:
        model = _without_clipping_relus(model, scales)
    writer = _Writer(model, recipe, scales)
    ahead = rounded_ahead(model, recipe, edges)
    for value in model.graph.input:
        writer.after(value.name)
    for node in model.graph.node:
        read = {name for reader, name in edges if reader == node.name}
        writer.add(node, read, activations, rounded=node.name in ahead)
        for name in node.output:
            writer.after(name)
    return writer.model()


@dataclass(frozen=True)
class _Scale:
    """Scale and zero point of a tensor."""

    scale: np.float32
    zero: int


def _scales(
    model: onnx.ModelProto,
    recipe: Int8Recipe,
    activations: Mapping[str, Activation],
    names: set[str],
) -> dict[str, _Scale]:
    """Return the scale of every quantised tensor."""

    def calibrated(name: str) -> _Scale:
        found = activation_range(
            activations[name],
            recipe.method,
            percentile=recipe.percentile,
            symmetric=recipe.symmetric,
        )
        return _scale(found, recipe)

    scales = {v.name: calibrated(v.name) for v in model.graph.input if v.name in names}
    for node in model.graph.node:
        for name in names.intersection(node.output):
            if node.op_type == "MaxPool" and node.input[0] in scales:
                # The pool picks among stored integers, which are not rounded again.
                scales[name] = scales[node.input[0]]
            else:
                scales[name] = calibrated(name)
    return scales


def _without_clipping_relus(
    model: onnx.ModelProto, scales: Mapping[str, _Scale]
) -> onnx.ModelProto:
    """Return a copy without each ``Relu`` whose output is stored unsigned from zero.

    Storing clips negative values. ONNX Runtime fuses a quantised addition only where no node stands
    between it and its ``QuantizeLinear``.
    """
    readers = Counter(name for node in model.graph.node for name in node.input)
    clipped = {
        node.input[0]: node.output[0]
        for node in model.graph.node
        if node.op_type == "Relu"
        and node.output[0] in scales
        and scales[node.output[0]].zero == 0
        and readers[node.input[0]] == 1
    }
    copied = copy.deepcopy(model)
    nodes = copied.graph.node
    for node in nodes:
        for place, name in enumerate(node.output):
            node.output[place] = clipped.get(name, name)
    set_nodes(copied.graph, (n for n in nodes if n.op_type != "Relu" or n.input[0] not in clipped))
    return copied


def _scale(found: ActivationRange, recipe: Int8Recipe) -> _Scale:
    # The scale of a tensor that is zero on every image must be above zero, too.
    smallest = float(np.finfo(np.float32).tiny) * 256
    if recipe.symmetric:
        return _Scale(np.float32(max(found.high, smallest) / 127), 0)
    scale = np.float32(max(found.high - found.low, smallest) / 255)
    return _Scale(scale, int(np.clip(round(-found.low / float(scale)), 0, 255)))


def quantized_weight(
    weight: NDArray[np.float32], bits: int, least: NDArray[np.float64] | float = 0.0
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a convolution's weights as symmetric integers, and their scale by output channel.

    Parameters
    ----------
    weight : ndarray of shape (O, I, H, W)
        Weights.
    bits : int
        7 or 8: magnitudes up to 63 or 127.
    least : ndarray of shape (O,) or float
        Smallest scale of each channel.

    Returns
    -------
    integers : ndarray of shape (O, I, H, W)
    scales : ndarray of shape (O,)
    """
    largest = 2 ** (bits - 1) - 1
    peaks = np.abs(weight).max(axis=(1, 2, 3))
    smallest = np.maximum(least, np.finfo(np.float32).tiny)
    scales = np.maximum(peaks / np.float32(largest), smallest).astype(np.float32)
    integers = np.round(weight / scales[:, None, None, None])
    return np.clip(integers, -largest, largest).astype(np.int8), scales


def mean_error(
    node: onnx.NodeProto, mean: NDArray[np.float64], difference: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the mean error of a convolution, by output channel, for a difference of weights.

    A convolution is linear, so its mean over the images is the convolution of their mean: exact,
    padding included.

    Parameters
    ----------
    node : onnx.NodeProto
        The convolution.
    mean : ndarray of shape (C, H, W)
        Mean of the data it reads.
    difference : ndarray of shape (O, I, H, W)
        Rounded weights less the weights.
    """
    alone = helper.make_node("Conv", ["x", "w"], ["y"])
    alone.attribute.extend(node.attribute)
    graph = helper.make_graph(
        [alone],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *mean.shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(difference, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (values,) = cpu_session(model).run(None, {"x": mean[None].astype(np.float32)})
    found: NDArray[np.float64] = np.asarray(values, np.float64).mean(axis=(0, 2, 3))
    return found


class _Writer:
    """Writes the quantised graph node by node."""

    def __init__(
        self, model: onnx.ModelProto, recipe: Int8Recipe, scales: Mapping[str, _Scale]
    ) -> None:
        self._recipe = recipe
        self._scales = scales
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._stored: dict[str, onnx.TensorProto] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._model = copy.deepcopy(model)

    def after(self, name: str) -> None:
        """Write the pair behind a quantised tensor."""
        if name in self._scales:
            self._pair(name, name, scaled_as=name)

    def _pair(self, name: str, made: str, *, scaled_as: str) -> None:
        found = self._scales[scaled_as]
        parameters = [f"{scaled_as}/scale", f"{scaled_as}/zero_point"]
        integer = np.dtype(self._recipe.activations)
        self._store(parameters[0], np.array(found.scale))
        self._store(parameters[1], np.array(found.zero, integer))
        self._node("QuantizeLinear", [name, *parameters], f"{made}/quantized")
        self._node("DequantizeLinear", [f"{made}/quantized", *parameters], f"{made}/dequantized")

    def add(
        self,
        node: onnx.NodeProto,
        read: set[str],
        activations: Mapping[str, Activation],
        *,
        rounded: bool,
    ) -> None:
        """Write a node that reads some of its tensors dequantised.

        Parameters
        ----------
        rounded : bool
            Whether it is a concatenation whose inputs are rounded with its scale. That is value by
            value, and a multiple of the scale is not rounded again: the pair behind it finds the
            integers that it finds without.
        """
        written = copy.deepcopy(node)
        for place, name in enumerate(node.input):
            if rounded:
                self._pair(name, f"{node.name}/{place}", scaled_as=node.output[0])
                written.input[place] = f"{node.name}/{place}/dequantized"
            elif name in read:
                written.input[place] = f"{name}/dequantized"
            elif name in self._weights:
                self._stored.setdefault(name, self._weights[name])
        if node.op_type == "Conv" and node.name not in self._recipe.keep and node.input[0] in read:
            self._convolution(node, written, activations[node.input[0]])
        self._nodes.append(written)

    def _convolution(self, node: onnx.NodeProto, written: onnx.NodeProto, data: Activation) -> None:
        weight = numpy_helper.to_array(self._weights[node.input[1]])
        bias = np.zeros(len(weight))
        if len(node.input) > 2:
            bias = numpy_helper.to_array(self._weights[node.input[2]]).astype(np.float64)
        # An INT32 bias counts in products of both scales: weights near zero would leave no room.
        unit = float(self._scales[node.input[0]].scale)
        least = np.abs(bias) / unit / 2**29 if self._recipe.placement == "tensors" else 0.0
        integers, scales = quantized_weight(weight, self._recipe.weight_bits, least)
        if self._recipe.bias_corrected:
            rounded = integers.astype(np.float32) * scales[:, None, None, None]
            bias = bias - mean_error(node, data.mean, rounded - weight)
        del written.input[1:]
        written.input.append(self._integers(f"{node.name}/weight", integers, scales))
        if self._recipe.placement != "tensors":
            # TensorRT adds a floating-point bias to the integer sum.
            written.input.append(f"{node.name}/bias")
            self._store(written.input[2], bias.astype(np.float32))
            return
        units = np.maximum(scales * np.float32(unit), np.finfo(np.float32).tiny)
        limits = np.iinfo(np.int32)
        whole = np.clip(np.round(bias / units), limits.min, limits.max).astype(np.int32)
        written.input.append(self._integers(f"{node.name}/bias", whole, units))

    def _integers(
        self, name: str, integers: NDArray[np.integer], scales: NDArray[np.float32]
    ) -> str:
        parts = [f"{name}/quantized", f"{name}/scale", f"{name}/zero_point"]
        self._store(parts[0], integers)
        self._store(parts[1], scales)
        self._store(parts[2], np.zeros(len(scales), integers.dtype))
        self._node("DequantizeLinear", parts, f"{name}/dequantized")
        self._nodes[-1].attribute.append(helper.make_attribute("axis", 0))
        return f"{name}/dequantized"

    def _store(self, name: str, value: NDArray[np.generic]) -> None:
        self._stored[name] = numpy_helper.from_array(np.array(value, order="C"), name)

    def _node(self, op: str, inputs: list[str], output: str) -> None:
        self._nodes.append(helper.make_node(op, inputs, [output], name=f"{output}/{op}"))

    def model(self) -> onnx.ModelProto:
        """Return the graph."""
        graph = self._model.graph
        del graph.initializer[:], graph.value_info[:]
        set_nodes(graph, self._nodes)
        read = {name for node in self._nodes for name in node.input}
        graph.initializer.extend(t for name, t in self._stored.items() if name in read)
        return self._model
