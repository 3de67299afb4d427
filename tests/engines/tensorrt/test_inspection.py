"""Compiled layers joined with the parsed network; `test_layer_lists` has the forms of lists."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from facenet_validate.engines.tensorrt.inspection import CompiledReport, compiled_report
from facenet_validate.engines.tensorrt.layer_lists import (
    CompiledLayer,
    layers_from_inspector,
    layers_from_log,
)
from facenet_validate.engines.tensorrt.network import MultiplyingLayer

NETWORK = (MultiplyingLayer("conv1", "INT8", 900), MultiplyingLayer("fc", "FLOAT", 100))

_MARK = "\x1e"


def _before_11(inputs: str, weights: str, origin: str) -> dict[str, Any]:
    return {
        "Name": "conv1 + relu1",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Name": "x", "Dimensions": [-1, 32, 8, 8], "Format/Datatype": inputs}],
        "Outputs": [{"Name": "y", "Dimensions": [-1, 32, 8, 8], "Format/Datatype": inputs}],
        "ParameterType": "Convolution",
        "Weights": {"Type": weights, "Count": 9216},
        "TacticName": "sm80_xmma_fprop",
        "Metadata": origin,
    }


def _since_11(inputs: str, weights: str, origin: str) -> dict[str, Any]:
    return {
        "Name": "conv1",
        "LayerType": "correlation",
        "Inputs": [
            {"Name": "x", "Dimensions": [-1, 32, 8, 8], "Datatype": inputs, "Format": "NHWC"}
        ],
        "Constants": [
            {"Name": "w", "Dimensions": [32, 32, 3, 3], "Datatype": weights, "Format": "NHWC"},
            {"Name": "b", "Dimensions": [1, 32, 1, 1], "Datatype": "Float", "Format": "NHWC"},
        ],
        "Outputs": [],
        "Metadata": origin,
    }


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (_before_11("Row major Int8 format", "Int8", f"[ONNX Layer: conv1]{_MARK}"), "INT8"),
        (_before_11("Channel major FP16 format where channel % 8 == 0", "Half",
                    f"[ONNX Layer: relu1]{_MARK}[ONNX Layer: conv1]"), "HALF"),
        (_since_11("Int8", "Int8", "[ONNX Layer: conv1][ONNX Layer: relu1]"), "INT8"),
        (_since_11("Float", "Int8", "[ONNX Layer: conv1]"), "mixed"),
        (_since_11("Float", "Float", "[ONNX Layer: another]"), "FLOAT"),  # by its name
    ],
)  # fmt: skip
def test_the_inspectors_layers_are_joined_with_the_network(
    layer: dict[str, Any], expected: str
) -> None:
    content = json.dumps({"Layers": [layer, "a layer by name only"], "Bindings": ["x", "y"]})
    report = compiled_report(layers_from_inspector(content), NETWORK)
    assert report.layers == 1
    counted = dict(report.multiply_adds_by_type)
    counted["unknown"] = counted.get("unknown", 0) - 100  # fc is in no layer
    assert {name: count for name, count in counted.items() if count} == {expected: 900}


LOG = """Layers:
Name: q_0, LayerType: kgen, Inputs: [ { Name: x, Dimensions: [-1,32,8,8], Strides: [9,1], \
Datatype: Float, Format: (NHWC) Channel major format }], Constants: [ { Name: b, \
Dimensions: [1,32,1,1], Datatype: Float, Format: (Linear) }], Outputs: [], TacticName: t, \
StreamId: 0, Metadata: [ONNX Layer: conv1][ONNX Layer: q]
Name: conv1_1, LayerType: correlation, Inputs: [ { Name: q, Dimensions: [-1,32,8,8], \
Datatype: Int8, Format: (NHWC) Channel major format }], Constants: [ { Name: w, \
Dimensions: [32,32,3,3], Datatype: Int8, Format: (NHWC) Channel major format }, { Name: s, \
Dimensions: [1,32,1,1], Datatype: Float, Format: (NHWC) }], Outputs: [ { Name: y, \
Dimensions: [-1,32,8,8], Datatype: Float, Format: (NHWC) }], TacticName: , StreamId: 0, \
Metadata: [ONNX Layer: conv1][ONNX Layer: weights/DequantizeLinear]
Name: add_2, LayerType: add, Inputs: [ { Name: y, Dimensions: [-1,32,80,80], \
Datatype: Half, Format: (NHWC) }, { Name: x, Dimensions: [-1,32,80,80], Datatype: Half, \
Format: (NHWC) }], Constants: [], Outputs: [], TacticName: , StreamId: 0, \
Metadata: [ONNX Layer: conv1]
Name: scale_3, LayerType: scale, Inputs: [ { Name: y, Dimensions: [-1,32,8,8], \
Datatype: Half, Format: (NHWC) }], Constants: [ { Name: m, Dimensions: [32,32], \
Datatype: Half, Format: (NHWC) }], Outputs: [], TacticName: , StreamId: 0, \
Metadata: [ONNX Layer: conv1]
Name: end, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , \
StreamId: 0, Metadata: \


I/O Tensors:
 Name: x, IOMode: Input, DataType: Float, Dimensions: [-1,32,8,8]
"""


def test_the_builders_list_of_layers_is_read() -> None:
    layers = layers_from_log(LOG)
    assert [layer.kind for layer in layers] == [
        "kgen", "correlation", "add", "scale", "shape_call",
    ]  # fmt: skip
    assert layers[1] == CompiledLayer(
        "conv1_1",
        "correlation",
        "INT8",
        "INT8",
        32 * 32 * 9,
        "",
        ("conv1", "weights/DequantizeLinear"),
    )
    assert [layer.weight_count for layer in layers] == [0, 32 * 32 * 9, 0, 32 * 32, 0]


def test_what_follows_a_convolution_does_not_hide_it() -> None:
    report = compiled_report(layers_from_log(LOG), NETWORK)
    assert report.multiply_adds_by_type == {"INT8": 900, "unknown": 100}
    assert report.int8_share == 0.9
    assert CompiledReport.from_json(json.loads(json.dumps(report.to_json()))) == report


DEQUANTISED = """Layers:
Name: w_0, LayerType: kgen, Inputs: [], Constants: [ { Name: w, Dimensions: [32,32,3,3], \
Datatype: Int8, Format: (NHWC) }], Outputs: [], TacticName: t, StreamId: 0, \
Metadata: [ONNX Layer: conv1]
Name: conv1_1, LayerType: correlation, Inputs: [ { Name: q, Dimensions: [-1,32,8,8], \
Datatype: Half, Format: (NHWC) }, { Name: w, Dimensions: [32,32,3,3], Datatype: Half, \
Format: (NHWC) }], Constants: [ { Name: one, Dimensions: [1], Datatype: Float, Format: (Linear) \
}], Outputs: [], TacticName: , StreamId: 0, Metadata: [ONNX Layer: conv1]
Name: w_1, LayerType: kgen, Inputs: [ { Name: c, Dimensions: [32,32,3,3], Datatype: Int8, \
Format: (NHWC) }], Constants: [ { Name: w, Dimensions: [32,32,3,3], Datatype: Int8, \
Format: (NHWC) }], Outputs: [], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: conv1]
"""


def test_weights_another_layer_dequantised_do_not_make_a_convolution_int8() -> None:
    """As RTX compiles a quantised convolution that a multiplication follows: in FP16."""
    report = compiled_report(layers_from_log(DEQUANTISED), NETWORK)
    assert report.multiply_adds_by_type == {"HALF": 900, "unknown": 100}


@pytest.mark.parametrize(
    ("data", "weights", "kind"),
    [
        ("Int8", "Int8", "INT8"),
        ("FP8", "FP8", "FP8"),
        ("Int4", "Int4", "INT4"),
        ("UInt8", "UInt8", "UINT8"),
        ("FP4", "FP4", "FP4"),
        ("Int8", "Int4", "mixed"),
        ("Int8", "Half", "mixed"),
        ("Nonsense", "Nonsense", "unknown"),
    ],
)
def test_types_are_told_apart(data: str, weights: str, kind: str) -> None:
    """What is told to be another type is not INT8, and not unknown: it fails the share."""
    layer = (
        "Layers:\nName: conv1_1, LayerType: correlation, "
        "Inputs: [ { Name: q, Dimensions: [-1,32,8,8], Datatype: DATA, Format: (NHWC) }], "
        "Constants: [ { Name: w, Dimensions: [32,32,3,3], Datatype: WEIGHTS, Format: (NHWC) }], "
        "Outputs: [], TacticName: , StreamId: 0, Metadata: [ONNX Layer: conv1]\n"
    )
    listed = layers_from_log(layer.replace("DATA", data).replace("WEIGHTS", weights))
    report = compiled_report(listed, NETWORK[:1])
    assert report.multiply_adds_by_type == {kind: 900}


def _layer(name: str, kind: str = "CaskConvolution", **changes: Any) -> CompiledLayer:
    return replace(CompiledLayer(name, kind, "INT8", "INT8", 9216, "", ()), **changes)


@pytest.mark.parametrize(
    "name",
    [
        "conv1",
        "conv1 + relu1",
        "weight + weight/QuantizeLinear + conv1 + relu1",
        "conv1 || conv2",
        "conv2 + relu2 || conv1 + relu1",
        "conv1 + relu1 [profile 1]",
        "conv1_U55_myl0_2",
        "conv2+conv1_myl0_79",
    ],
)
@pytest.mark.parametrize("origin", [(), ("a node that is not in the network",)])
def test_names_are_joined_where_metadata_names_no_layer(name: str, origin: tuple[str, ...]) -> None:
    report = compiled_report([_layer(name, origin=origin)], NETWORK)
    assert report.multiply_adds_by_type == {"INT8": 900, "unknown": 100}


@pytest.mark.parametrize("name", ["conv10", "conv1/relu", "myconv1", "pool1 + relu1"])
def test_another_layers_name_is_not_joined(name: str) -> None:
    report = compiled_report([_layer(name)], NETWORK)
    assert report.multiply_adds_by_type == {"unknown": 1000}


def test_the_compilers_spelling_of_a_name_is_joined() -> None:
    network = (MultiplyingLayer("/encoder/layers.10/key", "INT8", 1),)
    report = compiled_report([_layer("/encoder/layers_10/key_myl0_77", "gemm")], network)
    assert report.multiply_adds_by_type == {"INT8": 1}


def test_metadata_goes_before_the_name() -> None:
    report = compiled_report([_layer("conv1", origin=("fc",))], NETWORK)
    assert report.multiply_adds_by_type == {"unknown": 900, "INT8": 100}


def test_layers_side_by_side_are_all_computed_by_the_one_made_of_them() -> None:
    report = compiled_report([_layer("conv1 || fc", origin=("conv1", "fc"))], NETWORK)
    assert report.multiply_adds_by_type == {"INT8": 1000}


def test_layers_that_convert_are_not_where_a_convolution_is_computed() -> None:
    reformat = _layer("Reformatting CopyNode for Output Tensor 0 to conv1", "Reformat")
    pointwise = _layer("conv1", "PointWiseV2", data="HALF", weights="unknown", weight_count=0)
    report = compiled_report([reformat, pointwise], NETWORK[:1])
    assert report.multiply_adds_by_type == {"unknown": 900}
    report = compiled_report([_layer("conv1"), reformat, pointwise], NETWORK[:1])
    assert report.multiply_adds_by_type == {"INT8": 900}


@pytest.mark.parametrize(
    ("of_profiles", "expected"),
    [
        (["INT8", "INT8"], "INT8"),
        (["INT8", "FLOAT"], "mixed"),
        (["INT8", "unknown"], "unknown"),
        (["unknown", "INT8", "FLOAT"], "mixed"),
    ],
)
def test_a_layer_is_what_it_is_in_every_profile(of_profiles: list[str], expected: str) -> None:
    layers = [
        _layer(f"conv1 [profile {index}]", data=kind, weights=kind)
        for index, kind in enumerate(of_profiles)
    ]
    layers = [replace(one, weights="unknown") if one.data == "unknown" else one for one in layers]
    report = compiled_report(layers, NETWORK[:1])
    assert report.multiply_adds_by_type == {expected: 900}
