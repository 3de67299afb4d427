"""The real weights in the real class: facenet-pytorch's InceptionResnetV1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from facenet_pytorch import InceptionResnetV1
from numpy.typing import NDArray

from facenet_validate.models import pretrained
from facenet_validate.models.frozen import graphdef

EPSILON = 1e-3
SCOPES = {
    "Repeat/block35_": "repeat_1.",
    "Repeat_1/block17_": "repeat_2.",
    "Repeat_2/block8_": "repeat_3.",
}

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="session")
def real_state() -> dict[str, torch.Tensor]:
    """The pretrained weights by facenet-pytorch's names, with batch norms that do something.

    The frozen graph has its batch norms folded into weights w and offsets b. They are taken apart
    again with drawn gamma, mean and variance: for s = gamma / sqrt(variance + epsilon) the weights
    are w / s and beta is b + mean * s, so every batch norm counts and the network is the same.
    """
    constants, convolutions = _frozen_graph()
    draw = np.random.default_rng(20180408)
    state: Arrays = {}
    for scope, (height_first, bias) in convolutions.items():
        name = _torch_name(scope, convolutions)
        weights = height_first.transpose(3, 2, 0, 1)  # HWIO -> OIHW
        if name.endswith("conv2d"):  # the 1x1 at a block's end has a bias and no batch norm
            state |= {f"{name}.weight": weights, f"{name}.bias": bias}
            continue
        gamma, variance = draw.uniform(0.5, 2, (2, len(bias)))
        mean = draw.normal(size=len(bias))
        scale = gamma / np.sqrt(variance + EPSILON)
        state |= {
            f"{name}.conv.weight": weights / scale[:, None, None, None],
            f"{name}.bn.weight": gamma,
            f"{name}.bn.bias": bias + mean * scale,
            f"{name}.bn.running_mean": mean,
            f"{name}.bn.running_var": variance,
        }
    state["last_linear.weight"] = constants["Bottleneck/weights"].T
    for place, frozen in {
        "weight": "Const",
        "bias": "beta",
        "running_mean": "moving_mean",
        "running_var": "moving_variance",
    }.items():
        state[f"last_bn.{place}"] = constants[f"Bottleneck/BatchNorm/{frozen}"]
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in state.items()}


@pytest.fixture(scope="session")
def real_network(real_state: dict[str, torch.Tensor]) -> InceptionResnetV1:
    """facenet-pytorch's own class with the pretrained weights, for inference."""
    network = InceptionResnetV1()
    counters = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    network.load_state_dict(real_state | counters, strict=True)
    return network.eval()


@pytest.fixture(scope="session")
def torch_embeddings(
    real_network: InceptionResnetV1, drawn_batch: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What facenet-pytorch's own run gives for the drawn faces."""
    with torch.no_grad():
        return np.asarray(real_network(torch.from_numpy(drawn_batch)).numpy())


def _frozen_graph() -> tuple[Arrays, dict[str, tuple[Any, Any]]]:
    """Constants by name, and (weights, bias) by scope, of every convolution in the graph."""
    graph = graphdef.parse_graph(pretrained.read(pretrained.PRETRAINED), source="pretrained")
    constants: Arrays = {}
    readers: dict[str, Any] = {}
    for node in graph.node:
        if node.op == "Const":
            value = graphdef.attributes(node)["value"].tensor
            constants[node.name] = graphdef.tensor_value(value, node=node.name)
        for reference in node.input:
            readers[graphdef.split_reference(reference)[0]] = node
    convolutions = {}
    for node in graph.node:
        if node.op == "Conv2D":
            weights = constants[node.input[1]]
            bias = constants[readers[node.name].input[1]]
            convolutions[_inner(node.name).removesuffix("/Conv2D")] = (weights, bias)
    return {_inner(name): value for name, value in constants.items()}, convolutions


def _inner(name: str) -> str:
    return name.removeprefix("InceptionResnetV1/")


def _torch_name(scope: str, scopes: Any) -> str:
    """``Repeat/block35_1/Branch_1/Conv2d_0b_3x3`` -> ``repeat_1.0.branch1.1``."""
    *parents, layer = scope.split("/")
    if not parents:  # the stem: Conv2d_1a_3x3 -> conv2d_1a
        return "_".join(layer.split("_")[:2]).lower()
    name = "/".join(parents[:-1] if parents[-1].startswith("Branch") else parents)
    for frozen, torch_scope in SCOPES.items():
        if name.startswith(frozen):
            name = f"{torch_scope}{int(name.removeprefix(frozen)) - 1}"
    name = name.lower()
    if not parents[-1].startswith("Branch"):
        return f"{name}.conv2d"
    branch = "/".join(parents) + "/"
    name += f".{parents[-1].replace('_', '').lower()}"
    siblings = sorted(other for other in scopes if other.startswith(branch))
    return name if len(siblings) == 1 else f"{name}.{siblings.index(scope)}"
