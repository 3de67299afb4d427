"""A FaceNet of a few thousand random weights: all of the structure, none of the 94 MB."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.models.exported.normalisation import append_norm

SIZE = 32
EMBEDDING = 16
CHANNELS = 20
"""Of the pooled features."""


class Builder:
    """Nodes and weights of a graph; a weight's values depend on its name alone."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def add(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def weight(self, name: str, value: NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def random(self, name: str, shape: tuple[int, ...]) -> str:
        scale = 1.5 / np.sqrt(np.prod(shape[1:], initial=1.0))
        value = np.random.default_rng(crc32(name.encode())).normal(scale=scale, size=shape)
        return self.weight(name, value.astype(np.float32))

    def conv(
        self, data: str, name: str, channels: tuple[int, int], kernel: tuple[int, int] = (1, 1),
        *, stride: int = 1, pads: tuple[int, int] = (0, 0), relu: bool = True,
    ) -> str:  # fmt: skip
        read, given = channels
        weight = self.random(f"{name}/weight", (given, read, *kernel))
        bias = self.random(f"{name}/bias", (given,))
        inputs = [data, weight, bias]
        made = self.add(
            "Conv", inputs, name, kernel_shape=kernel, strides=[stride] * 2, pads=[*pads, *pads]
        )
        return self.add("Relu", [made], f"{name}/relu") if relu else made

    def block(self, data: str, name: str, channels: int, *, relu: bool = True) -> str:
        """Two branches, concatenated, projected and added: an Inception-ResNet block."""
        first = self.conv(data, f"{name}/0", (channels, 4))
        second = self.conv(data, f"{name}/1a", (channels, 4))
        second = self.conv(second, f"{name}/1b", (4, 4), (1, 3), pads=(0, 1))
        second = self.conv(second, f"{name}/1c", (4, 4), (3, 1), pads=(1, 0))
        both = self.add("Concat", [first, second], f"{name}/concat", axis=1)
        up = self.conv(both, f"{name}/up", (8, channels), relu=False)
        total = self.add("Add", [up, data], f"{name}/add")
        return self.add("Relu", [total], f"{name}/relu") if relu else total


def small_facenet(size: int = SIZE) -> onnx.ModelProto:
    """Return a prepared model: ``input`` [N, 3, size, size] → ``embeddings`` [N, 16]."""
    b = Builder()
    side = size
    for _ in range(3):  # the strides below
        side = (side - 3) // 2 + 1
    x = b.conv("input", "stem/a", (3, 8), (3, 3), stride=2)
    x = b.add("MaxPool", [x], "stem/pool", kernel_shape=[3, 3], strides=[2, 2])
    x = b.conv(x, "stem/b", (8, 12))
    x = b.block(x, "block35", 12)
    reduced = b.conv(x, "reduction/0", (12, 8), (3, 3), stride=2)
    pooled = b.add("MaxPool", [x], "reduction/1", kernel_shape=[3, 3], strides=[2, 2])
    x = b.add("Concat", [reduced, pooled], "reduction", axis=1)
    x = b.block(x, "block17", CHANNELS)
    x = b.block(x, "block8", CHANNELS, relu=False)
    x = b.add("AveragePool", [x], "pool", kernel_shape=[side, side])
    x = b.add("Flatten", [x], "flatten", axis=1)
    weight = b.random("bottleneck/weight", (CHANNELS, EMBEDDING))
    x = b.add("Gemm", [x, weight, b.random("bottleneck/bias", (EMBEDDING,))], "bottleneck")
    norm, constants = append_norm(x, "embeddings")
    graph = helper.make_graph(
        [*b.nodes, *norm],
        "small",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", EMBEDDING])],
        [*b.weights, *constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
