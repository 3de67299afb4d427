from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
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
    with_sides,
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


def _branching(engine: onnx.ModelProto, layer: bool) -> onnx.ModelProto:
    """Choose between two branches of the image, which may hold a layer, and read the chosen."""
    constant(engine, "yes", True)
    constant(engine, "mixing", np.ones((3, 3, 1, 1), np.float32))
    read = ["input", "mixing"] if layer else ["input"]
    node = helper.make_node("Conv" if layer else "Identity", read, ["same"], "within")
    same = helper.make_tensor_value_info("same", T.FLOAT, None)
    body = helper.make_graph([node], "branch", [], [same])
    branch = helper.make_node("If", ["yes"], ["chosen"], then_branch=body, else_branch=body)
    return _read_first(engine, branch, "chosen")


def _read_first(engine: onnx.ModelProto, node: onnx.NodeProto, made: str) -> onnx.ModelProto:
    for other in engine.graph.node:
        for place, name in enumerate(other.input):
            other.input[place] = made if name == "input" else name
    return with_node_first(engine, node)


def test_what_hides_multiply_adds_is_no_share_of_the_rest() -> None:
    """A layer in a branch, or of a runtime's own, would not be in the total."""
    with pytest.raises(ModelError, match=r"'within' \(Conv\) in a branch .* cannot be counted"):
        int8_share(_branching(int8_engine(), layer=True))
    own = helper.make_node("Secret", ["input"], ["own"], "own", domain="com.example")
    with pytest.raises(ModelError, match=r"'own' \(Secret\) .*cannot be counted"):
        int8_share(_read_first(int8_engine(), own, "own"))


def test_what_multiplies_nothing_hides_nothing() -> None:
    """A branch without a layer, and what no output needs."""
    engine = int8_engine()
    assert precision_shares(_branching(engine, layer=False)) == precision_shares(int8_engine())
    own = helper.make_node("Secret", ["input"], ["unread"], domain="com.example")
    beside = with_node_first(int8_engine(), own)
    beside.opset_import.append(helper.make_opsetid("com.example", 1))
    assert precision_shares(beside) == precision_shares(int8_engine())
    wide = stored_in(T.UINT16, T.INT8)
    assert precision_shares(_branching(wide, layer=False))["UINT16×INT8"] == 1.0


def test_layers_that_no_output_needs_do_not_count() -> None:
    """They would raise the share of whatever they are in."""
    model = small_facenet()
    constant(model, "padding", np.ones((900, 3, 1, 1), np.int8))
    constant(model, "bytes", np.ones((1, 3, 64, 64), np.int8))
    for read in ("bytes", "integers"):
        node = helper.make_node("ConvInteger", [read, "padding"], [f"unread {read}"])
        model = with_node_first(model, node)
    cast = helper.make_node("Cast", ["input"], ["integers"], to=T.INT8)
    assert int8_share(with_node_first(model, cast)) == 0.0


def test_sizes_behind_the_quantised_operators_of_onnx_runtime_are_known() -> None:
    """``quantize_static`` writes them in its format QOperator, without shapes."""
    model = stored_in(T.UINT8, T.INT8)
    one = [constant(model, "one", np.float32(0.01)), constant(model, "none", np.uint8(0))]
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        name = node.name
        if node.op_type in ("Concat", "Add"):
            stored = []
            for read in node.input:
                stored += [f"{name}/{read}/8", *one]
                nodes.append(helper.make_node("QuantizeLinear", [read, *one], [stored[-3]]))
            read = [*one, *stored] if node.op_type == "Concat" else [*stored, *one]
            made = helper.make_node(
                f"QLinear{node.op_type}", read, [f"{name}/made"], domain="com.microsoft"
            )
            made.attribute.extend(node.attribute)
            back = helper.make_node("DequantizeLinear", [f"{name}/made", *one], [node.output[0]])
            nodes += [made, back]
        else:
            nodes.append(node)
    assert {"QLinearAdd", "QLinearConcat"} <= {node.op_type for node in nodes}
    assert int8_share(with_nodes(model, nodes)) == 1.0


def _data_through(operator: str, data: int, **attributes: Any) -> onnx.ModelProto:
    """Put a node between the dequantised data and each convolution."""
    model = stored_in(data, T.INT8)
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            made = f"{node.name}/between"
            nodes.append(helper.make_node(operator, [node.input[0]], [made], **attributes))
            node.input[0] = made
        nodes.append(node)
    return with_nodes(model, nodes)


@pytest.mark.parametrize(("data", "kind"), [(T.UINT8, "int8"), (T.UINT16, "UINT16×INT8")])
def test_the_largest_of_integers_is_an_integer(data: int, kind: str) -> None:
    """Backends pool the integers and compute the convolution in their type."""
    pooled = _data_through("MaxPool", data, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    assert precision_shares(pooled)[kind] == 1.0


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}), ("Sqrt", {})],
)
def test_what_is_computed_from_dequantised_data_is_no_integer(
    operator: str, attributes: dict[str, Any]
) -> None:
    computed = _data_through(operator, T.UINT8, **attributes)
    assert precision_shares(computed)["fp32"] > 0.9


# --- layers that are written as products ----------------------------------------------------------


def _left(b: _Pointwise) -> None:
    """MatMul(weights, pixels)."""
    pixels = b.add("Reshape", [b.read, b.whole("columns", -1, b.weights.shape[1], b.places)])
    made = b.add("MatMul", [b.given("w", b.weights), pixels])
    b.add("Reshape", [made, b.whole("planes", -1, *b.made)], last=True)


def _rows(b: _Pointwise) -> str:
    planes = b.add("Transpose", [b.read], perm=[0, 2, 3, 1])
    return b.add("Reshape", [planes, b.whole("rows", -1, b.weights.shape[1])])


def _planes(b: _Pointwise, rows: str) -> None:
    channels, height, width = b.made
    pixels = b.add("Reshape", [rows, b.whole("pixels", -1, height, width, channels)])
    b.add("Transpose", [pixels], last=True, perm=[0, 3, 1, 2])


def _gemm(b: _Pointwise) -> None:
    _planes(b, b.add("Gemm", [_rows(b), b.given("w", b.weights.T)]))


def _matmul(b: _Pointwise) -> None:
    _planes(b, b.add("MatMul", [_rows(b), b.given("w", b.weights.T)]))


def _gemm_left(b: _Pointwise) -> None:
    columns = b.add("Gemm", [b.given("w", b.weights), _rows(b)], transB=1)
    _planes(b, b.add("Transpose", [columns], perm=[1, 0]))


def _convolution_of_rows(b: _Pointwise) -> None:
    """Each place an image of its own."""
    points = b.add("Reshape", [_rows(b), b.whole("points", -1, b.weights.shape[1], 1, 1)])
    made = b.add("Conv", [points, b.given("w", b.weights[:, :, None, None])])
    _planes(b, made)


class _Pointwise:
    """Nodes in the place of a 1×1 convolution, with weights in FP32."""

    def __init__(
        self, model: onnx.ModelProto, node: onnx.NodeProto, weights: Any, made: tuple[int, ...]
    ) -> None:
        self.model, self.node, self.read = model, node, node.input[0]
        self.weights, self.made, self.places = weights[:, :, 0, 0], made[1:], made[2] * made[3]
        self.nodes: list[onnx.NodeProto] = []

    def given(self, name: str, value: Any) -> str:
        return constant(self.model, f"{self.node.name}/{name}", np.ascontiguousarray(value))

    def whole(self, name: str, *sides: int) -> str:
        return self.given(name, np.array(sides, np.int64))

    def add(self, op: str, read: list[str], *, last: bool = False, **attributes: Any) -> str:
        made = self.node.output[0] if last else f"{self.node.name}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, read, [made], **attributes))
        return made


def _pointwise_as(write: Callable[[_Pointwise], None]) -> tuple[onnx.ModelProto, float]:
    """Return an INT8 engine with other FP32 nodes for its 1×1 convolutions, and their share."""
    model, small = stored_in(T.UINT8, T.INT8), small_facenet()
    weights = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    read = {n.output[0]: n.input[1] for n in small.graph.node if n.op_type == "Conv"}
    inferred = onnx.shape_inference.infer_shapes(small).graph.value_info
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in inferred}
    counted = {made: weights[w].size * int(np.prod(shapes[made][2:])) for made, w in read.items()}
    pointwise = {made for made, w in read.items() if weights[w].shape[2:] == (1, 1)}
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        made = node.output[0]
        if made in pointwise:
            builder = _Pointwise(model, node, weights[read[made]], shapes[made])
            write(builder)
            nodes += builder.nodes
        else:
            nodes.append(node)
    total = sum(counted.values()) + weights["bottleneck/weight"].size
    return with_nodes(model, nodes), sum(counted[made] for made in pointwise) / total


@pytest.mark.parametrize("batch", [None, 8], ids=["dynamic", "fixed"])
@pytest.mark.parametrize("write", [_left, _gemm, _matmul, _gemm_left, _convolution_of_rows])
def test_a_layer_counts_however_it_is_written(
    write: Callable[[_Pointwise], None], batch: int | None
) -> None:
    model, expected = _pointwise_as(write)
    if batch is not None:
        model = with_sides(model, [batch, 3, 32, 32], [batch, 16])
    assert expected > 0.2
    assert precision_shares(model)["fp32"] == pytest.approx(expected)
    assert int8_share(model) == pytest.approx(1 - expected)
    assert sum(multiply_adds(model).values()) == sum(multiply_adds(small_facenet()).values())


@pytest.mark.parametrize("left", [True, False], ids=["weights first", "weights second"])
def test_a_product_of_unknown_size_is_named(left: bool) -> None:
    """How many rows there are only a run tells."""
    model = int8_engine()
    constant(model, "w", np.ones((4, 4), np.float32))
    constant(model, "back", np.array([-1, 3, 32, 32], np.int64))
    read = ["w", "columns"] if left else ["rows", "w"]
    nodes = [
        helper.make_node("NonZero", ["input"], ["found"]),
        helper.make_node("Cast", ["found"], ["columns"], to=T.FLOAT),
        helper.make_node("Transpose", ["columns"], ["rows"]),
        helper.make_node("MatMul", read, ["product"], "open"),
    ]
    model.graph.output.append(helper.make_tensor_value_info("product", T.FLOAT, None))
    with pytest.raises(ModelError, match=r"'open' \(MatMul\) multiplies are not known"):
        int8_share(with_nodes(model, [*nodes, *model.graph.node]))


def test_a_product_of_activations_counts() -> None:
    model = small_facenet()
    constant(model, "flat", np.array([-1, 3, 1024], np.int64))
    nodes = [
        helper.make_node("Reshape", ["input", "flat"], ["colours"]),
        helper.make_node("Transpose", ["colours"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["colours", "turned"], ["product"]),
    ]
    model.graph.output.append(helper.make_tensor_value_info("product", T.FLOAT, None))
    counted = multiply_adds(with_nodes(model, [*nodes, *model.graph.node]))
    assert counted.get("product") == 3 * 3 * 1024


# --- graphs of others: names are missing or equal -------------------------------------------------


@pytest.mark.parametrize("name", ["", "same"], ids=["no names", "equal names"])
def test_layers_need_no_names(name: str) -> None:
    engine, other = int8_engine(), named(int8_engine(), name)
    assert sum(multiply_adds(other).values()) == sum(multiply_adds(engine).values())
    assert precision_shares(other) == precision_shares(engine)
    assert int8_share(other) > 0.9
    model, bare = small_facenet(), named(small_facenet(), name)
    assert [block.nodes for block in blocks(bare)] == [block.nodes for block in blocks(model)]
