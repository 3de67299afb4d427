"""By how much an engine's channels are divided, where a recipe gave its channels like ranges.

Equalization divides a channel where it is made, and multiplies the weights that read it, so the
function stays (`facenet_validate.models.quantization.equalization`). Tensors of such an engine are
compared with the model's after their channels are multiplied back. The factors come from the
weights of both graphs alone, so that no fault of the engine's activations moves them.

The weights of a layer give ``W_engine[o, i] = W[o, i] · g_in[i] / g_out[o]``. With ``g_in`` known,
``g_out`` follows by least squares, row by row, from the image to the embedding. A layer whose
weights are others gives none; its factors come from the layers that read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from facenet_validate.diagnosis.layer_weights import LayerWeights
from facenet_validate.diagnosis.matching import Operator

Factors = NDArray[np.float64]

MISFIT = 0.5
"""Largest share of a layer's weights, as power, that factors may leave unexplained. Rounding to 3
bits by channel leaves about a tenth; other weights leave nearly all."""

_IMAGE_CHANNELS = 3

_KEEP = ("Add", "Sum", "MaxPool", "GlobalMaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean")
"""Operators that give as many channels as they read."""


def channel_factors(
    operators: Sequence[Operator], weights: Mapping[str, LayerWeights]
) -> dict[str, Factors]:
    """Return by how much each channel of the engine is divided.

    Parameters
    ----------
    operators : sequence of Operator
        In the model's order.
    weights : mapping
        Of every layer, by `Operator.name`.

    Returns
    -------
    dict
        `Operator.name` → factors of shape (C,); of shape (1,), a one, where nothing tells them. The
        image has the empty name.
    """
    of: dict[str, Factors | None] = {"": np.ones(_IMAGE_CHANNELS)}
    for operator in operators:
        before = [of.get(edge.maker) for edge in operator.read]
        if operator.name in weights:
            of[operator.name] = _given(weights[operator.name], before[0])
        elif operator.reference.op_type == "Concat":
            known = [factors for factors in before if factors is not None]
            of[operator.name] = np.concatenate(known) if len(known) == len(before) else None
        else:
            of[operator.name] = next((found for found in before if found is not None), None)
    if operators and operators[-1].name in weights and of[operators[-1].name] is None:
        # Nothing could multiply the embedding back.
        of[operators[-1].name] = np.ones(len(weights[operators[-1].name].reference))
    channels = _channels(operators, weights)
    for operator in reversed(operators):
        _fill(operator, weights, channels, of)
    return {name: np.ones(1) if found is None else found for name, found in of.items()}


def _given(layer: LayerWeights, read: Factors | None) -> Factors | None:
    """Return the factors of what a layer gives; None where its weights are others."""
    if read is None:
        return None
    ours = layer.reference * _columns(read, layer)[None, :, None]
    ratio = _ratio(ours, layer.engine, axis=0)
    return None if ratio is None else 1 / ratio


def _columns(factors: Factors, layer: LayerWeights) -> Factors:
    """Return factors of a layer's columns: a flattened channel has a column for every place."""
    return np.repeat(factors, layer.reference.shape[1] // len(factors))


def _ratio(ours: Factors, theirs: Factors, *, axis: int) -> Factors | None:
    """Return by what to multiply ours along an axis to get theirs; None where they do not fit.

    Least squares on ours, which are not rounded: rounding theirs does not bias it.
    """
    others = tuple(place for place in range(3) if place != axis)
    product = (ours * theirs).sum(axis=others)
    power, rounded = (ours**2).sum(axis=others), (theirs**2).sum(axis=others)
    used = (power > 0) & (rounded > 0)
    if not used.any():
        return None
    likeness = np.sign(product[used]) * product[used] ** 2 / (power[used] * rounded[used])
    if not 1 - np.median(likeness) < MISFIT:
        return None
    ratio = np.ones(len(power))
    np.divide(product, power, out=ratio, where=used & (product > 0))
    return ratio


def _channels(operators: Sequence[Operator], weights: Mapping[str, LayerWeights]) -> dict[str, int]:
    """Return how many channels each operator gives; 0 where that is not known."""
    of = {"": _IMAGE_CHANNELS}
    for operator in operators:
        before = [of[edge.maker] for edge in operator.read]
        if operator.name in weights:
            of[operator.name] = len(weights[operator.name].reference)
        elif operator.reference.op_type == "Concat":
            of[operator.name] = sum(before) if all(before) else 0
        else:
            of[operator.name] = max(before) if operator.reference.op_type in _KEEP else 0
    return of


def _fill(
    operator: Operator,
    weights: Mapping[str, LayerWeights],
    channels: Mapping[str, int],
    of: dict[str, Factors | None],
) -> None:
    """Give an operator's unknown operands their factors, from what it gives."""
    given = of.get(operator.name)
    if given is None:
        return
    start = 0
    for edge in operator.read:
        made: Factors | None = given
        if operator.name in weights:
            layer = weights[operator.name]
            made = _ratio(layer.reference, layer.engine * given[:, None, None], axis=1)
            if made is not None and len(made) != channels[edge.maker]:
                made = None  # a flattened channel has several columns
        elif operator.reference.op_type == "Concat":
            made = given[start : start + channels[edge.maker]]
            start += channels[edge.maker]
        if of.get(edge.maker) is None and made is not None and len(made) == channels[edge.maker]:
            of[edge.maker] = made
