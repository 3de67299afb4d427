"""What a compiled plan computes in which type: its layers, joined with the parsed network."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from facenet_validate.engines.tensorrt.layer_lists import CompiledLayer
from facenet_validate.engines.tensorrt.layer_types import MIXED, UNKNOWN
from facenet_validate.engines.tensorrt.network import MultiplyingLayer, share

_JOINED = re.compile(r" \|\| | \+ |\+")
"""Layers that were fused one after another, or side by side since they read the same tensor."""
_DECORATION = re.compile(r"(?:_U\d+)?(?:_myl\d+_\d+)?(?: \[profile \d+\])?$")
"""What the compiler and a further profile append to the name of a layer."""


@dataclass(frozen=True)
class CompiledReport:
    """What a plan computes in which type.

    Attributes
    ----------
    layers : int
        Compiled layers.
    multiply_adds_by_type : mapping
        Multiply-adds of one image by the type a layer's data and weights are both in; ``mixed``
        where they differ, ``unknown`` where the list does not say.
    """

    layers: int
    multiply_adds_by_type: Mapping[str, int]

    @property
    def int8_share(self) -> float:
        """Share of multiply-adds whose data and weights are stored in INT8, 0 to 1."""
        return share(self.multiply_adds_by_type, "INT8")

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "layers": self.layers,
            "multiply_adds_by_type": dict(self.multiply_adds_by_type),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CompiledReport:
        """Return what `to_json` wrote."""
        return cls(values["layers"], values["multiply_adds_by_type"])


def compiled_report(
    layers: Sequence[CompiledLayer], multiplying: Sequence[MultiplyingLayer]
) -> CompiledReport:
    """Join compiled layers with the convolutions and matrix products of the parsed network."""
    called = {_as_compiler(one.name): one.name for one in multiplying}
    holders: defaultdict[str, list[CompiledLayer]] = defaultdict(list)
    for layer in layers:
        if layer.multiplies:
            for name in _made_from(layer, called):
                holders[name].append(layer)
    counted: Counter[str] = Counter()
    for one in multiplying:
        counted[_computed_in(holders[one.name])] += one.multiply_adds
    return CompiledReport(len(layers), dict(counted))


def _made_from(layer: CompiledLayer, called: Mapping[str, str]) -> set[str]:
    """Return which of the parsed layers a layer was made from.

    Parameters
    ----------
    called : mapping
        Name of a parsed layer, as the compiler would write it → its own.
    """
    by_metadata = set(layer.origin) & set(called.values())
    if by_metadata:
        return by_metadata
    names = (layer.name, _DECORATION.sub("", layer.name))
    pieces = {_as_compiler(piece) for name in names for piece in _JOINED.split(name)}
    return {called[piece] for piece in pieces & called.keys()}


def _as_compiler(name: str) -> str:
    # TensorRT's compiler writes encoder/layers.10/key as encoder/layers_10/key.
    return name.strip().replace(".", "_")


def _computed_in(holders: Sequence[CompiledLayer]) -> str:
    """Return the type a parsed layer is computed in, by the compiled layers made from it.

    Metadata of a layer that follows a convolution may name the convolution too. So the layer
    counts that is a product by its kind, then the one of most weights. A plan of several profiles
    has several such layers.
    """
    if not holders:
        return UNKNOWN
    rank = {layer: (layer.has_product_kind, layer.weight_count) for layer in holders}
    best = max(rank.values())
    types = {layer.computes_in for layer in holders if rank[layer] == best}
    if len(types - {UNKNOWN}) > 1:
        return MIXED
    return UNKNOWN if UNKNOWN in types else types.pop()
