"""Lists of layers in the form of each version.

TensorRT for RTX 1.7 wrote those of ``layer_lists/`` for our small network. The others are written
by hand in forms that public output shows; `fake_listing` says which output.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facenet_validate.engines.tensorrt.layer_lists import (
    CompiledLayer,
    layers_from_inspector,
    layers_from_log,
)
from tests.engines.tensorrt.fake_listing import N_A

LISTS = Path(__file__).parent / "layer_lists"

KERNEL = (
    "Name: stem/conv + stem/relu, LayerType: CaskConvolution, Inputs: [ { Name: x, Location: "
    "Device, Dimensions: [64,3,160,160], Format/Datatype: Half }], Outputs: [ { Name: y, Location: "
    "Device, Dimensions: [64,32,79,79], Format/Datatype: Half }], ParameterType: Convolution, "
    "Kernel: [3,3], PaddingMode: kEXPLICIT_ROUND_DOWN, PrePadding: [0,0], PostPadding: [0,0], "
    'Stride: [2,2], Dilation: [1,1], OutMaps: 32, Groups: 1, Weights: {"Type": "Half", "Count": '
    '864}, Bias: {"Type": "Half", "Count": 32}, HasBias: 1, HasReLU: 1, Activation: RELU, '
    "TacticName: sm90_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc, TacticValue: "
    "0x00000000000003e8, StreamId: 0, Metadata: [ONNX Layer: stem/conv]\x1e[ONNX Layer: stem/relu]"
)
"""A convolution as 10.x logs it."""

TACTIC = "sm90_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_nhwc"
STEM = CompiledLayer(
    "stem/conv + stem/relu",
    "CaskConvolution",
    "HALF",
    "HALF",
    864,
    TACTIC,
    ("stem/conv", "stem/relu"),
)
INT8_FORMAT = "Thirty-two wide channel vectorized row major Int8 format"
INT8_TACTIC = "sm90_xmma_fprop_implicit_gemm_i8i8_i8i32_f32_nhwckrsc_nhwc"


def _log(line: str) -> CompiledLayer:
    (layer,) = layers_from_log(f"Layers:\n{line}\n\nBindings:\nx\ny\n")
    return layer


def test_a_kernel_of_10_is_read() -> None:
    assert _log(KERNEL) == STEM
    assert STEM.computes_in == "HALF"


@pytest.mark.parametrize(
    ("metadata", "origin"),
    [
        (", Metadata: [ONNX Layer: a][ONNX Layer: b]", ("a", "b")),
        (", Metadata: [ONNX Layer: a]\N{REPLACEMENT CHARACTER}[ONNX Layer: b]", ("a", "b")),
        (", Metadata: [ONNX Layer: (Unnamed) [Convolution]]", ("(Unnamed) [Convolution]",)),
        (", Metadata: [ONNX Layer: pre[0]/conv]\x1e[ONNX Layer: b]", ("pre[0]/conv", "b")),
        (", Metadata: ", ()),
        ("", ()),
    ],
)
def test_metadata_may_be_missing_empty_or_name_several_nodes(
    metadata: str, origin: tuple[str, ...]
) -> None:
    line = KERNEL[: KERNEL.index(", Metadata")] + metadata
    assert _log(line) == replace(STEM, origin=origin)


@pytest.mark.parametrize(
    ("changes", "data", "weights", "computes_in"),
    [
        ({}, "HALF", "HALF", "HALF"),
        ({"Format/Datatype: Half": f"Format/Datatype: {N_A}"}, "unknown", "HALF", "HALF"),
        (
            {"Half": "Int8", "Format/Datatype: Half": f"Format/Datatype: {INT8_FORMAT}"},
            "INT8",
            "INT8",
            "INT8",
        ),
        ({"Datatype: Half": "Datatype: Int8"}, "INT8", "HALF", "mixed"),
        ({"Half": "Float", TACTIC: "sm80_xmma_f32f32_f32f32_f32_x"}, "FLOAT", "FLOAT", "FLOAT"),
    ],
    ids=["fp16", "fp16, dynamic", "int8", "int8 data, fp16 weights", "fell back to fp32"],
)
def test_the_precisions_of_a_line(
    changes: dict[str, str], data: str, weights: str, computes_in: str
) -> None:
    line = KERNEL
    for old in sorted(changes, key=len, reverse=True):
        line = line.replace(old, changes[old])
    layer = _log(line)
    assert (layer.data, layer.weights, layer.computes_in) == (data, weights, computes_in)


@pytest.mark.parametrize(
    ("inputs", "data", "weights", "computes_in"),
    [
        (
            "{ Name: x, Dimensions: [1,4096], Format/Datatype: Half }, { Name: __mye595_dconst, "
            "Dimensions: [4096,1000], Format/Datatype: Half }, { Name: __mye574_alpha, "
            "Dimensions: [1], Format/Datatype: Float }",
            "HALF",
            "HALF",
            "HALF",
        ),
        ("{ Name: x, Dimensions: [1,40,1024], Format/Datatype: Half }", "HALF", "unknown", "HALF"),
        (
            f"{{ Name: x, Dimensions: [-1,9], Format/Datatype: {N_A} }}",
            "unknown",
            "unknown",
            "HALF",
        ),
    ],
    ids=["weights are an input", "weights are not listed", "nothing but the kernel's name"],
)
def test_a_product_of_10s_compiler_is_read(
    inputs: str, data: str, weights: str, computes_in: str
) -> None:
    layer = _log(
        f"Name: fc_myl9_4, LayerType: gemm, Inputs: [ {inputs}], Outputs: [ {{ Name: y, "
        "Dimensions: [1,1000], Format/Datatype: Half }], TacticName: "
        "sm80_xmma_gemm_f16f16_f16f16_f16_nn_n_tilesize32x32x64_stage6, StreamId: 0, Metadata: "
        "[ONNX Layer: fc][ONNX Layer: add]"
    )
    assert (layer.data, layer.weights, layer.computes_in) == (data, weights, computes_in)
    assert layer.multiplies
    assert layer.origin == ("fc", "add")


@pytest.mark.parametrize(
    "odd",
    ["PWN(PWN(a), b) + {ForeignNode[c...d]} + (Unnamed Layer* 1) [Convolution]", "closed) + conv"],
)
def test_names_may_have_brackets_commas_and_pluses(odd: str) -> None:
    line = KERNEL.replace("stem/conv + stem/relu", odd).replace("Name: x,", f"Name: {odd},")
    assert _log(line) == replace(STEM, name=odd)


def test_a_residual_input_is_not_taken_for_weights() -> None:
    """In a static profile it has fixed dimensions, as weights have, and more values."""
    tensor = "{ Name: NAME, Dimensions: SHAPE, Datatype: TYPE, Format: (NHWC) }"

    def listed(kind: str) -> CompiledLayer:
        inputs = ", ".join(
            tensor.replace("NAME", name).replace("SHAPE", shape).replace("TYPE", dtype)
            for name, shape, dtype in (
                ("x", "[64,32,17,17]", "Int8"),
                ("residual", "[64,32,17,17]", "Float"),
                ("w", "[32,32,3,3]", "Int8"),
            )
        )
        return _log(
            f"Name: up, LayerType: {kind}, Inputs: [ {inputs}], Constants: [], Outputs: [], "
            "TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: [ONNX Layer: up]"
        )

    assert listed("correlation").computes_in == "INT8"
    added = listed("add")
    assert (added.weight_count, added.multiplies) == (0, False)


@pytest.mark.parametrize(("precision", "expected"), [("fp16", "HALF"), ("int8", "INT8")])
def test_what_rtx_really_logs_is_read(precision: str, expected: str) -> None:
    layers = layers_from_log((LISTS / f"rtx_1_7_{precision}.txt").read_text())
    assert len(layers) == 7
    products = [layer for layer in layers if layer.multiplies]
    convolutions, (bottleneck,) = products[:-1], products[-1:]
    assert len(convolutions) >= 2
    assert {layer.kind for layer in convolutions} == {"correlation"}
    assert {layer.computes_in for layer in convolutions} == {expected}
    assert (bottleneck.kind, bottleneck.computes_in) == ("gemm", "FLOAT")
    assert {layer.tactic for layer in products} == {"__myelin_CASK_STUB"}
    assert convolutions[0].origin[0] == "stem/a"
    assert "shape_call" in {layer.kind for layer in layers}


def _json_10(data: str, weights: str, tactic: str) -> dict[str, Any]:
    """A convolution in the inspector's JSON of 8.6 to 10.x."""
    return {
        "Name": "stem/conv + stem/relu",
        "LayerType": "CaskConvolution",
        "Inputs": [
            {
                "Name": "x",
                "Location": "Device",
                "Dimensions": [-1, 3, 160, 160],
                "Format/Datatype": data,
            }
        ],
        "Outputs": [],
        "ParameterType": "Convolution",
        "Weights": {"Type": weights, "Count": 864},
        "TacticName": tactic,
        "StreamId": 0,
        "Metadata": "[ONNX Layer: stem/conv]\x1e[ONNX Layer: stem/relu]",
    }


def _json_11(data: str, weights: str, tactic: str) -> dict[str, Any]:
    """A convolution as 11.x has it: the type beside the format, weights among the constants."""

    def tensor(shape: list[int], dtype: str) -> dict[str, Any]:
        return {"Name": "t", "Dimensions": shape, "Datatype": dtype, "Format": "(NHWC)"}

    return {
        "Name": "stem/conv + stem/relu",
        "LayerType": "CaskConvolution",
        "Inputs": [tensor([-1, 3, 160, 160], data)],
        "Constants": [tensor([32, 3, 3, 3], weights), tensor([1, 32, 1, 1], "Float")],
        "Outputs": [],
        "TacticName": tactic,
        "StreamId": 0,
        "Metadata": "[ONNX Layer: stem/conv][ONNX Layer: stem/relu]",
    }


FLOAT_TACTIC = "sm80_xmma_fprop_implicit_gemm_indexed_f32f32_f32f32_f32_nhwckrsc_nhwc_ffma"
SILENT = "__myelin_CASK_STUB"


@pytest.mark.parametrize(
    ("entry", "computes_in"),
    [
        (_json_10("Channel major FP16 format where channel % 8 == 0", "Half", TACTIC), "HALF"),
        (_json_10(INT8_FORMAT, "Int8", INT8_TACTIC), "INT8"),
        (_json_10("Row major linear FP32", "Float", FLOAT_TACTIC), "FLOAT"),
        (_json_10("Row major linear FP32", "Int8", INT8_TACTIC), "mixed"),
        (_json_10(N_A, "Half", TACTIC), "HALF"),
        (_json_10(N_A, "Int8", INT8_TACTIC), "INT8"),
        (_json_10(N_A, "Float", FLOAT_TACTIC), "FLOAT"),
        (_json_10(N_A, "Half", SILENT), "unknown"),
        (_json_10(N_A, "Int8", SILENT), "unknown"),
        (_json_10(N_A, "Float", SILENT), "FLOAT"),
        (_json_10(N_A, "Half", INT8_TACTIC), "unknown"),
        (_json_10(N_A, "Float", INT8_TACTIC), "unknown"),
        (_json_11("Half", "Half", TACTIC), "HALF"),
        (_json_11("Int8", "Int8", INT8_TACTIC), "INT8"),
        (_json_11("Int8", "Int8", SILENT), "INT8"),
        (_json_11("Float", "Int8", SILENT), "mixed"),
        (_json_11("Float", "Float", FLOAT_TACTIC), "FLOAT"),
    ],
)
def test_the_inspectors_json_is_read(entry: dict[str, Any], computes_in: str) -> None:
    content = json.dumps({"Layers": [entry, "a layer by name only"], "Bindings": ["x", "y"]})
    (layer,) = layers_from_inspector(content)
    assert layer.computes_in == computes_in
    assert layer.weight_count == 864
    assert layer.origin == ("stem/conv", "stem/relu")


def test_json_without_metadata_or_with_a_bare_record_separator_is_read() -> None:
    entry = _json_10(N_A, "Half", TACTIC) | {"Metadata": "[ONNX Layer: a]SEP[ONNX Layer: b]"}
    (bare,) = layers_from_inspector(json.dumps({"Layers": [entry]}).replace("SEP", "\x1e"))
    assert bare.origin == ("a", "b")
    del entry["Metadata"], entry["TacticName"]
    (without,) = layers_from_inspector(json.dumps({"Layers": [entry]}))
    assert (without.origin, without.tactic) == ((), "")


def test_a_filter_that_another_layer_computes_counts_as_weights() -> None:
    entry = _json_10("Half", "Half", SILENT)
    entry["Weights"]["Count"] = 0
    entry["Inputs"].append({"Name": "w", "Dimensions": [32, 3, 3, 3], "Format/Datatype": "Half"})
    (layer,) = layers_from_inspector(json.dumps({"Layers": [entry]}))
    assert (layer.weights, layer.weight_count, layer.computes_in) == ("HALF", 864, "HALF")


def test_another_format_gives_no_layers() -> None:
    assert layers_from_log("Layers:\nLayer(CaskConvolution): conv1, Tactic: 0x1") == []
