"""Which parts of the network lose most in INT8, and which few to spare to reach a target.

The loss of a graph is 1 minus the mean row cosine to FP32. Each part has two losses: one of the
graph in which only this part is quantised (*alone*), and one of the graph in which all other parts
are. The second shows what sparing the part gains.
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
    """The loss that a part of the network causes in INT8.

    Attributes
    ----------
    name : str
        Block or node.
    nodes : tuple of str
        The nodes of the part.
    cost : float
        Its share of the network's multiply-adds, 0 to 1.
    alone : float
        Loss when only it is quantised.
    gain : float
        Loss of the whole network in INT8, less the loss with this part in floating point.
    """

    name: str
    nodes: tuple[str, ...]
    cost: float
    alone: float
    gain: float


class LossStore:
    """Measured losses on disk, one a line: an interrupted search goes on from them.

    Parameters
    ----------
    path : Path
        A ``.jsonl`` file, made if missing. Its name holds what the losses depend on.
    measure : callable
        Returns the loss with a set of nodes left in floating point.

    Attributes
    ----------
    known : int
        Number of losses that were on disk.
    measured : int
        Number of losses measured since.
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
        """Number of different losses asked for."""
        return len(self._asked)

    def __call__(self, keep: Keep) -> float:
        """Return a loss; measure it if it is not known.

        Raises
        ------
        CacheError
            If the loss cannot be written.
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
    """Return a file's lines, or none if it cannot be read: the first write then says why."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def rank(
    parts: Iterable[Block], everything: Keep, costs: Mapping[str, int], loss: Loss
) -> list[Sensitivity]:
    """Return parts with their losses, the part with the largest gain first.

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
    """Return the nodes of a small set of parts to spare, so that at most ``target`` is lost.

    Parts are added in the order of their gain for their multiply-adds. Then each part without which
    the target is still reached is dropped again, the most costly first. If all parts that gain are
    not enough, all of them are returned.
    """
    # A residual addition has no multiply-adds, but it takes time in floating point.
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
