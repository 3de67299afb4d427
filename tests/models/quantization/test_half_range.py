from __future__ import annotations

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.models.quantization.half_range import LARGEST, half_range


def test_the_published_network_fits_fp16(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    found = half_range(prepared_onnx, drawn_batch[:4])
    assert found.headroom > 100
    assert not found.near_overflow
    assert found.peak_node in {node.name for node in prepared_onnx.graph.node}
    assert found.text().startswith(f"largest activation {found.peak:.4g}")


@pytest.mark.parametrize(("factor", "overflows"), [(1e5, True), (1e-7, False)])
def test_a_layer_of_another_scale_is_named(
    factor: float, overflows: bool, prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    scaled = onnx.ModelProto()
    scaled.CopyFrom(prepared_onnx)
    first = next(node for node in scaled.graph.node if node.op_type == "Conv")
    for tensor in scaled.graph.initializer:
        if tensor.name in first.input[1:]:
            value = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    found = half_range(scaled, drawn_batch[:4])
    named = dict(found.near_overflow if overflows else found.near_underflow)
    assert first.name in named
    assert (found.headroom < 8) == overflows
    if overflows:
        assert named[first.name] > LARGEST / 8
    else:
        assert named[first.name] > 0.5
    assert first.name in found.text() or len(named) > 1
