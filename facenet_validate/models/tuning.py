"""The search for the smallest set of nodes to leave in floating point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.metrics.parity import row_cosines
from facenet_validate.models.int8 import Calibrated, to_int8
from facenet_validate.models.network import Block, blocks, multiply_adds
from facenet_validate.models.recipes import Int8Recipe
from facenet_validate.models.sensitivity import (
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
    """Whether a graph reaches the target, by what it is judged on in the end.

    Attributes
    ----------
    reached : bool
    loss : float or None
        One less the mean row cosine on the faces of the check; None where it has another measure.
    text : str
        What was observed, for people.
    """

    reached: bool
    loss: float | None
    text: str


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Attributes
    ----------
    recipe : Int8Recipe
        With the nodes it keeps.
    model : onnx.ModelProto
        Its graph.
    blocks, nodes : list of Sensitivity
        The rankings: of all blocks, and of the nodes of the worst.
    before, after : float
        Loss on the faces of the search with nothing kept, and with the set found.
    cost : float
        Share of the multiply-adds that is kept, 0 to 1.
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
    """Return embeddings ``(N, D)`` with Q/DQ pairs computed as written: nothing saturates."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    name = model.graph.input[0].name
    batches = range(0, len(images), _BATCH)
    return np.concatenate([session.run(None, {name: images[i : i + _BATCH]})[0] for i in batches])


def loss_between(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Return one less the mean row cosine."""
    return float(1.0 - row_cosines(reference, found).mean())


def tune(
    calibrated: Calibrated,
    recipe: Int8Recipe,
    images: NDArray[np.float32],
    check: Callable[[onnx.ModelProto], Check],
    store: Path,
    *,
    target: float | None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Tuned:
    """Rank blocks and nodes by what they lose, and spare as few as reach the target.

    Parameters
    ----------
    calibrated : Calibrated
        The network to quantise.
    recipe : Int8Recipe
        How.
    images : ndarray of shape (N, 3, H, W)
        Faces the losses are measured on.
    check : callable
        The last word on a graph: on more faces, or by another measure.
    store : Path
        Where losses are kept, so that an interrupted search goes on.
    target : float or None
        Loss to aim at; None where only the check can tell, and the loss is lowered until it passes.
    progress : callable
        Called with (what, done, total) before each measurement of a ranking.
    """
    reference = emulated_embeddings(calibrated.model, images)

    def graph(keep: Keep) -> onnx.ModelProto:
        return to_int8(calibrated, replace(recipe, keep=tuple(sorted(keep))))

    def measure(keep: Keep) -> float:
        return loss_between(reference, emulated_embeddings(graph(keep), images))

    loss = LossStore(store, measure)
    costs = multiply_adds(calibrated.model)
    parts = blocks(calibrated.model)
    everything = frozenset(name for part in parts for name in part.nodes)

    def ranked(what: str, parts: list[Block]) -> list[Sensitivity]:
        found = []
        for index, part in enumerate(parts):
            progress(what, index, len(parts))
            found += rank([part], everything, costs, loss)
        progress(what, len(parts), len(parts))
        return sorted(found, key=lambda part: -part.gain)

    by_block = ranked("blocks", parts)
    by_node: list[Sensitivity] = []
    opened: set[str] = set()

    def open_blocks(count: int) -> None:
        new = [block for block in by_block[:count] if block.name not in opened]
        opened.update(block.name for block in new)
        names = [Block(name, (name,)) for block in new for name in block.nodes]
        by_node.extend(ranked("nodes", names))
        by_node.sort(key=lambda node: -node.gain)

    open_blocks(WORST_BLOCKS)
    before = loss(frozenset())
    keep: Keep = frozenset()
    aim = before if target is None else target
    for round_ in range(_ROUNDS):
        found = smallest_set(by_node, loss, aim)
        while found is None and len(opened) < len(parts):
            open_blocks(len(opened) + WORST_BLOCKS)
            found = smallest_set(by_node, loss, aim)
        keep = everything if found is None else found
        progress("check", round_, _ROUNDS)
        model = graph(keep) if found is not None else calibrated.model
        verdict = check(model)
        if verdict.reached or found is None:
            break
        if target is None or verdict.loss is None:
            aim = min(loss(keep), aim) / 2
        else:
            # The faces of the search are a little easier than those of the check.
            aim -= 1.1 * max(verdict.loss - target, 0.01 * target)
    return Tuned(
        replace(recipe, keep=tuple(sorted(keep))),
        model,
        by_block,
        by_node,
        before,
        loss(keep),
        sum(costs.get(name, 0) for name in keep) / sum(costs.values()),
        verdict,
    )
