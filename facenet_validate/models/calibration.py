"""Activation ranges for INT8, from faces of people outside the evaluation pairs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

BATCH = 8
BINS = 4096


@dataclass(frozen=True)
class ActivationRange:
    """The calibrated range of one tensor, in the tensor's own unit."""

    low: float
    high: float


def activation_ranges(
    model: onnx.ModelProto,
    images: NDArray[np.float32],
    *,
    percentile: float,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, ActivationRange]:
    """Return the percentile range of every float activation.

    Two passes over the images in a fixed order and batch size, so that the same images give the
    same ranges: the first finds each tensor's extremes, the second counts its values in 4,096 bins
    between them. Memory is one batch, whatever the number of images.

    Parameters
    ----------
    model : onnx.ModelProto
        FP32, with one input.
    images : ndarray of shape (N, 3, H, W)
        Standardized faces.
    percentile : float
        Share, in percent, of the values inside the range; half of the rest is cut on each side.
    progress : callable, optional
        Called with (images done, images in all) over both passes.

    Returns
    -------
    dict
        Tensor name → range; the range always contains zero, which INT8 must represent exactly.
    """
    names, merged = _activations(model)
    total = 2 * len(images)
    input_name = model.graph.input[0].name
    with tempfile.TemporaryDirectory(prefix="facenet-calibration-") as folder:
        session = _session_with_outputs(model, names, Path(folder) / "all_activations.onnx")
        lows = np.full(len(names), np.inf)
        highs = np.full(len(names), -np.inf)
        for start in range(0, len(images), BATCH):
            outputs = session.run(names, {input_name: images[start : start + BATCH]})
            for index, values in enumerate(outputs):
                lows[index] = min(lows[index], values.min())
                highs[index] = max(highs[index], values.max())
            if progress is not None:
                progress(min(start + BATCH, len(images)), total)
        counts = np.zeros((len(names), BINS), np.int64)
        for start in range(0, len(images), BATCH):
            outputs = session.run(names, {input_name: images[start : start + BATCH]})
            for index, values in enumerate(outputs):
                counts[index] += _histogram(values, lows[index], highs[index])
            if progress is not None:
                progress(len(images) + min(start + BATCH, len(images)), total)
    ranges = {
        name: percentile_range(counts[index], lows[index], highs[index], percentile)
        for index, name in enumerate(names)
    }
    ranges |= {name: ranges[relu] for name, relu in merged.items()}
    ranges[input_name] = ActivationRange(
        min(float(images.min()), 0.0), max(float(images.max()), 0.0)
    )
    return ranges


def percentile_range(
    counts: NDArray[np.int64], low: float, high: float, percentile: float
) -> ActivationRange:
    """Return the range that holds ``percentile`` of the values counted between ``low``, ``high``.

    Parameters
    ----------
    counts : ndarray of shape (bins,)
        Values per equal-width bin.
    """
    cut = (100.0 - percentile) / 200.0
    share = np.cumsum(counts) / counts.sum()
    edges = np.linspace(low, high, len(counts) + 1)
    left = int(np.searchsorted(share, cut, side="right"))
    right = int(np.searchsorted(share, 1.0 - cut, side="left"))
    return ActivationRange(min(float(edges[left]), 0.0), max(float(edges[right + 1]), 0.0))


def _histogram(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.int64]:
    if high <= low:
        return np.bincount([0], weights=[values.size], minlength=BINS).astype(np.int64)
    scaled = (values.ravel() - np.float32(low)) * np.float32(BINS / (high - low))
    bins = np.minimum(scaled.astype(np.int32), BINS - 1)
    return np.bincount(bins, minlength=BINS)


def _activations(model: onnx.ModelProto) -> tuple[list[str], dict[str, str]]:
    """Return the tensors to observe, and the Relu inputs that share their Relu's range.

    A quantizer merges a Relu into the node before it, so what only a Relu reads is never stored.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    observed, merged = [], {}
    for node in model.graph.node:
        for name in node.output:
            match readers.get(name, []):
                case [reader] if reader.op_type == "Relu":
                    merged[name] = reader.output[0]
                case _:
                    observed.append(name)
    return observed, merged


def _session_with_outputs(
    model: onnx.ModelProto, names: list[str], path: Path
) -> ort.InferenceSession:
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    known = {value.name for value in observed.graph.output}
    observed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in known
    )
    path.write_bytes(observed.SerializeToString())
    options = ort.SessionOptions()
    # Every activation is an output, so no fusion may remove one.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def tensors_range(ranges: Mapping[str, ActivationRange]) -> Any:
    """Return ranges in the form ONNX Runtime's quantizer takes."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

    return TensorsData(
        CalibrationMethod.Percentile,
        {
            name: TensorData(
                lowest=np.array(r.low, np.float32), highest=np.array(r.high, np.float32)
            )
            for name, r in ranges.items()
        },
    )
