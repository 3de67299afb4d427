from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import ModelError
from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.vocabulary import TARGETS, Target
from facenet_validate.metrics.parity import row_cosines
from facenet_validate.models.network import int8_share, multiply_adds
from facenet_validate.models.passes import embedding_tail
from facenet_validate.models.quantization.int8 import Calibrated, calibrate, to_int8
from facenet_validate.models.quantization.precision import infer_precision
from facenet_validate.models.quantization.qdq import mean_error, quantized_weight
from facenet_validate.models.quantization.recipes import Around, choose_target, int8_recipe
from tests.models.small_facenet import SIZE, small_facenet


def _run(
    model: onnx.ModelProto, batch: NDArray[np.float32], *, emulated: bool = False
) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    if emulated:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (values,) = session.run(None, {model.graph.input[0].name: batch})
    return np.asarray(values)


@pytest.fixture(scope="module")
def calibrated(prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]) -> Calibrated:
    return calibrate(prepared_onnx, drawn_batch, equalized=True)


@pytest.fixture(scope="module")
def quantized(calibrated: Calibrated) -> dict[Target, onnx.ModelProto]:
    return {target: to_int8(calibrated, int8_recipe(target)) for target in TARGETS}


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
    found = _run(quantized[target], drawn_batch, emulated=target == "tensorrt")
    cosines = row_cosines(_run(prepared_onnx, drawn_batch), found)
    assert cosines.min() >= 0.99
    assert cosines.mean() >= 0.9985


@pytest.mark.parametrize("target", TARGETS)
def test_graphs_are_valid_and_all_their_convolutions_are_integer(
    target: Target, quantized: dict[Target, onnx.ModelProto]
) -> None:
    model = quantized[target]
    onnx.checker.check_model(model, full_check=True)
    assert infer_precision(model) == "int8"
    assert int8_share(model) > 0.999
    tail = {node.name for node in embedding_tail(model)}
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.name in tail:
            assert "DequantizeLinear" not in [producers.get(name) for name in node.input]


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
    assert extremes == {"cpu": 63, "cpu-vnni": 127, "tensorrt": 127}


@pytest.mark.parametrize("target", ["cpu", "cpu-vnni"])
def test_onnx_runtime_fuses_every_layer_into_an_integer_kernel(
    target: Target, quantized: dict[Target, onnx.ModelProto], tmp_path: Path
) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    ort.InferenceSession(
        quantized[target].SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    fused = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    assert (fused["QLinearConv"], fused["QLinearAdd"], fused["QLinearConcat"]) == (132, 21, 23)
    # The image in, and the pooled features out.
    assert (fused["QuantizeLinear"], fused["DequantizeLinear"]) == (1, 1)


@pytest.mark.parametrize(
    ("around", "bias", "concatenated"),
    [("fp16", TensorProto.FLOAT16, {"DequantizeLinear"}), ("fp32", TensorProto.FLOAT, set())],
)
def test_tensorrt_gets_symmetric_signed_operands_it_can_fuse(
    around: Around, bias: int, concatenated: set[str], calibrated: Calibrated
) -> None:
    model = to_int8(calibrated, int8_recipe("tensorrt", around))
    producers = {name: node for node in model.graph.node for name in node.output}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    additions = concatenations = 0
    for node in model.graph.node:
        made_by = [producers[n].op_type for n in node.input if n in producers]
        match node.op_type:
            case "QuantizeLinear":
                zero = initializers[node.input[2]]
                assert zero.data_type == TensorProto.INT8
                assert not numpy_helper.to_array(zero).any()
            case "Conv":
                assert made_by == ["DequantizeLinear"] * 2
                assert initializers[node.input[2]].data_type == bias
            case "Add":
                additions += 1
                assert sorted(made_by) == ["Conv", "DequantizeLinear"]
            case "Concat":
                concatenations += 1
                assert {*made_by} & {"DequantizeLinear"} == concatenated
                assert not concatenated or {*made_by} == concatenated
    assert (additions, concatenations) == (21, 23)


@pytest.mark.parametrize("around", ["fp16", "fp32"])
def test_rounding_ahead_of_concatenations_gives_the_same_embeddings_bit_for_bit(
    around: Around, calibrated: Calibrated, drawn_batch: NDArray[np.float32]
) -> None:
    """With one scale a concatenation's inputs round to the integers that its output rounds to."""
    recipe = replace(int8_recipe("tensorrt"), around=around)
    assert recipe.placement == "operands and concatenated"
    ahead, behind = (
        to_int8(calibrated, replace(recipe, placement=placement))
        for placement in (recipe.placement, "operands")
    )
    inputs = sum(len(n.input) for n in calibrated.model.graph.node if n.op_type == "Concat")
    assert _pairs(ahead) == _pairs(behind) + inputs
    np.testing.assert_array_equal(
        _run(ahead, drawn_batch, emulated=True), _run(behind, drawn_batch, emulated=True)
    )


def _pairs(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "QuantizeLinear" for node in model.graph.node)


def test_a_concatenation_that_is_read_unrounded_is_not_rounded_ahead(
    calibrated: Calibrated,
) -> None:
    """The nodes that `keep` leaves in floating point read what they read in FP32."""
    nodes = calibrated.model.graph.node
    readers = {
        concat.name: [node.name for node in nodes if concat.output[0] in node.input]
        for concat in nodes
        if concat.op_type == "Concat"
    }
    name = next(name for name, found in readers.items() if len(found) > 1)
    made = to_int8(calibrated, replace(int8_recipe("tensorrt"), keep=(readers[name][0],)))
    makers = {output: maker.op_type for maker in made.graph.node for output in maker.output}
    rounded = {
        node.name: {makers[read] for read in node.input} == {"DequantizeLinear"}
        for node in made.graph.node
        if node.op_type == "Concat"
    }
    assert [other for other in rounded if not rounded[other]] == [name]


def test_a_kept_convolution_stays_in_floating_point(
    calibrated: Calibrated, quantized: dict[Target, onnx.ModelProto]
) -> None:
    first = next(node.name for node in calibrated.model.graph.node if node.op_type == "Conv")
    kept = to_int8(calibrated, replace(int8_recipe("tensorrt"), keep=(first,)))
    node = next(node for node in kept.graph.node if node.name == first)
    assert node.input[0] == "input/half"
    types = {tensor.name: tensor.data_type for tensor in kept.graph.initializer}
    assert {types[name] for name in node.input[1:]} == {TensorProto.FLOAT16}
    counted = multiply_adds(calibrated.model)
    lost = int8_share(quantized["tensorrt"]) - int8_share(kept)
    assert lost == pytest.approx(counted[first] / sum(counted.values()))


def test_a_node_to_keep_that_is_not_there_is_named(calibrated: Calibrated) -> None:
    with pytest.raises(ModelError, match="'conv_that_is_not' in floating point"):
        to_int8(calibrated, replace(int8_recipe("cpu"), keep=("conv_that_is_not",)))


def test_same_images_give_the_same_bytes(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    def build() -> bytes:
        made = calibrate(prepared_onnx, drawn_batch[:8], equalized=True)
        return bytes(to_int8(made, int8_recipe("cpu")).SerializeToString(deterministic=True))

    assert build() == build()


def test_rounded_weights_are_nearest_and_within_their_bits() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    weight[2] = 0.0
    for bits, largest in ((7, 63), (8, 127)):
        integers, scales = quantized_weight(weight, bits)
        assert np.abs(integers.astype(int)).max() == largest
        error = np.abs(integers * scales[:, None, None, None] - weight)
        assert (error <= scales[:, None, None, None] / 2 * (1 + 1e-5)).all()
        assert not integers[2].any()


def test_mean_error_is_the_mean_over_images_padding_included() -> None:
    random = np.random.default_rng(1)
    images = random.normal(size=(6, 3, 7, 7)).astype(np.float32) + 1.0
    difference = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], strides=[2, 2])
    found = mean_error(node, images.astype(np.float64).mean(axis=0), difference)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 7, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(difference, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    expected = _run(model, images).mean(axis=(0, 2, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_bias_correction_brings_the_mean_embedding_closer(
    calibrated: Calibrated, prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    """Of 7-bit weights, whose rounding errs most."""
    recipe = replace(int8_recipe("cpu"), placement="operands", activations="int8")
    reference = _run(prepared_onnx, drawn_batch)

    def loss(corrected: bool) -> float:
        made = to_int8(calibrated, replace(recipe, bias_corrected=corrected))
        return float(1 - row_cosines(reference, _run(made, drawn_batch, emulated=True)).mean())

    assert loss(True) < loss(False)


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_unread_is_kept_and_the_graph_is_small(
    target: Target,
    quantized: dict[Target, onnx.ModelProto],
    prepared_onnx: onnx.ModelProto,
) -> None:
    model = quantized[target]
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read
    assert model.ByteSize() < prepared_onnx.ByteSize() / 3
    assert not model.metadata_props


def _small(silent: bool) -> tuple[onnx.ModelProto, NDArray[np.float32]]:
    model = small_facenet()
    if silent:
        # A pruned channel, or a batch norm's gamma of zero: all it gives is its bias.
        for tensor in model.graph.initializer:
            if tensor.name in ("block35/0/weight", "block35/0/bias"):
                value = numpy_helper.to_array(tensor).copy()
                value[1] = 2.0 if tensor.name.endswith("bias") else 0.0
                tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    random = np.random.default_rng(0)
    return model, random.uniform(-1, 1, size=(16, 3, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("silent", [False, True])
def test_a_channel_without_weights_keeps_its_bias(target: Target, silent: bool) -> None:
    model, images = _small(silent)
    made = to_int8(calibrate(model, images, equalized=True), int8_recipe(target))
    cosines = row_cosines(_run(model, images), _run(made, images, emulated=True))
    assert cosines.mean() >= 0.998


def test_signed_storage_keeps_its_relus() -> None:
    model, images = _small(silent=False)
    recipe = replace(int8_recipe("cpu"), activations="int8", weight_bits=8)
    made = to_int8(calibrate(model, images, equalized=True), recipe)
    relus = [sum(n.op_type == "Relu" for n in m.graph.node) for m in (model, made)]
    assert relus[0] == relus[1]
    assert row_cosines(_run(model, images), _run(made, images, emulated=True)).mean() >= 0.998


def test_a_network_without_a_bottleneck_keeps_its_norm_in_float32() -> None:
    model = small_facenet()
    nodes = [node for node in model.graph.node if node.op_type != "Gemm"]
    for node in nodes:
        for place, name in enumerate(node.input):
            if name == "bottleneck":
                node.input[place] = "flatten"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    tail = [node.op_type for node in embedding_tail(model)]
    assert tail[0] == "Mul"
    assert "Flatten" not in tail
    assert "ReduceSum" in tail
