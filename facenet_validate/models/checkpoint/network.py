"""Inception-ResNet-v1 as facenet-pytorch names it, so that its state dicts load (needs PyTorch).

Architecture: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections
on Learning" (2016), in the variant of davidsandberg/facenet. A child's name is part of the name of
every tensor in a state dict: ``repeat_1.0.branch1.0.conv.weight``.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

EPSILON = 1e-3

Kernel = tuple[int, int]
Step = tuple[int, Kernel, int]
"""A convolution in a branch: output channels, kernel, stride."""

Branches = tuple[tuple[Step, ...], ...]
"""Branches side by side; the one without a step is the max pool."""

BLOCK35: Branches = (
    ((32, (1, 1), 1),),
    ((32, (1, 1), 1), (32, (3, 3), 1)),
    ((32, (1, 1), 1), (32, (3, 3), 1), (32, (3, 3), 1)),
)
MIXED_6A: Branches = (
    ((384, (3, 3), 2),),
    ((192, (1, 1), 1), (192, (3, 3), 1), (256, (3, 3), 2)),
    (),
)
BLOCK17: Branches = (
    ((128, (1, 1), 1),),
    ((128, (1, 1), 1), (128, (1, 7), 1), (128, (7, 1), 1)),
)
MIXED_7A: Branches = (
    ((256, (1, 1), 1), (384, (3, 3), 2)),
    ((256, (1, 1), 1), (256, (3, 3), 2)),
    ((256, (1, 1), 1), (256, (3, 3), 1), (256, (3, 3), 2)),
    (),
)
BLOCK8: Branches = (
    ((192, (1, 1), 1),),
    ((192, (1, 1), 1), (192, (1, 3), 1), (192, (3, 1), 1)),
)


def inception_resnet_v1(embedding_size: int) -> nn.Sequential:
    """Build the network, for inference, with weights yet to be loaded.

    Parameters
    ----------
    embedding_size : int
        D.

    Returns
    -------
    torch.nn.Sequential
        Standardized faces (N, 3, H, W) float32 → embeddings (N, D) float32, L2-normalised.
    """
    layers: dict[str, nn.Module] = {
        "conv2d_1a": _convolution(3, 32, (3, 3), stride=2),
        "conv2d_2a": _convolution(32, 32, (3, 3)),
        "conv2d_2b": _convolution(32, 64, (3, 3), padding=(1, 1)),
        "maxpool_3a": nn.MaxPool2d(3, stride=2),
        "conv2d_3b": _convolution(64, 80, (1, 1)),
        "conv2d_4a": _convolution(80, 192, (3, 3)),
        "conv2d_4b": _convolution(192, 256, (3, 3), stride=2),
        "repeat_1": nn.Sequential(*(Residual(256, BLOCK35, 0.17) for _ in range(5))),
        "mixed_6a": Mixed(256, MIXED_6A),
        "repeat_2": nn.Sequential(*(Residual(896, BLOCK17, 0.10) for _ in range(10))),
        "mixed_7a": Mixed(896, MIXED_7A),
        "repeat_3": nn.Sequential(*(Residual(1792, BLOCK8, 0.20) for _ in range(5))),
        "block8": Residual(1792, BLOCK8, 1.0, activation=nn.Identity()),
        "avgpool_1a": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "last_linear": nn.Linear(1792, embedding_size, bias=False),
        "last_bn": nn.BatchNorm1d(embedding_size, eps=EPSILON),
        "norm": Norm(),
    }
    return nn.Sequential(OrderedDict(layers)).eval()


class Mixed(nn.Module):
    """Branches side by side, their channels concatenated."""

    def __init__(self, channels: int, branches: Branches) -> None:
        super().__init__()
        self.branches = len(branches)
        for place, steps in enumerate(branches):
            self.add_module(f"branch{place}", _branch(channels, steps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sides = [self.get_submodule(f"branch{place}")(x) for place in range(self.branches)]
        return torch.cat(sides, dim=1)


class Residual(Mixed):
    """Branches, a 1x1 convolution back to the input's channels, scaled and added to the input."""

    def __init__(
        self,
        channels: int,
        branches: Branches,
        scale: float,
        activation: nn.Module | None = None,
    ) -> None:
        super().__init__(channels, branches)
        self.scale = scale
        self.conv2d = nn.Conv2d(sum(steps[-1][0] for steps in branches), channels, kernel_size=1)
        self.activation = activation or nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.activation(self.conv2d(super().forward(x)) * self.scale + x)
        return y


class Norm(nn.Module):
    """Rows divided by their length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.normalize(x)


def _branch(channels: int, steps: tuple[Step, ...]) -> nn.Module:
    if not steps:
        return nn.MaxPool2d(3, stride=2)
    convolutions = []
    for out, kernel, stride in steps:
        # Size is kept, except where a stride halves it.
        padding = (kernel[0] // 2, kernel[1] // 2) if stride == 1 else (0, 0)
        convolutions.append(_convolution(channels, out, kernel, stride=stride, padding=padding))
        channels = out
    return convolutions[0] if len(convolutions) == 1 else nn.Sequential(*convolutions)


def _convolution(
    channels: int, out: int, kernel: Kernel, *, stride: int = 1, padding: Kernel = (0, 0)
) -> nn.Sequential:
    layers: dict[str, nn.Module] = {
        "conv": nn.Conv2d(channels, out, kernel, stride=stride, padding=padding, bias=False),
        "bn": nn.BatchNorm2d(out, eps=EPSILON),
        "relu": nn.ReLU(),
    }
    return nn.Sequential(OrderedDict(layers))
