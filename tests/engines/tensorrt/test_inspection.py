"""The formats are written after TensorRT's documentation of the engine inspector."""

from __future__ import annotations

import json
from typing import Any

import pytest

from facenet_validate.engines.tensorrt.inspection import (
    CompiledLayer,
    CompiledReport,
    compiled_report,
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
        (_since_11("Float", "Float", "[ONNX Layer: another]"), "unknown"),
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
        ("INT8", "INT8"),
        32 * 32 * 9,
        ("conv1", "weights/DequantizeLinear"),
    )
    assert [layer.weights for layer in layers] == [0, 32 * 32 * 9, 0, 32 * 32, 0]


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


def test_another_format_gives_no_layers() -> None:
    assert layers_from_log("Layers:\nLayer(CaskConvolution): conv1, Tactic: 0x1") == []
