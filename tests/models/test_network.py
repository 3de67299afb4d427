from __future__ import annotations

import onnx
import pytest

from facenet_validate.models.network import blocks, int8_share, multiply_adds


def test_multiply_adds_of_the_published_network(prepared_onnx: onnx.ModelProto) -> None:
    """2.85 GFLOP an image is what the field counts; two of them make a multiply-add."""
    counted = multiply_adds(prepared_onnx)
    assert len(counted) == 133
    assert 2 * sum(counted.values()) == pytest.approx(2.85e9, rel=0.01)


def test_first_layer_by_hand(prepared_onnx: onnx.ModelProto) -> None:
    first = next(node.name for node in prepared_onnx.graph.node if node.op_type == "Conv")
    # 160 pixels, a window of 3, stride 2, no padding: 79 places a side.
    assert multiply_adds(prepared_onnx)[first] == 79 * 79 * 32 * 3 * 3 * 3


def test_blocks_are_those_of_inception_resnet_v1(prepared_onnx: onnx.ModelProto) -> None:
    found = blocks(prepared_onnx)
    names = [block.name for block in found]
    assert names[0] == "stem"
    assert sum(name.startswith("residual") for name in names) == 5 + 10 + 6
    assert [name for name in names if name.startswith("reduction")] == [
        "reduction 01",
        "reduction 02",
    ]
    assert [len(block.nodes) for block in found] == ([6] + [8] * 5 + [4] + [6] * 10 + [7] + [6] * 6)


def test_a_float_graph_has_nothing_in_int8(prepared_onnx: onnx.ModelProto) -> None:
    assert int8_share(prepared_onnx) == 0.0
