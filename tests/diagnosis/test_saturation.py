"""Integer kernels that saturate at 16 bits, imitated in floating point."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.diagnosis.emulation import emulated
from facenet_validate.diagnosis.matching import Graph
from facenet_validate.diagnosis.saturation import saturated

SIDE, SCALE = 5, 0.02


def _graph(weight: NDArray[np.int8], kind: type[np.integer], zero: int) -> onnx.ModelProto:
    """Return a convolution of dequantised data and weights, padded by one."""
    values = {
        "scale": np.array(SCALE, np.float32),
        "zero": np.array(zero, kind),
        "weight": weight,
        "scales": np.linspace(0.01, 0.03, len(weight), dtype=np.float32),
        "zeros": np.zeros(len(weight), np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["data"]),
        helper.make_node("DequantizeLinear", ["weight", "scales", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["data", "w"], ["y"], pads=[1, 1, 1, 1]),
    ]
    edges = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, None, None])
        for name, channels in (("x", weight.shape[1]), ("y", len(weight)))
    ]
    graph = helper.make_graph(
        nodes, "g", edges[:1], edges[1:], [numpy_helper.from_array(v, n) for n, v in values.items()]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _expected(
    weight: NDArray[np.int8], stored: NDArray[np.int64], zero: int, below: int
) -> NDArray[np.float64]:
    """Return the convolution with every sum of two products clipped to 16 bits, pair by pair.

    Parameters
    ----------
    stored : ndarray of shape (C, H, W)
        The integers; padding is their zero point.
    below : int
        What makes them unsigned.
    """
    outputs, channels, height, width = weight.shape
    padded = np.pad(stored, ((0, 0), (1, 1), (1, 1)), constant_values=zero) + below
    scales = np.linspace(0.01, 0.03, outputs, dtype=np.float32).astype(np.float64)
    made = np.zeros((outputs, SIDE, SIDE))
    for y in range(SIDE):
        for x in range(SIDE):
            data = padded[:, y : y + height, x : x + width].transpose(1, 2, 0).ravel()
            for output in range(outputs):
                row = weight[output].transpose(1, 2, 0).ravel().astype(np.int64)
                products = np.pad(row * data, (0, (len(row)) % 2)).reshape(-1, 2).sum(axis=1)
                total = np.clip(products, -32768, 32767).sum() - (zero + below) * row.sum()
                made[output, y, x] = total * SCALE * scales[output]
    del channels
    return made


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("kind", "zero"), [(np.uint8, 0), (np.uint8, 120), (np.int8, 0)])
def test_each_sum_of_two_products_saturates(
    kind: type[np.integer], zero: int, channels: int
) -> None:
    rng = np.random.default_rng(channels)
    weight = rng.integers(-127, 128, (4, channels, 3, 3)).astype(np.int8)
    limits = np.iinfo(kind)
    stored = rng.integers(limits.min, limits.max + 1, (channels, SIDE, SIDE))
    batch = ((stored - zero) * SCALE).astype(np.float32)[None]
    graph = _graph(weight, kind, zero)
    made = saturated(Graph(graph), batch)
    assert made is not None
    expected = _expected(weight, stored, zero, 128 if kind is np.int8 else 0)
    assert np.allclose(emulated(made, batch)[0], expected, atol=1e-3)
    # And that is not what the graph says.
    assert not np.allclose(emulated(graph, batch)[0], expected, atol=1e-1)


def test_weights_of_7_bits_cannot_saturate() -> None:
    weight = np.full((2, 4, 3, 3), 64, np.int8)
    batch = np.full((1, 4, SIDE, SIDE), 255 * SCALE, np.float32)
    assert saturated(Graph(_graph(weight, np.uint8, 0)), batch) is None


def test_small_values_do_not_saturate() -> None:
    weight = np.full((2, 4, 3, 3), 127, np.int8)
    batch = np.full((1, 4, SIDE, SIDE), 20 * SCALE, np.float32)
    assert saturated(Graph(_graph(weight, np.uint8, 0)), batch) is None
