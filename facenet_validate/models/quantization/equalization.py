"""Cross-layer equalization: the same function, with channels of like ranges.

A tensor is quantised with one scale, so a channel whose values are small keeps few of the 256
levels. Every operator between two convolutions of this network is positively homogeneous by
channel (``Relu``, pools, ``Concat``, ``Add`` of equal factors), so a channel may be divided by any
positive factor where it is made, if its readers' weights are multiplied by it (Nagel et al.,
*Data-Free Quantization through Weight Equalization and Bias Correction*, ICCV 2019).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facenet_validate.models.passes import whole
from facenet_validate.models.quantization.calibration import ChannelValues

Factors = NDArray[np.float64]

_BY_CHANNEL = {"Relu", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten"}
_STRENGTH = 0.5
_SMALLEST = 1e-4


def equalize(
    model: onnx.ModelProto, channels: Mapping[str, ChannelValues]
) -> tuple[onnx.ModelProto, dict[str, ChannelValues]]:
    """Return the same network with channels of like ranges, and the values of its channels.

    The factor of a channel is ``r**0.5 / w**0.5``: r its largest magnitude where it is quantised,
    w the largest weight that reads it, relative to its reader's largest (Xiao et al.,
    *SmoothQuant*, ICML 2023, eq. 4, at its default strength of 0.5).

    Parameters
    ----------
    model : onnx.ModelProto
        The prepared model.
    channels : mapping
        The result of `observe_channels` for it.
    """
    equalized = copy.deepcopy(model)
    _unshare_weights(equalized)
    groups = _channel_groups(equalized)
    factors = _factors(equalized, groups, channels)
    _apply(equalized, groups, factors)
    scaled = dict(channels)
    for name, group in groups.of.items():
        values, factor = channels[name], factors[group]
        places = factor.reshape(-1, *[1] * (values.mean.ndim - 1))
        scaled[name] = ChannelValues(
            values.low / factor, values.high / factor, values.mean / places
        )
    return equalized, scaled


@dataclass(frozen=True)
class _Groups:
    """Channels that must share a factor.

    Attributes
    ----------
    of : dict
        Tensor name → the group of each of its channels, shape (C,).
    fixed : ndarray
        Groups whose factor is one, such as the image's.
    count : int
        Upper bound of the number of groups.
    """

    of: dict[str, NDArray[np.intp]]
    fixed: NDArray[np.intp]
    count: int


def _channel_groups(model: onnx.ModelProto) -> _Groups:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    count = 0

    def fresh(channels: int) -> NDArray[np.intp]:
        nonlocal count
        count += channels
        return np.arange(count - channels, count)

    image = fresh(3)
    of = {model.graph.input[0].name: image}
    fixed = [image]
    added = [(image, image)]
    for node in model.graph.node:
        read = [of[name] for name in node.input if name in of]
        if node.op_type == "Conv":
            of[node.output[0]] = fresh(weights[node.input[1]].dims[0])
        elif node.op_type in _BY_CHANNEL and read:
            of[node.output[0]] = read[0]
        elif node.op_type == "Concat" and len(read) == len(node.input):
            of[node.output[0]] = np.concatenate(read)
        elif node.op_type == "Add" and len(read) == 2 and len(read[0]) == len(read[1]):
            added.append((read[0], read[1]))
            of[node.output[0]] = read[0]
        elif node.op_type not in ("MatMul", "Gemm"):
            # An operator that may not keep a factor must see the values as they were.
            fixed.extend(read)
    left, right = (np.concatenate(side) for side in zip(*added, strict=True))
    links = coo_array((np.ones(len(left)), (left, right)), shape=(count, count))
    groups = connected_components(links, directed=False)[1].astype(np.intp)
    return _Groups(
        {name: groups[channels] for name, channels in of.items()},
        groups[np.concatenate(fixed)],
        count,
    )


def _factors(
    model: onnx.ModelProto, groups: _Groups, channels: Mapping[str, ChannelValues]
) -> Factors:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    ranges, reading = np.zeros(groups.count), np.zeros(groups.count)
    for node in model.graph.node:
        if node.op_type in ("Conv", "Add"):
            for name in node.input:
                if name in groups.of:
                    values = channels[name]
                    magnitude = np.maximum(-values.low, values.high)
                    np.maximum.at(ranges, groups.of[name], magnitude)
        if node.op_type == "Conv" and node.input[0] in groups.of:
            weight = np.abs(numpy_helper.to_array(weights[node.input[1]]).astype(np.float64))
            largest = np.maximum(weight.max(axis=(1, 2, 3), keepdims=True), np.finfo(float).tiny)
            relative = (weight / largest).max(axis=(0, 2, 3))
            np.maximum.at(reading, groups.of[node.input[0]], relative)
    factors = np.ones(groups.count)
    used = (ranges > 0) & (reading > 0)
    factors[used] = ranges[used] ** _STRENGTH / reading[used] ** (1 - _STRENGTH)
    if used.any():
        # Without a bound, the weights of a nearly silent channel would grow without one.
        factors = np.maximum(factors, _SMALLEST * np.median(factors[used]))
    factors[groups.fixed] = 1.0
    return factors


def _unshare_weights(model: onnx.ModelProto) -> None:
    """Give every reader of a shared weight its own copy: each reader's factors differ."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if node.op_type not in ("Conv", "MatMul", "Gemm"):
            continue
        for place, name in enumerate(node.input[1:], start=1):
            if name in taken:
                node.input[place] = f"{name}/{index}"
                copied = model.graph.initializer.add()
                copied.CopyFrom(weights[name])
                copied.name = node.input[place]
            taken.add(name)


def _apply(model: onnx.ModelProto, groups: _Groups, factors: Factors) -> None:
    weights = {tensor.name: tensor for tensor in model.graph.initializer}

    def store(name: str, value: NDArray[np.float64]) -> None:
        weights[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))

    for node in model.graph.node:
        if node.op_type not in ("Conv", "MatMul", "Gemm"):
            continue
        read = np.ones(1)
        if node.input[0] in groups.of:
            read = factors[groups.of[node.input[0]]]
        weight = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
        if node.op_type == "Conv":
            made = factors[groups.of[node.output[0]]]
            store(node.input[1], weight / made[:, None, None, None] * read[None, :, None, None])
            if len(node.input) > 2:
                bias = numpy_helper.to_array(weights[node.input[2]]).astype(np.float64)
                store(node.input[2], bias / made)
        else:
            across = read[None, :] if whole(node, "transB") else read[:, None]
            store(node.input[1], weight * across)
