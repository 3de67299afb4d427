"""A runtime's own operators as the standard ones whose shapes they have.

Shape inference knows standard operators only. What stands in is inferred from, never run.
"""

from __future__ import annotations

import onnx

_STANDARD = ("", "ai.onnx")
_RUNTIME = "com.microsoft"

_READ: dict[str, tuple[str, tuple[int, ...]]] = {
    "QuantizeLinear": ("QuantizeLinear", (0, 1, 2)),
    "DequantizeLinear": ("DequantizeLinear", (0, 1, 2)),
    "FusedConv": ("Conv", (0, 1, 2)),
    "FusedGemm": ("Gemm", (0, 1, 2)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearAveragePool": ("AveragePool", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearSigmoid": ("Identity", (0,)),
    "QLinearSoftmax": ("Identity", (0,)),
    "Gelu": ("Identity", (0,)),
    "FastGelu": ("Identity", (0,)),
    "QuickGelu": ("Identity", (0,)),
    "BiasGelu": ("Identity", (0,)),
}
"""ONNX Runtime's operator → the standard one, and which inputs that reads."""

_KEPT = {
    "QuantizeLinear": ("axis", "output_dtype"),
    "DequantizeLinear": ("axis",),
    "Conv": ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
    "Gemm": ("transA", "transB"),
    "AveragePool": (
        "auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides",
    ),
    "Concat": ("axis",),
}  # fmt: skip


def stood_in(node: onnx.NodeProto) -> onnx.NodeProto | None:
    """Return what a runtime's own node is to shape inference; None of other nodes.

    ``QGemm`` without a scale for its result gives float32, which no standard operator makes of
    8-bit integers, and with ``channels_last`` the sides are in another order: these are None.
    """
    last = any(a.name == "channels_last" and a.i for a in node.attribute)
    if node.domain in _STANDARD or node.domain != _RUNTIME or last:
        return None
    if node.op_type == "QLinearConcat":
        # The result's scale and zero point, then each tensor with its own.
        return _made(node, "Concat", list(node.input[2::3]))
    if node.op_type not in _READ or (node.op_type == "QGemm" and len(node.input) < 9):
        return None
    operator, places = _READ[node.op_type]
    return _made(node, operator, [node.input[i] for i in places if i < len(node.input)])


def _made(node: onnx.NodeProto, operator: str, read: list[str]) -> onnx.NodeProto:
    made = onnx.helper.make_node(operator, read, list(node.output[:1]), name=node.name)
    made.attribute.extend(a for a in node.attribute if a.name in _KEPT.get(operator, ()))
    return made
