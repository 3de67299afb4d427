"""Which parts of the network lose most in INT8, and the least to spare to reach a target.

The loss of a graph is one less the mean row cosine to FP32. It is measured when only a part is
quantised (*alone*) and when all but it is: what a part does by itself, and what sparing it gains.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.base.errors import CacheError
from facenet_validate.models.network import Block

Keep = frozenset[str]
Loss = Callable[[Keep], float]


@dataclass(frozen=True)
class Sensitivity:
    """What a part of the network loses in INT8.

    Attributes
    ----------
    name : str
        Block or node.
    nodes : tuple of str
        What it consists of.
    cost : float
        Its share of the network's multiply-adds, 0 to 1.
    alone : float
        Loss when only it is quantised.
    gain : float
        How much less is lost when all but it are quantised.
    """

    name: str
    nodes: tuple[str, ...]
    cost: float
    alone: float
    gain: float


class LossStore:
    """Measured losses on disk, one a line, so that an interrupted search goes on where it was.

    Parameters
    ----------
    path : Path
        A ``.jsonl`` file, made if missing; its name says what the losses depend on.
    measure : callable
        Returns the loss with a set of nodes left in floating point.

    Attributes
    ----------
    known : int
        How many losses were on disk.
    measured : int
        How many were measured since.
    """

    def __init__(self, path: Path, measure: Loss) -> None:
        self._path = path
        self._measure = measure
        self._losses: dict[Keep, float] = {}
        for line in _lines(path):
            try:
                values = json.loads(line)
                self._losses[frozenset(values["keep"])] = float(values["loss"])
            except (ValueError, KeyError, TypeError):
                continue  # a line that was being written when the run ended
        self.known = len(self._losses)
        self.measured = 0
        self._asked: set[Keep] = set()

    @property
    def asked(self) -> int:
        """How many different losses were asked for."""
        return len(self._asked)

    def __call__(self, keep: Keep) -> float:
        """Return a loss, measured now if it never was.

        Raises
        ------
        CacheError
            If it cannot be written.
        """
        self._asked.add(keep)
        if keep not in self._losses:
            self._losses[keep] = self._measure(keep)
            self.measured += 1
            line = json.dumps({"keep": sorted(keep), "loss": self._losses[keep]})
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._path.open("a", encoding="utf-8") as file:
                    # A line cut short by a killed run must not swallow this one.
                    file.write(f"\n{line}\n")
            except OSError as error:
                raise CacheError(
                    f"{self._path}: cannot be written ({error.strerror}). Free space or name "
                    "another folder with --cache."
                ) from None
        return self._losses[keep]


def _lines(path: Path) -> list[str]:
    """Return a file's lines; none of one that cannot be read, which the first write will tell."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def rank(
    parts: Iterable[Block], everything: Keep, costs: Mapping[str, int], loss: Loss
) -> list[Sensitivity]:
    """Return parts by what sparing each gains, most first.

    Parameters
    ----------
    parts : iterable of Block
        Blocks, or nodes as blocks of one.
    everything : frozenset of str
        All nodes that can be quantised.
    costs : mapping
        Multiply-adds by node name.
    loss : callable
        Loss with a set of nodes left in floating point.
    """
    total = max(sum(costs.values()), 1)
    whole = loss(frozenset())
    found = []
    for part in parts:
        nodes = frozenset(part.nodes)
        cost = sum(costs.get(name, 0) for name in nodes) / total
        alone, spared = loss(everything - nodes), loss(nodes)
        found.append(Sensitivity(part.name, part.nodes, cost, alone, whole - spared))
    return sorted(found, key=lambda part: -part.gain)


def smallest_set(ranking: Sequence[Sensitivity], loss: Loss, target: float) -> Keep:
    """Return a small set of parts to spare so that at most ``target`` is lost.

    Parts are added by what they gain for their multiply-adds; then each is dropped again that the
    others turn out not to need, the dearest first. All that gain, if even they are not enough.
    """
    # A residual addition has no multiply-adds, yet in floating point it is not free.
    order = sorted(ranking, key=lambda part: -part.gain / (part.cost + 1e-3))
    chosen: list[Sensitivity] = []
    for part in order:
        if loss(nodes_of(chosen)) <= target:
            break
        if part.gain > 0:
            chosen.append(part)
    if loss(nodes_of(chosen)) > target:
        return nodes_of(chosen)
    for part in sorted(chosen, key=lambda part: -part.cost):
        rest = [other for other in chosen if other is not part]
        if loss(nodes_of(rest)) <= target:
            chosen = rest
    return nodes_of(chosen)


def nodes_of(parts: Iterable[Sensitivity]) -> Keep:
    """Return the nodes of several parts."""
    return frozenset(name for part in parts for name in part.nodes)
