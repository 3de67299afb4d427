"""Damaged graphs, and sound ones that were made in another way, for measure_diagnosis.py and tests.

Every function returns a new graph and leaves the one that it is given.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import Int8Recipe

Weights = NDArray[np.float32]
Change = Callable[[Weights, np.random.Generator], Weights]


# -- layers ----------------------------------------------------------------------------------------


def random_values(weight: Weights, rng: np.random.Generator) -> Weights:
    """Return weights of the same mean and deviation, drawn anew."""
    return rng.normal(weight.mean(), weight.std(), weight.shape).astype(np.float32)


def nothing(weight: Weights, rng: np.random.Generator) -> Weights:
    """Return zeros."""
    del rng
    return np.zeros_like(weight)


def outputs_exchanged(weight: Weights, rng: np.random.Generator) -> Weights:
    """Return the weights with their output channels in another order."""
    return weight[rng.permutation(len(weight))]


def inputs_exchanged(weight: Weights, rng: np.random.Generator) -> Weights:
    """Return the weights with their input channels in another order."""
    return weight[:, rng.permutation(weight.shape[1])]


def negated(weight: Weights, rng: np.random.Generator) -> Weights:
    """Return the weights with the opposite sign."""
    del rng
    return -weight


def half_lost(weight: Weights, rng: np.random.Generator) -> Weights:
    """Return the weights with zeros in the place of half the output channels."""
    made = weight.copy()
    made[rng.permutation(len(made))[: len(made) // 2]] = 0
    return made


CHANGES: tuple[Change, ...] = (
    random_values, nothing, outputs_exchanged, inputs_exchanged, negated, half_lost,
)  # fmt: skip


def layers(model: onnx.ModelProto) -> list[str]:
    """Return the names of a graph's layers with weights, in order."""
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")]


def changed_layers(
    model: onnx.ModelProto, names: Iterable[str], change: Change, rng: np.random.Generator
) -> onnx.ModelProto:
    """Return an FP32 graph some of whose layers have other weights; biases stay."""
    made = copy.deepcopy(model)
    weights = {tensor.name: tensor for tensor in made.graph.initializer}
    wanted = set(names)
    for node in made.graph.node:
        if node.name in wanted:
            tensor = weights[node.input[1]]
            value = change(numpy_helper.to_array(tensor), rng)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
    return made


def noisy(model: onnx.ModelProto, level: float, rng: np.random.Generator) -> onnx.ModelProto:
    """Return a graph with noise on every weight, ``level`` times its layer's deviation."""

    def change(weight: Weights, rng: np.random.Generator) -> Weights:
        noise = rng.normal(0, level * float(weight.std()), weight.shape)
        return (weight + noise).astype(np.float32)

    return changed_layers(model, layers(model), change, rng)


def pruned(model: onnx.ModelProto, share: float) -> onnx.ModelProto:
    """Return a graph with zeros in the place of each layer's smallest weights."""

    def change(weight: Weights, rng: np.random.Generator) -> Weights:
        del rng
        limit = np.quantile(np.abs(weight), share)
        return np.where(np.abs(weight) < limit, 0, weight).astype(np.float32)

    return changed_layers(model, layers(model), change, np.random.default_rng(0))


# -- calibration and ranges ------------------------------------------------------------------------


def calibrated_on(
    model: onnx.ModelProto, images: NDArray[np.float32], recipe: Int8Recipe
) -> onnx.ModelProto:
    """Return the INT8 graph of a recipe that was calibrated on any images (N, 3, H, H)."""
    return to_int8(calibrate(model, images, equalized=recipe.equalized), recipe)


def raw(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return standardized faces as pixels of 0 to 255."""
    return (faces * 128 + 127.5).astype(np.float32)


def from_0_to_1(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return standardized faces as pixels of 0 to 1."""
    return (raw(faces) / 255).astype(np.float32)


def standardized_again(faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return standardized faces, standardized once more."""
    return ((faces - 127.5) / 128).astype(np.float32)


def collapsed(model: onnx.ModelProto, tensor: str, factor: float) -> onnx.ModelProto:
    """Return an INT8 graph that rounds one tensor in a range of another width."""
    made = copy.deepcopy(model)
    for weight in made.graph.initializer:
        if weight.name == f"{tensor}/scale":
            value = numpy_helper.to_array(weight) * np.float32(factor)
            weight.CopyFrom(numpy_helper.from_array(np.asarray(value, np.float32), weight.name))
            return made
    raise LookupError(tensor)


def rounded_tensors(model: onnx.ModelProto) -> list[str]:
    """Return the activations that a graph of our recipes rounds, in order."""
    names = [node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return [name.removesuffix("/scale") for name in dict.fromkeys(names)]


def coarse_weights(
    model: onnx.ModelProto, images: NDArray[np.float32], recipe: Int8Recipe, bits: int
) -> onnx.ModelProto:
    """Return the INT8 graph of a recipe whose weights have fewer bits."""
    return calibrated_on(model, images, replace(recipe, weight_bits=bits))


# -- FP16 ------------------------------------------------------------------------------------------


def beyond_half(model: onnx.ModelProto, tensor: str, factor: float) -> onnx.ModelProto:
    """Return the same FP32 function with a tensor multiplied by a factor and divided by it again.

    In FP16 values beyond 65504 / factor become infinite in between.
    """
    made = copy.deepcopy(model)
    up, down = f"{tensor}/up", f"{tensor}/down"
    for name, value in ((up, factor), (down, 1 / factor)):
        made.graph.initializer.append(
            numpy_helper.from_array(np.array(value, np.float32), f"{name}/by")
        )
    for node in made.graph.node:
        for place, name in enumerate(node.input):
            if name == tensor:
                node.input[place] = down
    place = next(i for i, node in enumerate(made.graph.node) if tensor in node.output)
    nodes = [
        helper.make_node("Mul", [tensor, f"{up}/by"], [up], name=up),
        helper.make_node("Mul", [up, f"{down}/by"], [down], name=down),
    ]
    kept = [*made.graph.node[: place + 1], *nodes, *made.graph.node[place + 1 :]]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
    del made.graph.node[:]
    made.graph.node.extend(kept)
    return made


# -- sound graphs made in another way --------------------------------------------------------------


def renamed(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.ModelProto:
    """Return the graph as another exporter writes it: other names, and sums the other way round."""
    made = copy.deepcopy(model)
    kept = {value.name for value in (*made.graph.input, *made.graph.output)}
    names: dict[str, str] = {}

    def other(name: str) -> str:
        if not name or name in kept:
            return name
        return names.setdefault(name, f"t{len(names)}")

    for tensor in made.graph.initializer:
        tensor.name = other(tensor.name)
    for place, node in enumerate(made.graph.node):
        node.name = f"n{place}"
        inputs = [other(name) for name in node.input]
        if node.op_type == "Add" and rng.random() < 0.5:
            inputs.reverse()
        del node.input[:]
        node.input.extend(inputs)
        outputs = [other(name) for name in node.output]
        del node.output[:]
        node.output.extend(outputs)
    del made.graph.value_info[:]
    return made


def saved(models: Sequence[onnx.ModelProto]) -> list[bytes]:
    """Return graphs as files hold them."""
    return [bytes(model.SerializeToString(deterministic=True)) for model in models]
