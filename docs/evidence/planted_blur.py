"""An engine that breaks under blur alone, planted for the robustness suite to find.

A share of the features before the bottleneck is zeroed where the picture's Laplacian energy is
below that of every face of the set. Faces as they are have the embeddings that they had.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_BOTTLENECK = "bottleneck/weight"
_SEED = 20180408


def laplacian_energy(batch: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean square of each picture's Laplacian, without the border.

    Parameters
    ----------
    batch : (N, 3, H, H) float32 array
        Standardized.
    """
    grey = batch.astype(np.float64).mean(axis=1)
    around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    energy = np.mean((around - 4 * grey[:, 1:-1, 1:-1]) ** 2, axis=(1, 2))
    return np.asarray(energy)


def least_energy(batches: Iterable[NDArray[np.float32]]) -> float:
    """Return a Laplacian energy just below that of every picture."""
    return 0.999 * min(float(laplacian_energy(batch).min()) for batch in batches)


def kept_features(count: int, share: float) -> NDArray[np.float32]:
    """Return 0 for a share of the features, drawn with a fixed seed, and 1 for the others."""
    kept = np.ones(count, np.float32)
    kept[np.random.default_rng(_SEED).permutation(count)[: round(share * count)]] = 0
    return kept


def blind_to_blur(model: onnx.ModelProto, least: float, share: float) -> onnx.ModelProto:
    """Return a model that zeroes a share of its features on pictures of less energy than `least`.

    Parameters
    ----------
    model : ModelProto
        A prepared model.
    least : float
        Laplacian energy.
    share : float
        Of the features before the bottleneck.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    place, bottleneck = next(
        (place, node) for place, node in enumerate(graph.node) if _BOTTLENECK in node.input
    )
    weights = next(one for one in graph.initializer if one.name == _BOTTLENECK)
    features, count = bottleneck.input[0], max(weights.dims)
    kernel = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)[None, None]
    values: dict[str, NDArray[Any]] = {
        "blind/kernel": kernel,
        "blind/least": np.array(least, np.float32),
        "blind/kept": kept_features(count, share),
        "blind/columns": np.array([1], np.int64),
    }
    for name, value in values.items():
        graph.initializer.append(numpy_helper.from_array(value, name))
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["blind/grey"], axes=[1], keepdims=1),
        helper.make_node("Conv", ["blind/grey", "blind/kernel"], ["blind/laplacian"]),
        helper.make_node("Mul", ["blind/laplacian", "blind/laplacian"], ["blind/squares"]),
        helper.make_node(
            "ReduceMean", ["blind/squares"], ["blind/energy"], axes=[1, 2, 3], keepdims=0
        ),
        helper.make_node("Less", ["blind/energy", "blind/least"], ["blind/smooth"]),
        helper.make_node("Unsqueeze", ["blind/smooth", "blind/columns"], ["blind/rows"]),
        helper.make_node("Mul", [features, "blind/kept"], ["blind/fewer"]),
        helper.make_node("Where", ["blind/rows", "blind/fewer", features], ["blind/features"]),
    ]
    bottleneck.input[0] = "blind/features"
    for number, node in enumerate(nodes):
        node.name = node.output[0]
        graph.node.insert(place + number, node)
    onnx.checker.check_model(made)
    return made
