from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from facenet_validate.errors import ModelError
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
    assert names == [
        "stem",
        *(f"residual {i:02}" for i in range(1, 6)),
        "reduction 01",
        *(f"residual {i:02}" for i in range(6, 16)),
        "reduction 02",
        *(f"residual {i:02}" for i in range(16, 22)),
        "pool",
    ]
    kinds = {node.name: node.op_type for node in prepared_onnx.graph.node}
    assert [kinds[name] for name in found[1].nodes] == ["Conv"] * 6 + ["Concat", "Conv", "Add"]
    convolutions = [name for block in found for name in block.nodes if kinds[name] == "Conv"]
    assert len(convolutions) == len(set(convolutions)) == 132


def test_two_branches_that_are_only_added_are_no_block() -> None:
    """However many there are: paths are walked once."""
    nodes, x = [], "x"
    for index in range(30):
        left, right = f"left{index}", f"right{index}"
        nodes += [
            helper.make_node("Conv", [x, "w"], [left], left),
            helper.make_node("Conv", [x, "w"], [right], right),
            helper.make_node("Add", [left, right], [f"sum{index}"], f"sum{index}"),
        ]
        x = f"sum{index}"
    weights = numpy_helper.from_array(np.zeros((3, 3, 1, 1), np.float32), "w")
    values = [helper.make_tensor_value_info(n, 1, ["N", 3, 8, 8]) for n in ("x", x)]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weights])
    (found,) = blocks(helper.make_model(graph))
    assert (found.name, len(found.nodes)) == ("stem", 60)


def test_a_layer_behind_a_runtime_s_own_operator_is_not_counted_but_named() -> None:
    nodes = [
        helper.make_node("Secret", ["x"], ["y"], domain="com.microsoft"),
        helper.make_node("Conv", ["y", "w"], ["z"], "conv"),
    ]
    weights = numpy_helper.from_array(np.zeros((3, 3, 1, 1), np.float32), "w")
    values = [helper.make_tensor_value_info(n, 1, ["N", 3, None, None]) for n in ("x", "z")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weights])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    with pytest.raises(ModelError, match="size of what Conv 'z' gives is not known"):
        multiply_adds(helper.make_model(graph, opset_imports=opsets))


def test_a_float_graph_has_nothing_in_int8(prepared_onnx: onnx.ModelProto) -> None:
    assert int8_share(prepared_onnx) == 0.0
