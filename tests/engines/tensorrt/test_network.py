from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from facenet_validate.base.errors import EngineError
from facenet_validate.cache import Cache
from facenet_validate.engines.tensorrt.library import Library
from facenet_validate.engines.tensorrt.network import (
    MultiplyingLayer,
    NetworkReport,
    describe_network,
    parse_network,
)
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.plans import cached_plan, precision_of
from facenet_validate.models.network import int8_share, multiply_adds
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import Around, int8_recipe
from facenet_validate.models.sources import model_digest
from tests.models.small_engines import copied, named
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


@pytest.mark.parametrize(("around", "kind"), [("fp16", "HALF"), ("fp32", "FLOAT")])
def test_a_convolution_left_out_is_not_counted_as_int8(
    around: Around, kind: str, rtx: Library
) -> None:
    model = small_facenet()
    images = np.random.default_rng(0).uniform(-1, 1, size=(4, 3, SIZE, SIZE)).astype(np.float32)
    recipe = replace(int8_recipe("tensorrt", around), keep=("block35/1b", "reduction/0"))
    made = to_int8(calibrate(model, images, equalized=False), recipe)
    report = _described(rtx, made)
    kept = {layer.name: layer.type for layer in report.multiplying if layer.type != "INT8"}
    assert kept == {"block35/1b": kind, "reduction/0": kind, "bottleneck": "FLOAT"}
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


@pytest.mark.parametrize(
    ("name", "external"), [("", False), ("same", False), ("same", True), (None, True)]
)
def test_a_graph_is_parsed_whatever_its_names_and_wherever_its_weights(
    name: str | None, external: bool, rtx: Library, graphs: Mapping[str, onnx.ModelProto],
    tmp_path: Path,
) -> None:  # fmt: skip
    """TensorRT takes no two nodes of one name, and bytes alone have no folder for weights."""
    model = copied(graphs["int8"]) if name is None else named(graphs["int8"], name)
    path = tmp_path / "mine.onnx"
    onnx.save(model, path, save_as_external_data=external, location="w", size_threshold=64)
    plan = cached_plan(
        rtx,
        path,
        model_digest(path),
        BuildOptions((2,)),
        Cache(tmp_path / "cache"),
        precision="int8",
        gpu=None,
    )
    assert plan.report.int8_share == int8_share(graphs["int8"])


@pytest.mark.parametrize(
    ("by_type", "precision"),
    [
        ({"INT8": 90, "FLOAT": 10}, "int8"),
        ({"FP8": 90, "FLOAT": 10}, "int8"),
        ({"INT4": 60, "HALF": 40}, "int8"),
        ({"HALF": 90, "FLOAT": 10}, "fp16"),
        ({"FLOAT": 90, "FP8": 10}, "fp32"),
        ({"BF16": 90, "FLOAT": 10}, "fp32"),
    ],
)
def test_a_plan_in_other_types_goes_by_int8_s_limits(
    by_type: dict[str, int], precision: str
) -> None:
    """Its share of INT8 is none, and fails it."""
    layers = tuple(MultiplyingLayer(kind, kind, count) for kind, count in by_type.items())
    assert precision_of(NetworkReport(len(layers), {}, layers, (), ())) == precision
