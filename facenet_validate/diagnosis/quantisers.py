"""The ranges in which an engine's graph rounds activations, beside those that the faces need."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.diagnosis.emulation import CHUNK, Values
from facenet_validate.diagnosis.matching import Edge, Graph
from facenet_validate.diagnosis.sides import ModelTensors, Sides

_SMALLEST = 1e-30
_LEVELS = 255


@dataclass(frozen=True)
class Range:
    """What 8 bits can tell of a tensor.

    Attributes
    ----------
    low, high : float
        The smallest and the largest value that is not clipped, in the engine's unit.
    """

    low: float
    high: float

    @property
    def reach(self) -> float:
        """Largest magnitude."""
        return max(-self.low, self.high)

    @property
    def width(self) -> float:
        """From the lowest to the highest."""
        return self.high - self.low


@dataclass(frozen=True)
class Quantiser:
    """One scale of an engine's graph, and the tensors that are rounded with it.

    Attributes
    ----------
    scale, zero_point : str
        Weights of the graph.
    integer : numpy dtype
        What it rounds to.
    found : Range
        As the graph has it.
    edges : tuple of Edge
        The tensors, on both sides.
    """

    scale: str
    zero_point: str
    integer: np.dtype[np.integer]
    found: Range
    edges: tuple[Edge, ...]

    @property
    def symmetric(self) -> bool:
        """Whether the range reaches as far below zero as above it."""
        return -self.found.low > 0.98 * self.found.high and np.iinfo(self.integer).min < 0

    def fitted(self, needed: Range) -> Range:
        """Return the range of this kind that holds what is needed."""
        reach = max(needed.reach, _SMALLEST)
        return (
            Range(-reach, reach)
            if self.symmetric
            else Range(needed.low, max(needed.high, needed.low + _SMALLEST))
        )


def quantisers(sides: Sides) -> tuple[Quantiser, ...]:
    """Return what rounds the tensors between operators, the image's first.

    Those with a scale for each channel, or with none that is a constant, are left out.
    """
    graph = sides.theirs
    edges: dict[tuple[str, str], dict[Edge, None]] = {}
    every = [edge for one in sides.operators for edge in (*one.read, one.made)]
    for edge in every:
        for node in _roundings(graph, edge.engine):
            if len(node.input) == 3:
                edges.setdefault((node.input[1], node.input[2]), {})[edge] = None
    found = []
    for (scale, zero), of in edges.items():
        step, middle = graph.weight(scale), graph.weight(zero)
        if step is None or middle is None or step.dims not in ([], [1]):
            continue
        place = numpy_helper.to_array(middle)
        size, at = float(numpy_helper.to_array(step).reshape(-1)[0]), int(place.reshape(-1)[0])
        limits = np.iinfo(place.dtype)
        bounds = Range((limits.min - at) * size, (limits.max - at) * size)
        found.append(Quantiser(scale, zero, place.dtype, bounds, tuple(of)))
    return tuple(found)


def _roundings(graph: Graph, tensor: str) -> Iterable[onnx.NodeProto]:
    """Yield the ``QuantizeLinear`` nodes between an operator and a tensor that is read."""
    while (node := graph.makers.get(tensor)) is not None and not graph.kind(node):
        data = graph.data(node)
        if len(data) != 1:
            return
        if node.op_type == "QuantizeLinear":
            yield node
        tensor = data[0]


@dataclass(frozen=True)
class Need:
    """What the faces need of a quantiser.

    Attributes
    ----------
    range : Range
        From the smallest to the largest of the model's values, zero included.
    clipped, rounded : float
        Power that the graph's range clips away, and that its step rounds away, each as a share of
        the tensor's power.
    least : float
        Power that the needed range would round away.
    """

    range: Range
    clipped: float
    rounded: float
    least: float

    @property
    def noise(self) -> float:
        """Power that is lost in all, as a share."""
        return self.clipped + self.rounded


def needs(sides: Sides, every: Iterable[Quantiser], batch: Values) -> list[Need]:
    """Return what a batch of faces (N, 3, H, H) needs of each quantiser, by the FP32 model."""
    every = list(every)
    run = ModelTensors(sides, (edge.reference for one in every for edge in one.edges))
    low, high, power, clipped, count = (np.zeros(len(every)) for _ in range(5))
    for start in range(0, len(batch), CHUNK):
        tensors = run(batch[start : start + CHUNK])
        for place, one in enumerate(every):
            for edge in {edge.reference: edge for edge in one.edges}.values():
                values = sides.divided(tensors[edge.reference], edge.maker)
                low[place] = min(low[place], values.min())
                high[place] = max(high[place], values.max())
                flat = values.ravel()
                power[place] += float(flat @ flat)
                cut = flat - np.clip(flat, one.found.low, one.found.high)
                clipped[place] += float(cut @ cut)
                count[place] += flat.size
    found = []
    for place, one in enumerate(every):
        needed = Range(float(low[place]), float(high[place]))
        shares = count[place] / max(power[place], np.finfo(float).tiny)
        found.append(
            Need(
                needed,
                float(clipped[place] / max(power[place], np.finfo(float).tiny)),
                float((one.found.width / _LEVELS) ** 2 / 12 * shares),
                float((one.fitted(needed).width / _LEVELS) ** 2 / 12 * shares),
            )
        )
    return found


def with_ranges(
    model: onnx.ModelProto, ranges: Iterable[tuple[Quantiser, Range]]
) -> onnx.ModelProto:
    """Return a copy of a graph that rounds in other ranges."""
    made = copy.deepcopy(model)
    new: dict[str, NDArray[np.generic]] = {}
    for one, wanted in ranges:
        limits, fitted = np.iinfo(one.integer), one.fitted(wanted)
        size = fitted.width / (int(limits.max) - int(limits.min) - one.symmetric)
        middle = 0 if one.symmetric else round(limits.min - fitted.low / size)
        new[one.scale], new[one.zero_point] = np.array(size), np.array(middle)
    _store(made, new)
    return made


def _store(model: onnx.ModelProto, values: Mapping[str, NDArray[np.generic]]) -> None:
    """Give weights of a graph new values, in their types and shapes, in place."""
    for tensor in model.graph.initializer:
        if tensor.name in values:
            old = numpy_helper.to_array(tensor)
            value = np.broadcast_to(values[tensor.name], old.shape).astype(old.dtype)
            tensor.CopyFrom(numpy_helper.from_array(np.array(value), tensor.name))
    for node in model.graph.node:
        if node.op_type == "Constant" and node.output[0] in values:
            old = numpy_helper.to_array(node.attribute[0].t)
            value = np.broadcast_to(values[node.output[0]], old.shape).astype(old.dtype)
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array(value)))
