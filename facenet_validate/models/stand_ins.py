"""Standard operators that stand in for a runtime's own ones of the same shapes.

Shape inference knows standard operators only. A stand-in is for inference; it is never run.
"""

from __future__ import annotations

import onnx

from facenet_validate.models.passes import whole

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
"""ONNX Runtime's operator → the standard one, and the inputs that the standard one reads."""

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
    """Return the node that stands in for a runtime's own node; None for any other node.

    Two of a runtime's nodes have no stand-in. ``QGemm`` without a scale for its result gives
    float32, which no standard operator makes of 8-bit integers. With ``channels_last`` the sides
    are in another order.
    """
    if node.domain != _RUNTIME or whole(node, "channels_last"):
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
