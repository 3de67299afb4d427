"""What the parts of the network are called: as its paper calls them, where it is that network."""

from __future__ import annotations

import onnx

from facenet_validate.models.network import Block, blocks

_RUNS = ((5, "block35"), (10, "block17"), (6, "block8"))
"""Residual blocks of Inception-ResNet-v1 between its reductions (Szegedy et al., *Inception-v4,
Inception-ResNet and the Impact of Residual Connections on Learning*, AAAI 2017)."""

_REDUCTIONS = ("mixed_6a", "mixed_7a")


def block_names(model: onnx.ModelProto) -> dict[str, str]:
    """Return the block of each layer, pool, concatenation and addition, by its first output.

    Another network's blocks are called ``residual 1`` and ``reduction 1``; the layers behind the
    last pool are the ``bottleneck``.
    """
    found = blocks(model)
    names = _known(found) or [_plain(block.name) for block in found]
    return {node: name for block, name in zip(found, names, strict=True) for node in block.nodes}


def _known(found: list[Block]) -> list[str]:
    """Return the names of Inception-ResNet-v1's blocks; none for another network."""
    names = ["stem"]
    for (count, name), reduction in zip(_RUNS, (*_REDUCTIONS, "pool"), strict=True):
        names += [f"{name} {place}" for place in range(1, count + 1)] + [reduction]
    kinds = ["residual" if name.startswith("block") else name for name in names]
    kinds = ["reduction" if name in _REDUCTIONS else name for name in kinds]
    return names if kinds == [block.name.split()[0] for block in found] else []


def _plain(name: str) -> str:
    kind, _, number = name.partition(" ")
    return f"{kind} {int(number)}" if number else name
