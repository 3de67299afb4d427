from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from facenet_validate.base.errors import ModelError
from facenet_validate.metrics.parity import row_cosines
from facenet_validate.models.network import int8_share
from facenet_validate.models.onnx_session import cpu_session
from facenet_validate.models.passes import embedding_tail
from facenet_validate.models.quantization.calibration import Activation
from facenet_validate.models.quantization.half_around import ROOM, half_around_int8, has_half_scales
from facenet_validate.models.quantization.half_range import LARGEST, SMALLEST_NORMAL
from facenet_validate.models.quantization.int8 import Calibrated, calibrate, to_int8
from facenet_validate.models.quantization.recipes import int8_recipe
from tests.models.small_facenet import SIZE, small_facenet


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, size=(16, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def calibrated(images: NDArray[np.float32]) -> Calibrated:
    return calibrate(small_facenet(), images, equalized=True)


@pytest.fixture(scope="module")
def quantized(calibrated: Calibrated) -> onnx.ModelProto:
    """INT8 with FP32 around it."""
    return to_int8(calibrated, int8_recipe("tensorrt", "fp32"))


def _emulated(model: onnx.ModelProto, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (values,) = session.run(None, {"input": batch})
    return np.asarray(values)


def _types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    found = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    return found | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def test_everything_between_input_and_tail_is_half(quantized: onnx.ModelProto) -> None:
    made = half_around_int8(quantized)
    types = _types(made)
    tail = {node.name for node in embedding_tail(made)}
    for node in made.graph.node:
        if node.op_type == "Cast":
            continue
        floating = {types.get(n, TensorProto.FLOAT) for n in (*node.input, *node.output)}
        floating -= {TensorProto.INT8, TensorProto.INT64}
        expected = TensorProto.FLOAT if node.name in tail else TensorProto.FLOAT16
        assert floating == {expected}, node.name
    casts = [node for node in made.graph.node if node.op_type == "Cast"]
    assert len(casts) == 2
    assert int8_share(made) == int8_share(quantized)


def test_embeddings_stay_close(quantized: onnx.ModelProto, images: NDArray[np.float32]) -> None:
    cosines = row_cosines(
        _emulated(quantized, images), _emulated(half_around_int8(quantized), images)
    )
    assert cosines.min() >= 0.999
    assert np.abs(np.linalg.norm(_emulated(half_around_int8(quantized), images), axis=1) - 1).max(
    ) <= 1e-6  # fmt: skip


def test_the_given_graph_is_not_changed_and_nothing_unread_is_kept(
    quantized: onnx.ModelProto,
) -> None:
    before = quantized.SerializeToString(deterministic=True)
    made = half_around_int8(quantized)
    assert quantized.SerializeToString(deterministic=True) == before
    read = {name for node in made.graph.node for name in node.input}
    assert {tensor.name for tensor in made.graph.initializer} <= read
    again = half_around_int8(quantized)
    assert again.SerializeToString(deterministic=True) == made.SerializeToString(deterministic=True)


def _values(model: onnx.ModelProto, name: str) -> NDArray[np.float64]:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    return numpy_helper.to_array(tensor).astype(np.float64)


def test_scales_that_half_cannot_hold_move_into_the_integers(quantized: onnx.ModelProto) -> None:
    changed = onnx.ModelProto()
    changed.CopyFrom(quantized)
    scale = next(t for t in changed.graph.initializer if t.name == "stem/b/weight/scale")
    values = numpy_helper.to_array(scale).copy()
    values[0] = SMALLEST_NORMAL / 3
    scale.CopyFrom(numpy_helper.from_array(values, scale.name))
    made = half_around_int8(changed)
    integers = [_values(m, "stem/b/weight/quantized") for m in (changed, made)]
    scales = [_values(changed, "stem/b/weight/scale"), _values(made, "stem/b/weight/scale/half")]
    assert scales[1][0] == SMALLEST_NORMAL
    weights = [i * s[:, None, None, None] for i, s in zip(integers, scales, strict=True)]
    # Half a step of the new scale for the raised channel, 2^-11 for all others.
    assert np.abs(weights[1][0] - weights[0][0]).max() <= SMALLEST_NORMAL / 2
    np.testing.assert_allclose(weights[1][1:], weights[0][1:], rtol=2**-11)
    np.testing.assert_array_equal(integers[0][1:], integers[1][1:])


def test_a_scale_of_zeros_does_not_become_zero(quantized: onnx.ModelProto) -> None:
    changed = onnx.ModelProto()
    changed.CopyFrom(quantized)
    scale = next(t for t in changed.graph.initializer if t.name == "block35/concat/scale")
    scale.CopyFrom(numpy_helper.from_array(np.array(1e-36, np.float32), scale.name))
    assert _values(half_around_int8(changed), "block35/concat/scale/half") == SMALLEST_NORMAL


def test_a_bias_beyond_half_is_refused(quantized: onnx.ModelProto) -> None:
    changed = onnx.ModelProto()
    changed.CopyFrom(quantized)
    bias = next(t for t in changed.graph.initializer if t.name == "stem/b/bias")
    values = numpy_helper.to_array(bias).copy()
    values[0] = 1e5
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    with pytest.raises(ModelError, match=r"'stem/b/bias' reaches 1e\+05"):
        half_around_int8(changed)


def test_the_recipe_of_tensorrt_is_such_a_graph(
    calibrated: Calibrated, quantized: onnx.ModelProto
) -> None:
    made = to_int8(calibrated, int8_recipe("tensorrt"))
    assert has_half_scales(made)
    assert not has_half_scales(quantized)
    assert int8_share(made) == int8_share(quantized)
    recipe = replace(int8_recipe("tensorrt"), placement="operands")
    expected = half_around_int8(quantized)
    assert to_int8(calibrated, recipe).graph == expected.graph


def test_the_session_that_emulates_rounds_to_half_before_it_quantises(
    calibrated: Calibrated, images: NDArray[np.float32], tmp_path: Path
) -> None:
    """It computes in FP32, as it has no FP16 kernels. Its optimisations drop no FP16 but within."""
    made = to_int8(calibrated, int8_recipe("tensorrt"))
    entries = {"session.disable_quant_qdq": "1"}
    written = tmp_path / "run.onnx"
    cpu_session(made, entries=entries, optimised=written)
    run = onnx.load(written)
    quantised = [node for node in run.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantised) == sum(node.op_type == "QuantizeLinear" for node in made.graph.node)
    halves = {t.name for t in run.graph.initializer if t.data_type == TensorProto.FLOAT16}
    assert all(node.input[1] in halves for node in quantised)
    literal: Any = ReferenceEvaluator(made).run(None, {"input": images})
    assert row_cosines(literal[0], _emulated(made, images)).min() >= 0.999


def _reaching(calibrated: Calibrated, name: str, peak: float) -> Calibrated:
    before = calibrated.activations[name]
    changed = Activation(before.low, peak, before.counts, before.mean)
    return replace(calibrated, activations={**calibrated.activations, name: changed})


def test_activations_need_room_in_half(calibrated: Calibrated) -> None:
    fits, beyond = (_reaching(calibrated, "stem/b", LARGEST / ROOM * f) for f in (0.99, 1.01))
    to_int8(fits, int8_recipe("tensorrt"))
    to_int8(beyond, int8_recipe("tensorrt", "fp32"))
    with pytest.raises(ModelError) as error:
        to_int8(beyond, int8_recipe("tensorrt"))
    assert str(error.value) == (
        "'stem/b' reaches 8270 on the calibration faces. FP16 ends at 65504; expected room for 8 "
        "times as much. Take FP32 around INT8: --facenet-int8-around fp32, or --around fp32 of "
        "facenet-validate quantize."
    )


def test_the_tail_needs_no_room(calibrated: Calibrated) -> None:
    (name,) = embedding_tail(calibrated.model)[0].output
    to_int8(_reaching(calibrated, name, 1e6), int8_recipe("tensorrt"))
