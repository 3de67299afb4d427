"""A Q/DQ graph as integer kernels compute it whose sums of two products saturate at 16 bits.

``VPMADDUBSW`` multiplies 32 unsigned bytes with 32 signed ones and adds the products of neighbours
in 16 bits: a sum beyond 32767 becomes 32767 (Intel, *Intel 64 and IA-32 Architectures Software
Developer's Manual*, volume 2, PMADDUBSW). ONNX Runtime's kernels use it on CPUs with AVX2 and
without VNNI. Neighbours are two input channels at one place of the kernel, since the data lie in
channels-last order.

Only pairs whose weights and data are large enough can saturate: each is computed beside its
convolution, and what it loses is added to the sum.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.diagnosis.emulation import CHUNK, Emulation, Values
from facenet_validate.diagnosis.matching import Graph

_LARGEST, _SMALLEST = 32767.0, -32768.0
_ROOM = 1.25
"""How much larger the data may be where sums before have saturated."""


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution whose data and weights are 8-bit integers.

    Attributes
    ----------
    node : onnx.NodeProto
        The ``Conv``.
    data : str
        The integers that it reads.
    data_scale, data_zero : float
        Scale and zero point of the data, which are signed or unsigned.
    signed : bool
        Whether the data are.
    weight : ndarray of shape (O, I, kh, kw)
        Integers.
    scale : ndarray of shape (O,)
        Of the weights.
    """

    node: onnx.NodeProto
    data: str
    data_scale: float
    data_zero: int
    signed: bool
    weight: NDArray[np.int8]
    scale: NDArray[np.float64]

    def pairs(self, peaks: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the outputs, and the places in `rows`, of the pairs that can saturate.

        Parameters
        ----------
        peaks : ndarray of shape (I,)
            The largest of each channel's data, as unsigned integers.
        """
        rows = self.rows
        largest = np.zeros(rows.shape[1], np.float32)
        largest[: self.weight[0].size] = np.resize(peaks, self.weight[0].size)
        high, low = np.maximum(rows, 0) * largest, np.minimum(rows, 0) * largest
        over = high[:, 0::2] + high[:, 1::2] > _LARGEST
        under = low[:, 0::2] + low[:, 1::2] < _SMALLEST
        outputs, places = np.nonzero(over | under)
        return outputs, places

    @cached_property
    def rows(self) -> NDArray[np.float32]:
        """The weights (O, K) in the order in which they are multiplied, K made even."""
        rows = self.weight.transpose(0, 2, 3, 1).reshape(len(self.weight), -1).astype(np.float32)
        return np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))


def saturated(graph: Graph, batch: Values) -> onnx.ModelProto | None:
    """Return a graph that saturates where such kernels do; None where no sum can.

    Parameters
    ----------
    graph : Graph
        With Q/DQ pairs.
    batch : ndarray of shape (N, 3, H, H)
        The faces that it is to be run with: what their values cannot reach is left out.
    """
    found = {node.output[0]: _convolution(graph, node) for node in graph.nodes}
    known = {name: one for name, one in found.items() if one is not None}
    # Magnitudes up to 64 cannot: 2 · 64 · 255 < 32768.
    known = {name: one for name, one in known.items() if _largest(one.weight) > 64}
    peaks = _peaks(graph, {one.data: one.signed for one in known.values()}, batch)
    made = copy.deepcopy(graph.model)
    nodes: list[onnx.NodeProto] = []
    stored: list[TensorProto] = []
    for node in made.graph.node:
        nodes.append(node)
        one = known.get(node.output[0])
        if one is not None:
            outputs, places = one.pairs(peaks[one.data])
            if len(outputs):
                nodes += _correction(one, node, outputs, places, stored)
    if not stored:
        return None
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    made.graph.initializer.extend(stored)
    return made


def _peaks(
    graph: Graph, signed: Mapping[str, bool], batch: Values
) -> dict[str, NDArray[np.float32]]:
    """Return the largest value of each channel of integer tensors, as unsigned ones."""
    peaks: dict[str, NDArray[np.float32]] = {}
    if not signed:
        return peaks
    run = Emulation(graph.model, list(signed))
    for start in range(0, len(batch), CHUNK):
        tensors = run({graph.image: batch[start : start + CHUNK]})
        for (name, below_zero), values in zip(signed.items(), tensors, strict=True):
            reached = values.max(axis=(0, 2, 3)) + (128.0 if below_zero else 0.0)
            reached = np.minimum(reached * _ROOM, 255.0)
            peaks[name] = np.maximum(reached, peaks.get(name, reached))
    return peaks


def _convolution(graph: Graph, node: onnx.NodeProto) -> _Convolution | None:
    if node.op_type != "Conv" or any(a.name == "group" and a.i != 1 for a in node.attribute):
        return None
    sides = [graph.makers.get(name) for name in node.input[:2]]
    if any(made is None or made.op_type != "DequantizeLinear" for made in sides):
        return None
    data, weights = (made for made in sides if made is not None)
    weight = graph.weights.get(weights.input[0])
    if weight is None or weight.data_type != TensorProto.INT8:
        return None
    step, zero = _value(graph, data.input[1]), _value(graph, data.input[2])
    scale = _value(graph, weights.input[1])
    if step is None or zero is None or scale is None or step.size > 1:
        return None
    integers = numpy_helper.to_array(weight)
    return _Convolution(
        node,
        data.input[0],
        float(step.reshape(-1)[0]),
        int(zero.reshape(-1)[0]),
        zero.dtype == np.int8,
        integers,
        np.broadcast_to(scale.astype(np.float64).reshape(-1), (len(integers),)),
    )


def _largest(weight: NDArray[np.int8]) -> int:
    return max(int(weight.max()), -int(weight.min()))


def _value(graph: Graph, name: str) -> NDArray[np.generic] | None:
    tensor = graph.weight(name)
    return None if tensor is None else numpy_helper.to_array(tensor)


def _correction(
    conv: _Convolution,
    written: onnx.NodeProto,
    outputs: NDArray[np.intp],
    firsts: NDArray[np.intp],
    stored: list[TensorProto],
) -> Iterator[onnx.NodeProto]:
    """Yield the nodes that add what saturation loses to a convolution, which is renamed."""
    output, mark = written.output[0], f"{written.output[0]}/saturated"
    count = len(outputs)
    _, channels, high, wide = conv.weight.shape
    kernels = np.zeros((count, 2, high, wide), np.float32)
    taken = np.zeros((count, 2), np.int64)
    both = np.zeros(count)
    for side in (0, 1):
        place = 2 * firsts + side
        inside = place < channels * high * wide
        position, channel = np.divmod(np.where(inside, place, 0), channels)
        values = np.where(inside, conv.rows[outputs, place], 0.0)
        kernels[np.arange(count), side, position // wide, position % wide] = values
        taken[:, side] = channel
        both += values
    zero = conv.data_zero + (128 if conv.signed else 0)
    spread = np.zeros((len(conv.weight), count, 1, 1), np.float32)
    spread[outputs, np.arange(count), 0, 0] = conv.scale[outputs] * conv.data_scale

    def store(name: str, value: NDArray[np.generic]) -> str:
        stored.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{mark}/{name}"))
        return f"{mark}/{name}"

    def made(kind: str, inputs: list[str], name: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [name], name=f"{name}/node", **attributes)  # type: ignore[arg-type]

    centre = store("zero", np.array(conv.data_zero, np.float32))
    # Padding is the zero point: a zero, once that is taken away.
    yield made("Cast", [conv.data], f"{mark}/raw", to=TensorProto.FLOAT)
    yield made("Sub", [f"{mark}/raw", centre], f"{mark}/centred")
    yield made(
        "Gather", [f"{mark}/centred", store("channels", taken.reshape(-1))], f"{mark}/two", axis=1
    )
    pair = made("Conv", [f"{mark}/two", store("pairs", kernels)], f"{mark}/products", group=count)
    pair.attribute.extend(a for a in written.attribute if a.name not in ("group", "kernel_shape"))
    yield pair
    offset = store("offset", (zero * both).astype(np.float32).reshape(1, -1, 1, 1))
    yield made("Add", [f"{mark}/products", offset], f"{mark}/sums")
    limits = [
        store("least", np.array(_SMALLEST, np.float32)),
        store("most", np.array(_LARGEST, np.float32)),
    ]
    yield made("Clip", [f"{mark}/sums", *limits], f"{mark}/clipped")
    yield made("Sub", [f"{mark}/clipped", f"{mark}/sums"], f"{mark}/lost")
    yield made("Conv", [f"{mark}/lost", store("outputs", spread)], f"{mark}/correction")
    written.output[0] = f"{mark}/exact"
    yield made("Add", [f"{mark}/exact", f"{mark}/correction"], output)
