from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.engines.tensorrt.library import Library
from facenet_validate.engines.tensorrt.network import (
    NetworkReport,
    describe_network,
    parse_network,
)
from facenet_validate.errors import EngineError
from facenet_validate.models.network import int8_share, multiply_adds
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import int8_recipe
from tests.models.small_facenet import SIZE, small_facenet


def _described(library: Library, model: onnx.ModelProto) -> NetworkReport:
    network = library.module.Builder(library.logger).create_network(1)
    parser = parse_network(library, network, model.SerializeToString())
    report = describe_network(library, network)
    del parser
    return report


def test_multiply_adds_are_those_of_the_graph(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    expected = multiply_adds(graphs["fp32"])
    for precision, model in graphs.items():
        found = {layer.name: layer.multiply_adds for layer in _described(rtx, model).multiplying}
        assert found == expected, precision


def test_types_of_multiply_adds_are_those_of_the_recipe(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    total = sum(multiply_adds(graphs["fp32"]).values())
    tail = multiply_adds(graphs["fp32"])["bottleneck"]
    by_type = {name: _described(rtx, model).multiply_adds_by_type for name, model in graphs.items()}
    assert by_type == {
        "fp32": {"FLOAT": total},
        "fp16": {"HALF": total - tail, "FLOAT": tail},
        "int8": {"INT8": total - tail, "FLOAT": tail},
    }


def test_a_convolution_left_out_is_not_counted_as_int8(rtx: Library) -> None:
    model = small_facenet()
    images = np.random.default_rng(0).uniform(-1, 1, size=(4, 3, SIZE, SIZE)).astype(np.float32)
    recipe = replace(int8_recipe("tensorrt"), keep=("block35/1b", "reduction/0"))
    made = to_int8(calibrate(model, images, equalized=False), recipe)
    report = _described(rtx, made)
    kept = {layer.name for layer in report.multiplying if layer.type == "FLOAT"}
    assert kept == {"block35/1b", "reduction/0", "bottleneck"}
    assert report.int8_share == int8_share(made)


def _data_only(groups: int) -> onnx.ModelProto:
    """A convolution whose data are quantised, but not its weights."""
    weight = np.ones((8, 4 // groups, 3, 3), np.float32)
    parts = {"scale": np.float32(0.1), "zero": np.int8(0), "weight": weight}
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="d"),
        helper.make_node("Conv", ["d", "weight"], ["embeddings"], name="conv", group=groups),
    ]
    graph = helper.make_graph(
        nodes,
        "data only",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 4, 10, 12])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", 8, 8, 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in parts.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_with_floating_weights_is_not_int8(rtx: Library, groups: int) -> None:
    model = _data_only(groups)
    report = _described(rtx, model)
    assert report.multiply_adds_by_type == {"FLOAT": 8 * (4 // groups) * 9 * 8 * 10}
    assert multiply_adds(model) == {"embeddings": sum(report.multiply_adds_by_type.values())}


def test_layers_are_counted_by_type_without_constants_and_conversions(
    rtx: Library, graphs: Mapping[str, onnx.ModelProto]
) -> None:
    plain, half, quantized = (_described(rtx, graphs[name]) for name in ("fp32", "fp16", "int8"))
    computing = sum(plain.layers_by_type.values())
    assert plain.layers_by_type == {"FLOAT": computing}
    assert sum(half.layers_by_type.values()) == computing
    assert sum(quantized.layers_by_type.values()) == computing
    assert quantized.layers > 2 * plain.layers
    convolutions = sum(node.op_type == "Conv" for node in graphs["fp32"].graph.node)
    assert quantized.layers_by_type["INT8"] >= convolutions


def test_a_report_survives_json(rtx: Library, graphs: Mapping[str, onnx.ModelProto]) -> None:
    report = _described(rtx, graphs["fp16"])
    assert NetworkReport.from_json(json.loads(json.dumps(report.to_json()))) == report
    assert report.inputs[0].shape == (-1, 3, SIZE, SIZE)
    assert report.outputs[0].name == "embeddings"


def _foreign(*names: str) -> onnx.ModelProto:
    values = ["input", *names]
    nodes = [
        helper.make_node("Bogus", [values[i]], [values[i + 1]], name=name, domain="com.acme")
        for i, name in enumerate(names)
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.acme", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_every_parser_error_is_shown_with_its_node(rtx: Library) -> None:
    with pytest.raises(EngineError) as error:
        _described(rtx, _foreign("first", "second"))
    text = str(error.value)
    assert "cannot read the graph" in text
    for name in ("first", "second"):
        assert f"node {name!r} (Bogus): INVALID_NODE: " in text
    assert "Plugin not found" in text


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"garbage", "MODEL_DESERIALIZE_FAILED"), (b"", "a graph without outputs in 0")],
)
def test_what_is_no_graph_is_refused(rtx: Library, content: bytes, says: str) -> None:
    network = rtx.module.Builder(rtx.logger).create_network(1)
    with pytest.raises(EngineError, match=says):
        parse_network(rtx, network, content)
