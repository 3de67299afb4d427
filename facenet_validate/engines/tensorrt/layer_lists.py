"""A plan's list of layers: a line a layer in a builder's log, JSON from the engine inspector.

Both have the same fields. Which of them are there depends on the version:

======================  =============================  ==========================================
TensorRT                a tensor's type                weights
======================  =============================  ==========================================
8.6 to 10.x, kernels    ``Format/Datatype``            ``Weights: {"Type": …, "Count": …}``
8.6 to 10.x, compiler   ``Format/Datatype``            an input, or not listed
11.x and RTX            ``Datatype`` beside            ``Constants``, or as before
                        ``Format``
======================  =============================  ==========================================

With a dynamic profile 8.6 to 10.x give ``N/A due to dynamic shapes`` for the type of every tensor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from facenet_validate.engines.tensorrt.layer_types import MIXED, UNKNOWN, kernel_type, type_named

_ORIGIN = re.compile(r"\[ONNX Layer: (.*?)\](?=[^\w\]]*(?:\[ONNX Layer: |$))")
"""A node's name may have brackets of its own; a record separator may stand between two."""
_NEXT_FIELD = re.compile(r", (?=[A-Z][A-Za-z/]*: )")
_NEXT_ITEM = re.compile(r", (?=\{ Name: )")
_WITHOUT_PRODUCTS = ("kgen", "reformat", "constant", "shape_call")
"""Kinds that only convert and compute value by value; `kgen` is generated code."""
_WITH_PRODUCTS = re.compile(r"conv(?!ert)|correlation|gemm|matmul|matrix_?multiply|fullyconnected")
"""Of kinds in lower case: ``CaskConvolution``, ``CaskConvActPool``, ``correlation``, ``gemm``."""


@dataclass(frozen=True)
class CompiledLayer:
    """A layer of a plan.

    Attributes
    ----------
    name, kind : str
        As the library calls them.
    data, weights : str
        Types of its first input and of its weights; ``unknown`` where the list does not tell.
    weight_count : int
        Values of its weights, constant or computed by another layer; zero where none are listed.
    tactic : str
        Name of its kernel; empty where the list has none.
    origin : tuple of str
        ONNX nodes it was made from, by its metadata.
    """

    name: str
    kind: str
    data: str
    weights: str
    weight_count: int
    tactic: str
    origin: tuple[str, ...]

    @property
    def has_product_kind(self) -> bool:
        """Whether its kind says that it is a convolution or a matrix product."""
        return _WITH_PRODUCTS.search(self.kind.lower()) is not None

    @property
    def multiplies(self) -> bool:
        """Whether it may be where a convolution or a matrix product is computed."""
        if self.kind.lower() in _WITHOUT_PRODUCTS:
            return False
        told = bool(self.weight_count) or kernel_type(self.tactic) != UNKNOWN
        return told or self.has_product_kind

    @property
    def computes_in(self) -> str:
        """Type of what it multiplies, by the best evidence there is.

        Data and weights come first: their common type, ``mixed`` where they differ. Where one of
        them is not told the kernel's name decides, unless it contradicts the other. Where the name
        is silent too, FP32 weights are multiplied in FP32, whatever the data is in. Everything else
        is ``unknown``: INT8 weights may be converted before they are multiplied.
        """
        told = {self.data, self.weights}
        if UNKNOWN not in told:
            return told.pop() if len(told) == 1 else MIXED
        kernel = kernel_type(self.tactic)
        if kernel == UNKNOWN and self.weights == "FLOAT":
            return self.weights
        return kernel if told <= {UNKNOWN, kernel} else UNKNOWN


def layers_from_log(text: str) -> list[CompiledLayer]:
    """Read the list of layers that a builder logs with detailed profiling verbosity."""
    # Metadata may hold a record separator, at which str.splitlines would cut the line.
    lines = (line for line in text.split("\n") if line.startswith("Name: "))
    return [_layer(_entry(line)) for line in lines if ", LayerType: " in line]


def layers_from_inspector(text: str) -> list[CompiledLayer]:
    """Read the JSON of ``EngineInspector.get_engine_information``.

    Layers that are names only, of a plan built with less verbosity, are left out.
    """
    found = json.loads(text, strict=False).get("Layers", [])
    return [_layer(entry) for entry in found if isinstance(entry, Mapping)]


def _entry(line: str) -> dict[str, Any]:
    """Return a line of the log as the inspector's JSON has it."""
    entry: dict[str, Any] = _fields(line)
    for role in ("Inputs", "Constants"):
        listed = entry.get(role, "").strip()[1:-1]
        entry[role] = [_fields(item.strip(" {}")) for item in _cut(listed, _NEXT_ITEM) if item]
    kept = re.fullmatch(r'\{"Type": "(\w*)", "Count": (\d+)\}', entry.pop("Weights", ""))
    if kept:
        entry["Weights"] = {"Type": kept[1], "Count": int(kept[2])}
    return entry


def _fields(text: str) -> dict[str, str]:
    parts = (part.partition(": ") for part in _cut(text, _NEXT_FIELD))
    return {key: value for key, _, value in parts}


def _cut(text: str, separator: re.Pattern[str]) -> Iterator[str]:
    """Yield what stands between separators that no bracket encloses: names have commas too."""
    depth = start = 0
    for mark in re.finditer(r"[\[{]|[\]}]|, ", text):
        if mark[0] == ", ":
            if not depth and separator.match(text, mark.start()):
                yield text[start : mark.start()]
                start = mark.end()
        else:
            depth = max(0, depth + (1 if mark[0] in "[{" else -1))
    yield text[start:]


@dataclass(frozen=True)
class _Operand:
    """A tensor a layer reads."""

    type: str
    shape: tuple[int, ...]

    @property
    def values(self) -> int:
        return abs(prod(self.shape))

    @property
    def matrix(self) -> bool:
        # A dynamic dimension is the batch's, which weights do not have; a bias has one dimension.
        return min(self.shape, default=-1) > 0 and sum(size > 1 for size in self.shape) > 1


def _layer(entry: Mapping[str, Any]) -> CompiledLayer:
    inputs = [_operand(tensor) for tensor in entry.get("Inputs") or ()]
    constants = [_operand(tensor) for tensor in entry.get("Constants") or ()]
    bare = CompiledLayer(
        str(entry.get("Name", "")),
        str(entry.get("LayerType", "")),
        inputs[0].type if inputs else UNKNOWN,
        UNKNOWN,
        0,
        str(entry.get("TacticName") or "").strip(),
        tuple(_ORIGIN.findall(str(entry.get("Metadata") or ""))),
    )
    if not inputs or bare.kind.lower() in _WITHOUT_PRODUCTS:
        return bare
    kept = entry.get("Weights")
    if isinstance(kept, Mapping) and kept.get("Count"):
        kind, count = type_named(str(kept.get("Type", ""))), int(kept["Count"])
    else:
        weights = _weights(inputs, constants, among_inputs=bare.has_product_kind)
        kind, count = (weights.type, weights.values) if weights else (UNKNOWN, 0)
    return CompiledLayer(bare.name, bare.kind, bare.data, kind, count, bare.tactic, bare.origin)


def _weights(
    inputs: Sequence[_Operand], constants: Sequence[_Operand], *, among_inputs: bool
) -> _Operand | None:
    """Return the operand that is a layer's weights: the largest matrix that can be."""
    found = [constant for constant in constants if constant.matrix]
    if not found and among_inputs:
        # Weights that another layer has dequantised. What has the data's batch is data too.
        batch = inputs[0].shape[:1]
        found = [one for one in inputs[1:] if one.matrix and one.shape[:1] != batch]
    return max(found, key=lambda operand: operand.values, default=None)


def _operand(tensor: Mapping[str, Any]) -> _Operand:
    named = next((tensor[key] for key in tensor if key.lower().endswith("datatype")), "")
    shape = re.findall(r"-?\d+", str(tensor.get("Dimensions", "")))
    return _Operand(type_named(str(named)), tuple(int(size) for size in shape))
