"""Blocks of work that last long enough to be timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.protocol import EngineInfo, Scope, Work

BLOCK_SECONDS = 0.05
"""How long a timed block lasts at least, so that its one synchronisation does not show."""


def repetitions(block: Callable[[int], None], clock: Callable[[], float]) -> int:
    """Return how many repetitions make a block of 50 to 100 ms; 1 where one lasts longer.

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
        if clock() - begin >= BLOCK_SECONDS:
            return count
        count *= 2


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
