"""The values of activations over the calibration faces, and the ranges that follow."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from facenet_validate.models.onnx_session import cpu_session
from facenet_validate.models.quantization.recipes import Method

Progress = Callable[[int, int], None]

BATCH = 8
BINS = 4096
_LEVELS = 128
_ENTROPY_STEP = 16


@dataclass(frozen=True)
class ChannelValues:
    """The values one tensor took over the calibration images, by channel.

    Attributes
    ----------
    low, high : ndarray of shape (C,), float64
        Extremes.
    mean : ndarray of shape (C, H, W) or (C,), float64
        Mean over the images, at every place.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """The values one tensor took over the calibration images.

    Attributes
    ----------
    low, high : float
        Extremes.
    counts : ndarray of shape (4096,), int64
        Values in bins of equal width from ``low`` to ``high``.
    mean : ndarray of shape (C, H, W) or (C,), float64
        Mean over the images, at every place.
    """

    low: float
    high: float
    counts: NDArray[np.int64]
    mean: NDArray[np.float64]


@dataclass(frozen=True)
class ActivationRange:
    """The calibrated range of one tensor, in the tensor's own unit; it contains zero."""

    low: float
    high: float


def observe_channels(
    model: onnx.ModelProto, images: NDArray[np.float32], *, progress: Progress | None = None
) -> dict[str, ChannelValues]:
    """Return extremes and means of every float tensor of a graph, its input among them.

    Images run in a fixed order and batch size, so that the same images give the same numbers.
    Beside the images, memory holds one batch.

    Parameters
    ----------
    model : onnx.ModelProto
        FP32, with one input.
    images : ndarray of shape (N, 3, H, W)
        Standardized faces.
    progress : callable, optional
        Called with (images done, images in all).
    """
    lows: dict[str, NDArray[np.float64]] = {}
    highs: dict[str, NDArray[np.float64]] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    for tensors in tensors_of(model, images, progress):
        for name, values in tensors.items():
            places = (0, *range(2, values.ndim))
            low, high = values.min(axis=places), values.max(axis=places)
            total = values.sum(axis=0, dtype=np.float64)
            if name not in sums:
                lows[name], highs[name], sums[name] = low.astype(float), high.astype(float), total
            else:
                np.minimum(lows[name], low, out=lows[name])
                np.maximum(highs[name], high, out=highs[name])
                sums[name] += total
    return {name: ChannelValues(lows[name], highs[name], sums[name] / len(images)) for name in sums}


def observe_activations(
    model: onnx.ModelProto,
    images: NDArray[np.float32],
    channels: Mapping[str, ChannelValues],
    *,
    progress: Progress | None = None,
) -> dict[str, Activation]:
    """Return the histogram of every tensor, between the extremes that its channels reach.

    Parameters
    ----------
    channels : mapping
        The result of `observe_channels` for the same graph and images.
    """
    extremes = {
        name: (float(values.low.min()), float(values.high.max()))
        for name, values in channels.items()
    }
    counts = {name: np.zeros(BINS, np.int64) for name in channels}
    for tensors in tensors_of(model, images, progress):
        for name, values in tensors.items():
            counts[name] += _histogram(values, *extremes[name])
    return {
        name: Activation(*extremes[name], counts[name], values.mean)
        for name, values in channels.items()
    }


def activation_range(
    activation: Activation, method: Method, *, percentile: float, symmetric: bool
) -> ActivationRange:
    """Return the range a tensor is quantised in.

    Parameters
    ----------
    activation : Activation
        Its values.
    method : {"minmax", "percentile", "entropy"}
        ``minmax`` keeps every value; ``percentile`` a share of them; ``entropy`` the range whose
        quantised distribution has the least Kullback-Leibler divergence from the values' own
        (Migacz, *8-bit inference with TensorRT*, GTC 2017).
    percentile : float
        Share in percent for ``percentile``. Asymmetric ranges cut half of the rest on each side.
    symmetric : bool
        Whether the range is ``[-t, t]``.
    """
    low, high = activation.low, activation.high
    if method == "minmax":
        found = ActivationRange(min(low, 0.0), max(high, 0.0))
    elif method == "percentile" and not symmetric:
        found = percentile_range(activation.counts, low, high, percentile)
    else:
        sizes, width = _magnitudes(activation)
        if method == "percentile":
            share = np.cumsum(sizes) / sizes.sum()
            limit = (int(np.searchsorted(share, percentile / 100.0, side="left")) + 1) * width
        else:
            limit = _entropy_bins(sizes) * width
        found = ActivationRange(max(min(low, 0.0), -limit), min(max(high, 0.0), limit))
    if symmetric:
        limit = max(-found.low, found.high)
        return ActivationRange(-limit, limit)
    return found


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


def _magnitudes(activation: Activation) -> tuple[NDArray[np.float64], float]:
    """Return counts of the absolute values in equal bins from zero, and the bins' width."""
    limit = max(abs(activation.low), abs(activation.high))
    if limit == 0.0:
        return np.ones(BINS), 1.0 / BINS
    edges = np.linspace(activation.low, activation.high, BINS + 1)
    centres = np.abs((edges[:-1] + edges[1:]) / 2.0)
    places = np.minimum((centres / limit * BINS).astype(np.intp), BINS - 1)
    sizes = np.bincount(places, weights=activation.counts, minlength=BINS).astype(np.float64)
    return sizes, limit / BINS


def _entropy_bins(sizes: NDArray[np.float64]) -> int:
    """Return how many bins of magnitudes to keep for the least divergence at 128 levels."""
    # Exact zeros come from Relu and are exact in every range. They would outweigh all other values.
    sizes = sizes.copy()
    sizes[0] = 0.0
    if not sizes.any():
        return len(sizes)
    best, kept = np.inf, len(sizes)
    for count in range(_LEVELS, len(sizes) + 1, _ENTROPY_STEP):
        reference = sizes[:count].copy()
        present = reference > 0
        reference[-1] += sizes[count:].sum()
        groups = np.arange(count) * _LEVELS // count
        totals = np.bincount(groups, weights=sizes[:count], minlength=_LEVELS)
        members = np.bincount(groups, weights=present, minlength=_LEVELS)
        level = np.divide(totals, members, out=np.zeros(_LEVELS), where=members > 0)
        quantized = np.where(present, level[groups], 0.0)
        p, q = reference / reference.sum(), quantized / max(quantized.sum(), 1e-300)
        # A value clipped into an empty bin diverges infinitely: keep more of the range.
        if q[-1] == 0.0 and p[-1] > 0.0:
            continue
        inside = (p > 0) & (q > 0)
        divergence = float(np.sum(p[inside] * np.log(p[inside] / q[inside])))
        if divergence < best:
            best, kept = divergence, count
    return kept


def _histogram(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.int64]:
    if high <= low:
        return np.bincount([0], weights=[values.size], minlength=BINS).astype(np.int64)
    scaled = (values.ravel() - np.float32(low)) * np.float32(BINS / (high - low))
    bins = np.minimum(scaled.astype(np.int32), BINS - 1)
    return np.bincount(bins, minlength=BINS)


def tensors_of(
    model: onnx.ModelProto, images: NDArray[np.float32], progress: Progress | None
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Yield every float tensor of a graph, its input among them, by name, batch by batch."""
    observed = copy.deepcopy(model)
    names = [name for node in model.graph.node for name in node.output]
    known = {value.name for value in observed.graph.output}
    observed.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in known
    )
    # Every activation is an output, so no fusion may remove one.
    session = cpu_session(observed, optimisation="none")
    input_name = model.graph.input[0].name
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        outputs = session.run(names, {input_name: batch})
        yield {input_name: batch} | dict(zip(names, outputs, strict=True))
        if progress is not None:
            progress(min(start + BATCH, len(images)), len(images))
