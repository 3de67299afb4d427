"""The list of compiled layers that a TensorRT of some version would give of a network.

Convolutions, fused with the ReLU behind them, and matrix products; everything else is one layer of
generated code each. Forms confirmed by public output:

* 10.x, kernels (``CaskConvolution``): builder logs and inspector JSON in NVIDIA/TensorRT's issues
  2418, 3583, 3876 and 4020, and NVIDIA's documentation of the engine inspector;
* 10.x, compiler (``gemm``, weights not listed): NVIDIA/TensorRT's issue 4397;
* ``N/A due to dynamic shapes``: JSON of 8.6 and 10.x, and Polygraphy, which reads it as no type. No
  public builder log of a dynamic profile was found; here it says the same;
* 11.x: NVIDIA's guide to 11 says that ``Format/Datatype`` is split. The fields beside ``Datatype``
  are those that TensorRT for RTX 1.7 logs. No public list of 11.x proper was found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.engines.tensorrt.fake_network import Layer, Network, Tensor

N_A = "N/A due to dynamic shapes"
Entry = dict[str, Any]

_WORDS = {"HALF": "Half", "INT8": "Int8", "FLOAT": "Float"}
_FORMATS = {
    "HALF": "Channel major FP16 format where channel % 8 == 0",
    "INT8": "Thirty-two wide channel vectorized row major Int8 format",
    "FLOAT": "Row major linear FP32",
}
_OPERANDS = {"HALF": "f16f16_f16f32_f32", "INT8": "i8i8_i8i32_f32", "FLOAT": "f32f32_f32f32_f32"}


def listing(
    network: Network, version: str, *, batch: int, compiled_in: str = "", kernels: bool = True
) -> list[Entry]:
    """Return the layers of a network, as the inspector's JSON has them.

    Parameters
    ----------
    version : str
        Of TensorRT: the form is that of 10.x or of 11.x.
    batch : int
        Of a static profile; −1 of a dynamic one.
    compiled_in : str
        Type of all convolutions and products, whatever the network says; empty for its own.
    kernels : bool
        Whether kernels have names.
    """
    form = _Form(version, batch, kernels)
    made_by = {layer.outputs[0].name: layer for layer in network.layers}
    readers = {tensor.name: layer for layer in network.layers for tensor in layer.inputs}
    fused = set()
    entries = []
    for layer in network.layers:
        kind = layer.type.name
        if kind in ("CONVOLUTION", "MATRIX_MULTIPLY"):
            nodes, after = [layer], readers.get(layer.outputs[0].name)
            if after is not None and after.type.name == "ACTIVATION":
                nodes.append(after)
                fused.add(after.name)
            entries.append(form.product(nodes, compiled_in or _stored_in(layer, made_by)))
        elif layer.name not in fused:
            entries.append(form.generated(layer))
    return entries


def _stored_in(layer: Layer, made_by: Mapping[str, Layer]) -> str:
    """Return the type that a layer's weights are stored in."""
    maker = made_by.get(layer.inputs[1].name)
    tensor = maker.inputs[0] if maker and maker.type.name == "DEQUANTIZE" else layer.inputs[1]
    return str(tensor.dtype.name)


class _Form:
    """How a version writes a layer."""

    def __init__(self, version: str, batch: int, kernels: bool) -> None:
        self.before_11 = version.startswith(("8.", "10."))
        self.batch = batch
        self.kernels = kernels

    def product(self, nodes: list[Layer], kind: str) -> Entry:
        layer = nodes[0]
        convolution = layer.type.name == "CONVOLUTION"
        data, weights, bias = layer.inputs[:3]
        last = nodes[-1].outputs[0]
        entry: Entry = {
            "Name": " + ".join(node.name for node in nodes),
            "LayerType": "CaskConvolution" if convolution else "gemm",
            "Inputs": [self.tensor(data, kind)],
        }
        if not self.before_11:
            entry["Constants"] = [self.tensor(weights, kind), self.tensor(bias, "FLOAT")]
        entry["Outputs"] = [self.tensor(last, kind)]
        if self.before_11 and convolution:
            entry |= {
                "ParameterType": "Convolution",
                "Kernel": list(layer.kernel_size_nd),
                "PaddingMode": "kEXPLICIT_ROUND_DOWN",
                "OutMaps": weights.shape[0],
                "Groups": 1,
                "Weights": {"Type": _WORDS[kind], "Count": _count(weights)},
                "Bias": {"Type": "Float", "Count": _count(bias)},
                "HasBias": 1,
                "HasReLU": len(nodes) - 1,
            }
        if not convolution:
            entry["Name"] += "_myl0_1"
        called = "fprop_implicit_gemm" if convolution else "gemm"
        tactic = f"sm90_xmma_{called}_{_OPERANDS[kind]}_nhwckrsc_nhwc_tilesize128x64x64_stage4"
        entry["TacticName"] = tactic if self.kernels else "__myelin_CASK_STUB"
        return entry | self.end(nodes)

    def generated(self, layer: Layer) -> Entry:
        entry: Entry = {
            "Name": f"__myl_{layer.type.name.title()}_myl0_1",
            "LayerType": "kgen",
            "Inputs": [self.tensor(one, str(one.dtype.name)) for one in layer.inputs[:1]],
            "Outputs": [self.tensor(one, str(one.dtype.name)) for one in layer.outputs],
            "TacticName": f"__myl_{layer.type.name.title()}_0x9393b75f022d4da5",
        }
        return entry | self.end([layer])

    def end(self, nodes: list[Layer]) -> Entry:
        marks = "\x1e" if self.before_11 else ""
        return {"StreamId": 0, "Metadata": marks.join(f"[ONNX Layer: {n.name}]" for n in nodes)}

    def tensor(self, tensor: Tensor, kind: str) -> Entry:
        shape = [self.batch if size < 0 else size for size in tensor.shape]
        entry: Entry = {"Name": tensor.name}
        if self.before_11:
            described = N_A if self.batch < 0 else _FORMATS.get(kind, kind)
            return entry | {"Location": "Device", "Dimensions": shape, "Format/Datatype": described}
        return entry | {
            "Dimensions": shape,
            "Strides": [1 for _ in shape],
            "StrideOrder": list(range(len(shape)))[::-1],
            "Datatype": _WORDS.get(kind, kind),
            "Format": "(NHWC) Channel major format",
        }


def _count(tensor: Tensor) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count


def as_json(entries: list[Entry], version: str) -> str:
    """Return what the engine inspector gives."""
    before_11 = version.startswith(("8.", "10."))
    faces = {"Name": "input", "IOMode": "Input", "DataType": "Float"}
    ends = {"Bindings": ["input", "embeddings"]} if before_11 else {"I/O Tensors": [faces]}
    return json.dumps({"Layers": entries, **ends})


def as_log(entries: list[Entry]) -> str:
    """Return the message in which a builder lists the layers."""
    lines = "\n".join(", ".join(_logged(entry)) for entry in entries)
    return f"Layers:\n{lines}\n\n\nBindings:\ninput\nembeddings\n"


def _logged(fields: Entry) -> Iterator[str]:
    for key, value in fields.items():
        if key in ("Inputs", "Constants", "Outputs"):
            tensors = ", ".join(f"{{ {', '.join(_logged(one))} }}" for one in value)
            yield f"{key}: [ {tensors}]"
        elif isinstance(value, list | dict):
            separators = (", ", ": ") if isinstance(value, dict) else (",", ":")
            yield f"{key}: {json.dumps(value, separators=separators)}"
        else:
            yield f"{key}: {value}"
