"""What a compiled plan computes in which type, from the list of its layers.

A builder logs that list when it is built with detailed profiling verbosity, which needs no device;
the engine inspector gives it as JSON of a deserialized plan, which does.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from facenet_validate.engines.tensorrt.network import MultiplyingLayer, share

UNKNOWN = "unknown"
_TYPES = {
    "INT8": ("int8",),
    "HALF": ("half", "fp16"),
    "FLOAT": ("float", "fp32"),
    "BF16": ("bf16", "bfloat16"),
    "FP8": ("fp8",),
    "FP4": ("fp4",),
    "INT4": ("int4",),
    "UINT8": ("uint8",),
}
_LINE = re.compile(
    r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*), Inputs: \[(?P<inputs>.*?)\], "
    r"(?:Constants: \[(?P<constants>.*?)\], )?Outputs: \[.*?"
    r"(?:Metadata: (?P<metadata>.*))?$",
    re.MULTILINE,
)
_TENSOR = re.compile(
    r"Name: [^{}]*?, Dimensions: \[(?P<shape>[-0-9,]*)\][^{}]*?"
    r"(?:Format/)?Data[tT]ype: (?P<dtype>[^,}]*)"
)
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_WITHOUT_PRODUCTS = ("kgen", "reformat", "constant", "shape_call")
"""Kinds that only convert and compute value by value; `kgen` is generated code."""


@dataclass(frozen=True)
class _Operand:
    """A tensor a layer reads: type, values, and whether it can be weights."""

    type: str
    values: int
    matrix: bool


@dataclass(frozen=True)
class CompiledLayer:
    """A layer of a plan.

    Attributes
    ----------
    name, kind : str
        As the library calls them.
    operands : tuple of str
        Types of its first input and of its weights.
    weights : int
        Values of its weights, constant or computed by another layer; zero of a layer without.
    origin : tuple of str
        ONNX nodes it was made from.
    """

    name: str
    kind: str
    operands: tuple[str, ...]
    weights: int
    origin: tuple[str, ...]


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
    holders: dict[str, CompiledLayer] = {}
    for layer in sorted(layers, key=lambda layer: layer.weights):
        if layer.weights:
            holders |= dict.fromkeys(layer.origin, layer)
    counted: Counter[str] = Counter()
    for one in multiplying:
        holder = holders.get(one.name)
        types = set(holder.operands) if holder else {UNKNOWN}
        counted[types.pop() if len(types) == 1 else "mixed"] += one.multiply_adds
    return CompiledReport(len(layers), dict(counted))


def layers_from_log(text: str) -> list[CompiledLayer]:
    """Read the list of layers a builder logs, one a line."""
    layers = []
    for line in _LINE.finditer(text):
        inputs = _tensors(line["inputs"])
        constants = _tensors(line["constants"] or "")
        layers.append(_layer(line["name"], line["kind"], inputs, constants, line["metadata"] or ""))
    return layers


def _tensors(text: str) -> list[_Operand]:
    return [
        _operand(found["dtype"], [int(size) for size in found["shape"].split(",") if size])
        for found in _TENSOR.finditer(text)
    ]


def _operand(dtype: str, shape: Sequence[int]) -> _Operand:
    # A dynamic dimension is the batch's, which weights do not have; a bias has one dimension.
    matrix = min(shape, default=-1) > 0 and sum(size > 1 for size in shape) > 1
    return _Operand(_type(dtype), abs(prod(shape)), matrix)


def layers_from_inspector(text: str) -> list[CompiledLayer]:
    """Read the JSON of ``EngineInspector.get_engine_information``.

    Written after the documented formats of 10.x (``Format/Datatype``, ``Weights``) and 11.x
    (``Datatype``, ``Constants``); it has not been run on a device. Layers that are names only, of a
    plan built with less verbosity, are left out.
    """
    layers = []
    for entry in json.loads(text).get("Layers", []):
        if isinstance(entry, Mapping):
            inputs = [_described(tensor) for tensor in entry.get("Inputs", [])]
            constants = [_described(tensor) for tensor in entry.get("Constants", [])]
            weights = entry.get("Weights")
            if isinstance(weights, Mapping) and weights.get("Count"):
                kept = _Operand(_type(str(weights.get("Type", ""))), int(weights["Count"]), True)
                constants.append(kept)
            metadata = str(entry.get("Metadata", ""))
            kind = str(entry.get("LayerType", ""))
            layers.append(_layer(str(entry.get("Name", "")), kind, inputs, constants, metadata))
    return layers


def _described(tensor: Mapping[str, Any]) -> _Operand:
    dtype = next((tensor[key] for key in tensor if key.lower().endswith("datatype")), "")
    return _operand(str(dtype), tensor.get("Dimensions", []))


def _layer(
    name: str,
    kind: str,
    inputs: Sequence[_Operand],
    constants: Sequence[_Operand],
    metadata: str,
) -> CompiledLayer:
    origin = tuple(_ORIGIN.findall(metadata))
    operands = [operand.type for operand in inputs[:1]]
    held = 0
    if inputs and kind.lower() not in _WITHOUT_PRODUCTS:
        # Weights that another layer has dequantised come as an input.
        weights = max(
            [c for c in constants if c.matrix] or [i for i in inputs[1:] if i.matrix],
            key=lambda operand: operand.values,
            default=None,
        )
        if weights:
            operands.append(weights.type)
            held = weights.values
    return CompiledLayer(name, kind, tuple(operands), held, origin)


def _type(text: str) -> str:
    """Return the type a format's description names: ``Row major Int8 format`` → ``INT8``."""
    words = re.findall(r"[a-z0-9]+", text.lower())
    return next(
        (name for name, called in _TYPES.items() if any(word in called for word in words)), UNKNOWN
    )
