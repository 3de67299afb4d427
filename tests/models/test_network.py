from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.errors import ModelError
from facenet_validate.models.network import blocks, int8_share, multiply_adds, precision_shares
from tests.models.small_engines import (
    constant,
    half_engine,
    int8_engine,
    named,
    stored_in,
    weights_in_constants,
    with_node_first,
    with_nodes,
)
from tests.models.small_facenet import small_facenet


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


# --- what counts as INT8 --------------------------------------------------------------------------

T = TensorProto


@pytest.mark.parametrize(
    ("data", "weights", "expected"),
    [
        (T.UINT8, T.INT8, 1.0),
        (T.INT8, T.INT8, 1.0),
        (T.UINT8, T.UINT8, 1.0),
        (T.INT8, T.UINT8, 1.0),
        (T.UINT16, T.INT8, 0.0),
        (T.INT16, T.INT16, 0.0),
        (T.INT8, T.INT16, 0.0),
        (T.FLOAT8E4M3FN, T.FLOAT8E4M3FN, 0.0),
        (T.FLOAT8E5M2, T.INT8, 0.0),
        (T.INT8, T.INT4, 0.0),
        (T.UINT8, T.UINT4, 0.0),
        (T.INT4, T.INT4, 0.0),
    ],
)
def test_int8_is_what_reads_both_operands_in_8_bits(
    data: int, weights: int, expected: float
) -> None:
    model = stored_in(data, weights)
    onnx.checker.check_model(model, full_check=True)
    assert int8_share(model) == expected


@pytest.mark.parametrize("how", ["zero point", "output_dtype", "annotation"])
def test_a_type_is_what_the_quantising_node_says(how: str) -> None:
    """Not what an annotation claims; without a zero point it is ``output_dtype``."""
    model = stored_in(T.UINT16, T.INT8)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and how == "output_dtype":
            del node.input[2]
            node.attribute.append(helper.make_attribute("output_dtype", T.UINT16))
        elif node.op_type == "DequantizeLinear" and how == "output_dtype":
            zero = node.input.pop()
            if zero.endswith("/zeros"):
                node.input.append(zero)
        elif node.op_type == "QuantizeLinear" and how == "annotation":
            claimed = helper.make_tensor_value_info(node.output[0], T.UINT8, None)
            model.graph.value_info.append(claimed)
    assert int8_share(model) == 0.0


@pytest.mark.parametrize(("data", "expected"), [(T.UINT8, 1.0), (T.UINT16, 0.0)])
def test_a_runtime_s_own_quantising_nodes_are_read_as_the_standard_ones(
    data: int, expected: float
) -> None:
    """As ONNX Runtime writes 16 bits before opset 21."""
    model = stored_in(data, T.INT8)
    model.opset_import[0].version = 17
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            node.domain = "com.microsoft"
    assert int8_share(model) == expected
    assert precision_shares(model).get("UINT16×INT8", 0.0) == 1.0 - expected


@pytest.mark.parametrize(
    ("operator", "types", "domain", "expected"),
    [
        ("QLinearMatMul", (T.UINT8, T.INT8), "", 1.0),
        ("QLinearMatMul", (T.FLOAT8E4M3FN, T.FLOAT8E4M3FN), "", 0.0),
        ("MatMulInteger", (T.UINT8, T.INT8), "", 1.0),
        ("QGemm", (T.UINT8, T.INT8), "com.microsoft", 1.0),
        ("MatMulIntegerToFloat", (T.INT16, T.INT8), "com.microsoft", 0.0),
    ],
)
def test_integer_operators_are_told_by_their_operands(
    operator: str, types: tuple[int, int], domain: str, expected: float
) -> None:
    data, weights = types
    between = ["s", "z"] if operator in ("QLinearMatMul", "QGemm") else []
    after = ["s", "zw", "s", "z"] if operator == "QLinearMatMul" else ["s", "zw"] if between else []
    inputs = ["x", *between, "w", *after]
    if operator == "MatMulIntegerToFloat":
        inputs += ["s", "s"]
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"], domain=domain)],
        "g",
        [helper.make_tensor_value_info("x", data, ["N", 8])],
        [helper.make_tensor_value_info("y", T.UNDEFINED, None)],
        [
            helper.make_tensor("w", weights, [8, 4], [1] * 32),
            helper.make_tensor("s", T.FLOAT, [], [1.0]),
            helper.make_tensor("z", data, [], [0]),
            helper.make_tensor("zw", weights, [], [0]),
        ],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    assert int8_share(helper.make_model(graph, opset_imports=opsets)) == expected


def _moved(made: str, name: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Identity", [made], [name])]


def _turned(made: str, name: str) -> list[onnx.NodeProto]:
    """Turned twice: the same weights."""
    turn = helper.make_node("Transpose", [made], [f"{name}/turned"])
    return [turn, helper.make_node("Transpose", [f"{name}/turned"], [name])]


@pytest.mark.parametrize("behind", [None, _moved, _turned], ids=["Constant", "Identity", "turned"])
def test_weights_in_constant_nodes_count(behind: Any) -> None:
    engine = int8_engine()
    expected = multiply_adds(engine)
    moved = weights_in_constants(engine, behind)
    assert sum(multiply_adds(moved).values()) == sum(expected.values())
    assert int8_share(moved) == int8_share(engine) > 0.9


def test_half_precision_weights_in_constant_nodes_are_fp16() -> None:
    engine = half_engine()
    found = precision_shares(weights_in_constants(engine))
    assert found["fp16"] == precision_shares(engine)["fp16"] == 1.0


def test_weights_that_the_graph_converts_are_of_the_type_they_are_converted_to() -> None:
    model = small_facenet()
    nodes = []
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            kinds = ((node.input[1], T.FLOAT16), (f"{node.input[1]}/half", T.FLOAT))
            for read, to in kinds:
                made = f"{node.input[1]}/half" if to == T.FLOAT16 else f"{node.input[1]}/back"
                nodes.append(helper.make_node("Cast", [read], [made], to=to))
            node.input[1] = f"{node.input[1]}/back"
        nodes.append(node)
    assert precision_shares(with_nodes(model, nodes))["fp32"] == 1.0


def test_what_hides_multiply_adds_is_no_share_of_the_rest() -> None:
    """A layer in a branch, or of a runtime's own, would not be in the total."""
    engine = int8_engine()
    constant(engine, "yes", True)
    body = helper.make_graph(
        [helper.make_node("Identity", ["input"], ["same"])],
        "branch",
        [],
        [helper.make_tensor_value_info("same", T.FLOAT, None)],
    )
    branch = helper.make_node("If", ["yes"], ["unread"], then_branch=body, else_branch=body)
    with pytest.raises(ModelError, match="cannot be counted"):
        int8_share(with_node_first(engine, branch))
    own = helper.make_node("Secret", ["input"], ["unread"], domain="com.example")
    with pytest.raises(ModelError, match="cannot be counted"):
        int8_share(with_node_first(engine, own))


# --- graphs of others: names are missing or equal -------------------------------------------------


@pytest.mark.parametrize("name", ["", "same"], ids=["no names", "equal names"])
def test_layers_need_no_names(name: str) -> None:
    engine, other = int8_engine(), named(int8_engine(), name)
    assert sum(multiply_adds(other).values()) == sum(multiply_adds(engine).values())
    assert precision_shares(other) == precision_shares(engine)
    assert int8_share(other) > 0.9
    model, bare = small_facenet(), named(small_facenet(), name)
    assert [block.nodes for block in blocks(bare)] == [block.nodes for block in blocks(model)]
