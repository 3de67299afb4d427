from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.benchmarking.machine import cpu_identity
from facenet_validate.errors import ModelError
from facenet_validate.metrics.parity import row_cosines
from facenet_validate.models.calibration import BINS, activation_ranges, percentile_range
from facenet_validate.models.passes import embedding_tail, fold_scales, name_nodes
from facenet_validate.models.precision import infer_precision, to_fp16, to_int8
from facenet_validate.models.recipes import TARGETS, Target, choose_target, int8_recipe


def _run(model: onnx.ModelProto, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {model.graph.input[0].name: batch})
    return np.asarray(values)


@pytest.fixture(scope="module")
def quantized(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> dict[Target, onnx.ModelProto]:
    ranges = activation_ranges(prepared_onnx, drawn_batch, percentile=99.999)
    return {target: to_int8(prepared_onnx, int8_recipe(target), ranges) for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_int8_is_close_to_fp32(
    target: Target,
    quantized: dict[Target, onnx.ModelProto],
    prepared_onnx: onnx.ModelProto,
    drawn_batch: NDArray[np.float32],
) -> None:
    here, why = choose_target(cpu_identity().flags)
    if (here, target) == ("cpu", "cpu-vnni"):
        pytest.skip(f"8-bit weights saturate here: {why}")
    cosines = row_cosines(_run(prepared_onnx, drawn_batch), _run(quantized[target], drawn_batch))
    assert cosines.min() >= 0.98
    assert cosines.mean() >= 0.995


def test_weights_for_a_cpu_without_vnni_have_seven_bits(
    quantized: dict[Target, onnx.ModelProto],
) -> None:
    extremes = {
        target: max(
            np.abs(numpy_helper.to_array(w).astype(int)).max()
            for w in model.graph.initializer
            if w.data_type == TensorProto.INT8 and len(w.dims) == 4
        )
        for target, model in quantized.items()
    }
    assert extremes["cpu"] <= 64
    assert extremes["cpu-vnni"] > 64


def test_every_convolution_is_quantised_and_the_tail_is_not(
    quantized: dict[Target, onnx.ModelProto],
) -> None:
    model = quantized["cpu-vnni"]
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert [producers[name] for name in node.input] == ["DequantizeLinear"] * 3
        if node.op_type == "MatMul":
            assert producers[node.input[0]] != "DequantizeLinear"


def test_same_images_give_the_same_bytes(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    def build() -> bytes:
        ranges = activation_ranges(prepared_onnx, drawn_batch[:8], percentile=99.999)
        model = to_int8(prepared_onnx, int8_recipe("cpu"), ranges)
        return bytes(model.SerializeToString(deterministic=True))

    assert build() == build()


def test_fp16_is_close_and_its_tail_is_float32(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    model = to_fp16(prepared_onnx)
    cosines = row_cosines(_run(prepared_onnx, drawn_batch), _run(model, drawn_batch))
    assert cosines.min() >= 0.999
    norms = np.linalg.norm(_run(model, drawn_batch).astype(np.float64), axis=1)
    assert np.abs(norms - 1.0).max() <= 1e-6
    assert "Cast" not in [node.op_type for node in embedding_tail(model)]
    onnx.checker.check_model(model, full_check=True)
    types = {w.name: w.data_type for w in model.graph.initializer}
    for node in embedding_tail(prepared_onnx):
        for name in node.input:
            assert types.get(name, TensorProto.FLOAT) in (TensorProto.FLOAT, TensorProto.INT64)
    convolution = next(node for node in model.graph.node if node.op_type == "Conv")
    assert types[convolution.input[1]] == TensorProto.FLOAT16


def test_precision_is_inferred_from_the_graph(
    prepared_onnx: onnx.ModelProto, quantized: dict[Target, onnx.ModelProto]
) -> None:
    assert infer_precision(prepared_onnx) == "fp32"
    assert infer_precision(to_fp16(prepared_onnx)) == "fp16"
    assert infer_precision(quantized["cpu"]) == "int8"


def test_unnamed_nodes_are_named_and_converted(prepared_onnx: onnx.ModelProto) -> None:
    unnamed = onnx.ModelProto()
    unnamed.CopyFrom(prepared_onnx)
    for node in unnamed.graph.node:
        node.name = ""
    with pytest.raises(ModelError, match=r"left the graph in fp32|a cycle or a gap"):
        to_fp16(unnamed)
    name_nodes(unnamed)
    assert infer_precision(to_fp16(unnamed)) == "fp16"


@pytest.mark.parametrize(
    ("operator", "precision"),
    [("QLinearConv", "int8"), ("ConvInteger", "int8"), ("DynamicQuantizeLinear", "int8")],
)
def test_integer_operators_are_int8(operator: str, precision: str) -> None:
    graph = helper.make_graph([helper.make_node(operator, ["x"], ["y"])], "g", [], [])
    assert infer_precision(helper.make_model(graph)) == precision


def test_half_precision_constants_are_fp16() -> None:
    value = numpy_helper.from_array(np.zeros(2, np.float16), "v")
    node = helper.make_node("Constant", [], ["c"], value=value)
    assert infer_precision(helper.make_model(helper.make_graph([node], "g", [], []))) == "fp16"


def test_targets_follow_the_flags() -> None:
    assert choose_target({"avx2", "fma"}) == ("cpu", "the CPU has no VNNI")
    assert choose_target({"avx2", "avx512_vnni"}) == ("cpu-vnni", "the CPU has avx512_vnni")
    assert choose_target({"avx_vnni"})[0] == "cpu-vnni"
    assert choose_target({"asimddp"})[0] == "cpu-vnni"


def _scaled_convolution(uses: int) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[1, 1]),
        helper.make_node("Mul", ["s", "y"], ["z"]),
    ]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4, 2, 2])]
    if uses == 2:
        nodes.append(helper.make_node("Relu", ["y"], ["r"]))
        outputs.append(helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 4, 2, 2]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 2, 2])],
        outputs,
        [
            numpy_helper.from_array(random.normal(size=(4, 3, 1, 1)).astype(np.float32), "w"),
            numpy_helper.from_array(random.normal(size=4).astype(np.float32), "b"),
            numpy_helper.from_array(np.array(0.17, np.float32), "s"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_residual_scale_is_folded_and_changes_nothing() -> None:
    model, folded = _scaled_convolution(1), _scaled_convolution(1)
    assert fold_scales(folded) == 1
    assert [node.op_type for node in folded.graph.node] == ["Conv"]
    onnx.checker.check_model(folded)
    image = np.random.default_rng(1).normal(size=(1, 3, 2, 2)).astype(np.float32)
    np.testing.assert_allclose(_run(model, image), _run(folded, image), rtol=1e-5, atol=1e-6)


def test_a_scale_whose_convolution_has_another_reader_stays() -> None:
    assert fold_scales(_scaled_convolution(2)) == 0


@given(st.integers(0, 2**32 - 1), st.sampled_from([90.0, 99.0, 99.9]))
def test_percentile_range_matches_sorted_values(seed: int, percentile: float) -> None:
    values = np.random.default_rng(seed).normal(size=5000)
    low, high = values.min(), values.max()
    counts, _ = np.histogram(values, bins=BINS, range=(low, high))
    found = percentile_range(counts, low, high, percentile)
    width = (high - low) / BINS
    cut = (100.0 - percentile) / 200.0
    assert (values < found.low - 1e-9).mean() <= cut + 1e-12
    assert (values < found.low + width + 1e-9).mean() >= cut - 1e-12
    assert (values > found.high + 1e-9).mean() <= cut + 1e-12
    assert (values > found.high - width - 1e-9).mean() >= cut - 1e-12


def test_whole_range_is_kept_at_one_hundred_percent() -> None:
    found = percentile_range(np.array([1, 0, 0, 1]), -1.0, 3.0, 100.0)
    assert (found.low, found.high) == (-1.0, 3.0)
