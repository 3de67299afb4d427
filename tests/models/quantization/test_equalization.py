from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.models.quantization.calibration import observe_channels
from facenet_validate.models.quantization.equalization import equalize


def _run(model: onnx.ModelProto, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (values,) = session.run(None, {model.graph.input[0].name: batch})
    return np.asarray(values)


def test_the_equalized_network_is_the_same_function(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    channels = observe_channels(prepared_onnx, drawn_batch[:8])
    equalized, scaled = equalize(prepared_onnx, channels)
    difference = np.abs(_run(prepared_onnx, drawn_batch) - _run(equalized, drawn_batch)).max()
    assert difference <= 1e-6
    seen = observe_channels(equalized, drawn_batch[:8])
    for name, values in scaled.items():
        size = max(np.abs(values.low).max(), np.abs(values.high).max())
        np.testing.assert_allclose(seen[name].high, values.high, atol=1e-4 * size)
        np.testing.assert_allclose(seen[name].mean, values.mean, atol=1e-4 * size)


def test_channels_of_a_tensor_have_like_ranges(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    channels = observe_channels(prepared_onnx, drawn_batch[:8])
    _, scaled = equalize(prepared_onnx, channels)
    relus = [node.output[0] for node in prepared_onnx.graph.node if node.op_type == "Relu"]

    def used(high: NDArray[np.float64]) -> float:
        return float((high / high.max()).mean())

    before = np.mean([used(channels[name].high) for name in relus])
    after = np.mean([used(scaled[name].high) for name in relus])
    assert after > 1.2 * before


def test_the_caller_s_model_is_left_alone(
    prepared_onnx: onnx.ModelProto, drawn_batch: NDArray[np.float32]
) -> None:
    before = prepared_onnx.SerializeToString(deterministic=True)
    equalize(prepared_onnx, observe_channels(prepared_onnx, drawn_batch[:2]))
    assert prepared_onnx.SerializeToString(deterministic=True) == before


def test_shared_weights_and_unknown_operators_keep_the_function() -> None:
    """Two convolutions of one weight, and a Sigmoid, which is not homogeneous, between them."""
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["s"]),
        helper.make_node("Conv", ["s", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w", "b"], ["d"]),
        helper.make_node("Add", ["d", "r"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [
            numpy_helper.from_array(
                (random.normal(size=(3, 3, 1, 1)) * [[[[9.0]]], [[[1.0]]], [[[0.1]]]]).astype(
                    np.float32
                ),
                "w",
            ),
            numpy_helper.from_array(random.normal(size=3).astype(np.float32), "b"),
            numpy_helper.from_array(random.normal(size=(5, 3)).astype(np.float32), "m"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    batch = random.normal(size=(4, 3, 8, 8)).astype(np.float32)
    equalized, _ = equalize(model, observe_channels(model, batch))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in equalized.graph.initializer}
    assert any(
        not np.allclose(value, weights["w"]) for name, value in weights.items() if "w/" in name
    )
    np.testing.assert_allclose(_run(model, batch), _run(equalized, batch), rtol=1e-4, atol=1e-4)
