"""The search for the smallest set of nodes to leave in floating point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.metrics.parity import row_cosines
from facenet_validate.models.network import Block, blocks, multiply_adds
from facenet_validate.models.onnx_session import cpu_session
from facenet_validate.models.proof import Runner
from facenet_validate.models.quantization.int8 import Calibrated, quantized_graph, to_int8
from facenet_validate.models.quantization.recipes import Int8Recipe
from facenet_validate.models.quantization.sensitivity import (
    Keep,
    LossStore,
    Sensitivity,
    rank,
    smallest_set,
)

WORST_BLOCKS = 3
_ROUNDS = 6
_BATCH = 32


@dataclass(frozen=True)
class Check:
    """The final verdict on a graph.

    Attributes
    ----------
    reached : bool
        Whether the graph reaches the target.
    loss : float or None
        1 minus the mean row cosine on the faces of the check; None for a check of another measure.
    text : str
        The observation, for people.
    """

    reached: bool
    loss: float | None
    text: str


@dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes
    ----------
    recipe : Int8Recipe
        The recipe with the nodes that it keeps in floating point.
    model : onnx.ModelProto
        Its graph.
    blocks, nodes : list of Sensitivity
        The rankings of all blocks, and of the nodes of the worst blocks.
    before, after : float
        Loss on the faces of the search with no node kept, and with the nodes that were found.
    cost : float
        Share of the multiply-adds that stays in floating point, 0 to 1.
    check : Check
        The verdict on the last graph.
    """

    recipe: Int8Recipe
    model: onnx.ModelProto
    blocks: list[Sensitivity]
    nodes: list[Sensitivity]
    before: float
    after: float
    cost: float
    check: Check


def emulated_embeddings(model: onnx.ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return embeddings ``(N, D)`` with Q/DQ pairs computed as written, so no sum saturates."""
    run = emulator(model)
    return np.concatenate([run(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)])


def emulator(model: onnx.ModelProto) -> Runner:
    """Return the run of a graph with Q/DQ pairs computed as written, so no sum saturates.

    It takes standardized faces, ``(N, 3, H, W)``, and returns embeddings, ``(N, D)``.
    """
    session = cpu_session(model, entries={"session.disable_quant_qdq": "1"})
    name = model.graph.input[0].name

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {name: batch})[0])

    return run


def loss_between(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Return 1 minus the mean row cosine."""
    return float(1.0 - row_cosines(reference, found).mean())


def tune(
    calibrated: Calibrated,
    recipe: Int8Recipe,
    images: NDArray[np.float32],
    check: Callable[[onnx.ModelProto], Check],
    store: Path,
    *,
    target: float | None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Tuned:
    """Rank blocks and nodes by their loss, and spare as few nodes as reach the target.

    Parameters
    ----------
    calibrated : Calibrated
        The network to quantise.
    recipe : Int8Recipe
        How to quantise it.
    images : ndarray of shape (N, 3, H, W)
        Faces the losses are measured on.
    check : callable
        Gives the final verdict on a graph, on more faces or by another measure.
    store : Path
        File for the losses, so that an interrupted search can go on.
    target : float or None
        Loss to aim at. None where only the check knows: the loss is lowered until the check passes.
    progress : callable
        Called with (losses asked for so far, an estimate of all).

    Raises
    ------
    ModelError
        If nothing can be quantised, or the recipe keeps a node that is not there.
    """
    reference = emulated_embeddings(calibrated.model, images)
    always = frozenset(recipe.keep)

    def recipe_of(keep: Keep) -> Int8Recipe:
        return replace(recipe, keep=tuple(sorted(keep | always)))

    def measure(keep: Keep) -> float:
        model = quantized_graph(calibrated, recipe_of(keep))
        return loss_between(reference, emulated_embeddings(model, images))

    store_of_losses = LossStore(store, measure)
    # Recipes name nodes; those of a prepared model have names of their own.
    called = {node.output[0]: node.name for node in calibrated.model.graph.node}
    costs = {called[layer]: cost for layer, cost in multiply_adds(calibrated.model).items()}
    parts = [
        Block(block.name, tuple(n for layer in block.nodes if (n := called[layer]) not in always))
        for block in blocks(calibrated.model)
    ]
    everything = frozenset(name for part in parts for name in part.nodes)
    by_node: list[Sensitivity] = []

    def loss(keep: Keep) -> float:
        done = store_of_losses.asked
        # The blocks and nodes of the rankings, and then a walk through the nodes.
        progress(done, max(done + 1, 1 + 2 * len(parts) + 3 * max(len(by_node), 20)))
        return store_of_losses(keep)

    # Fails now, before the search, if nothing can be quantised or a node to keep is not there.
    to_int8(calibrated, recipe)
    by_block = rank(parts, everything, costs, loss)
    opened: set[str] = set()

    def open_blocks(count: int) -> None:
        new = [block for block in by_block[:count] if block.name not in opened]
        opened.update(block.name for block in new)
        names = [Block(name, (name,)) for block in new for name in block.nodes]
        by_node.extend(rank(names, everything, costs, loss))
        by_node.sort(key=lambda node: -node.gain)

    open_blocks(WORST_BLOCKS)
    before = loss(frozenset())
    aim = before if target is None else target
    for _ in range(_ROUNDS):
        keep = smallest_set(by_node, loss, aim)
        while loss(keep) > aim and len(opened) < len(parts):
            open_blocks(len(opened) + WORST_BLOCKS)
            keep = smallest_set(by_node, loss, aim)
        found = recipe_of(keep)
        model = to_int8(calibrated, found)
        verdict = check(model)
        if verdict.reached or loss(keep) > aim:
            break
        aim /= 2
        if target is not None and verdict.loss is not None:
            # The faces of the search lose a little less than those of the check.
            aim = max(aim, 2 * aim - 1.1 * max(verdict.loss - target, 0.01 * target))
    return Tuned(
        found,
        model,
        by_block,
        by_node,
        before,
        loss(keep),
        sum(costs.get(name, 0) for name in found.keep) / sum(costs.values()),
        verdict,
    )
