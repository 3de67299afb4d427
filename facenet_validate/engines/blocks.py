"""Blocks of work that last long enough to be timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.protocol import Engine, EngineInfo, Outputs, Scope, Work

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_SECONDS = 0.05
"""How long a timed block lasts at least, so that its one synchronisation does not show."""


MOST_RUNS = 1_000_000
"""Runs of a batch that a block has at most: only work that computes nothing is as fast."""


def repetitions(block: Callable[[int], None], clock: Callable[[], float]) -> int:
    """Return how many repetitions make a block of 50 to 100 ms; 1 where one lasts longer.

    There are no more than `MOST_RUNS`.

    Parameters
    ----------
    block : callable
        Runs so many repetitions, synchronised at the end.
    clock : callable
        Seconds of the host.
    """
    # The first run sets up: memory is touched, graphs are captured, clocks begin to rise.
    block(1)
    count = 1
    while True:
        begin = clock()
        block(count)
        if clock() - begin >= BLOCK_SECONDS or count == MOST_RUNS:
            return count
        count = min(2 * count, MOST_RUNS)


def calibrated(work: Work, clock: Callable[[], float]) -> Work:
    """Return the same work in blocks of 50 to 100 ms, as fast as it runs now.

    An engine makes its work so. A measurement does it again once the engine is warm: a GPU's clock
    rises meanwhile, and blocks that lasted 50 ms before are shorter then.

    Parameters
    ----------
    clock : callable
        Seconds of the host.
    """
    return replace(work, count=repetitions(work.block, clock))


class HostBlock:
    """Runs of a batch whose embeddings lie in the host's memory.

    Parameters
    ----------
    engine : Engine
        What runs it.
    batch : ndarray of shape (N, 3, H, W)
        float32.
    """

    def __init__(self, engine: Engine, batch: NDArray[np.float32]) -> None:
        self._engine = engine
        self._batch = batch
        self._left: tuple[NDArray[np.float32], ...] = ()

    def __call__(self, count: int) -> None:
        """Run the batch so many times. The last embeddings alone are kept."""
        self._left = ()
        for _ in range(count - 1):
            self._engine.run(self._batch)
        self._left = (self._engine.run(self._batch),)

    def outputs(self) -> Outputs:
        """Return what its last run computed, beside another run."""
        return Outputs(lambda: self._engine.run(self._batch), self._spoil, lambda: self._left)

    def _spoil(self) -> None:
        self._left = ()


def check_scope(info: EngineInfo, scope: Scope, scopes: tuple[Scope, ...], where: str = "") -> None:
    """Check that an engine times a scope.

    Raises
    ------
    EngineError
        If it does not.
    """
    if scope not in scopes:
        raise EngineError(
            f"engine {info.artefact}: scope {scope} cannot be timed{where}; expected "
            f"{' or '.join(scopes)}."
        )
