"""What ONNX Runtime's quantization debug tools say of two graphs; run by the peers' Python.

    python docs/evidence/debug_tools_of_onnxruntime.py REFERENCE.onnx ENGINE.onnx BATCH.npy

`compare_diagnosis_peers.py` runs it. It uses nothing but public functions of
``onnxruntime.quantization.qdq_loss_debug``. First as documented: activations and weights of a Q/DQ
graph are matched with those of the float graph, and the worst of each are told. Then by hand: the
tensors of equal names in both graphs, in the reference's order, by the same signal-to-noise ratio.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.qdq_loss_debug import (
    collect_activations,
    compute_activation_error,
    compute_signal_to_quantization_noice_ratio,
    compute_weight_error,
    create_activation_matching,
    create_weight_matching,
    modify_model_output_intermediate_tensors,
)

WORST = 3
EQUAL = 100.0
"""Signal to noise, in dB, above which FP32 tensors are taken for equal."""

Tensors = dict[str, list[Any]]


class OneBatch(CalibrationDataReader):  # type: ignore[misc]
    """The faces, once."""

    def __init__(self, name: str, batch: Any) -> None:
        self._left = [{name: batch}]

    def get_next(self) -> dict[str, Any] | None:
        return self._left.pop() if self._left else None


def activations(graph: Path, batch: Any, folder: Path) -> Tensors:
    """Return every tensor of a graph that runs on the faces."""
    shown = folder / f"all-{graph.name}"
    modify_model_output_intermediate_tensors(graph, shown)
    name = onnx.load(graph).graph.input[0].name
    found: Tensors = collect_activations(str(shown), OneBatch(name, batch))
    return found


def tell(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")


def documented(reference: Path, engine: Path, ours: Tensors, theirs: Tensors) -> None:
    """Tell what the documented way gives."""
    matched = create_activation_matching(theirs, ours)
    matched = {name: one for name, one in matched.items() if "float" in one}
    errors = compute_activation_error(matched)
    tell(f"create_activation_matching: {len(matched)} tensors")
    for key in ("xmodel_err", "qdq_err"):
        for name in sorted(errors, key=lambda one: errors[one][key])[:WORST]:
            tell(f"  {key} {errors[name][key]:.1f} dB {name}")
    weights = compute_weight_error(create_weight_matching(str(reference), str(engine)))
    tell(f"create_weight_matching: {len(weights)} tensors")
    for name in sorted(weights, key=lambda one: weights[one])[:WORST]:
        tell(f"  {weights[name]:.1f} dB {name}")


def by_hand(order: Sequence[str], ours: Tensors, theirs: Tensors) -> None:
    """Tell where tensors of equal names begin to differ."""
    common = [name for name in order if name in ours and name in theirs]
    ratios = [
        compute_signal_to_quantization_noice_ratio(ours[name], theirs[name]) for name in common
    ]
    equal = sum(ratio > EQUAL for ratio in ratios)
    tell(f"tensors of equal names: {len(common)}, {equal} of them equal")
    first = next((row for row, ratio in enumerate(ratios) if ratio <= EQUAL), None)
    if first is not None:
        tell(f"  first that differs: {ratios[first]:.1f} dB {common[first]}")


def main() -> None:
    """Compare two graphs."""
    reference, engine, batch_file = (Path(argument) for argument in sys.argv[1:4])
    batch = np.load(batch_file)
    with tempfile.TemporaryDirectory() as folder:
        ours = activations(reference, batch, Path(folder))
        theirs = activations(engine, batch, Path(folder))
        graph = onnx.load(reference).graph
        documented(reference, engine, ours, theirs)
        by_hand([name for node in graph.node for name in node.output], ours, theirs)


if __name__ == "__main__":
    main()
