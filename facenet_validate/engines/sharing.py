"""Engines at once: two threads of one engine, and two engines in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import Observed
from facenet_validate.metrics.parity import largest_change

ROUNDS = 3
"""How often two threads run at once."""


@dataclass(frozen=True)
class _Turn:
    """An engine, a batch (N, 3, H, W), and the embeddings (N, D) that it gives alone."""

    engine: Engine
    batch: NDArray[np.float32]
    alone: NDArray[np.float32]


@dataclass(frozen=True)
class _Seen:
    """What a thread saw of its runs.

    Attributes
    ----------
    moved : float
        Largest L2 distance to the embeddings that its engine gives alone; NaN after an error.
    said : str
        What the engine said when it refused or failed; empty if it did neither.
    """

    moved: float
    said: str = ""


def two_threads(engine: Engine, batch: NDArray[np.float32]) -> Observed:
    """Run an engine in two threads at once, for ``contract.two_threads``.

    This thread and another one run faces of their own, several times at the same moment. An engine
    may refuse the other thread, by an `EngineError` that has the word *thread*. Any other error is
    none that a caller understands.

    Parameters
    ----------
    batch : ndarray of shape (N, 3, H, W)
        float32, two faces or more.

    Returns
    -------
    Observed
        The largest L2 distance to what one thread gives, and to what the engine gives afterwards.
        NaN where a thread met an error that is no refusal.
    """
    one, other = _alone(engine, np.array_split(batch, 2))
    seen = _at_once(one, other)
    afterwards = largest_change(one.alone, engine.run(one.batch))
    moved = float(np.max([afterwards, *(each.moved for each in seen)]))
    told = [f"{len(batch)} faces in two threads, {ROUNDS} times", *(e.said for e in seen if e.said)]
    return Observed("contract.two_threads", moved, "; ".join(told))


def two_engines(
    engine: Engine,
    load: Callable[[], Engine],
    reference: Engine,
    batch: NDArray[np.float32],
) -> Observed:
    """Run an engine beside another load and beside the reference, for ``contract.two_engines``.

    First they take turns in one thread, batch by batch; what a device overlaps is under way at
    once. Then each of the two runs in a thread of its own beside the engine. At last the other load
    is closed.

    Parameters
    ----------
    load : callable
        Loads the engine anew.
    reference : Engine
        An engine of another graph, or of another backend.
    batch : ndarray of shape (N, 3, H, W)
        float32, two faces or more.

    Returns
    -------
    Observed
        The largest L2 distance to what each engine gives alone, of `engine` before the other is
        loaded. NaN where one met an error; a refusal of the other thread is none.
    """
    parts = np.array_split(batch, 2)
    first = _alone(engine, parts)
    try:
        with load() as again:
            moved, said = _beside(first, [_alone(again, parts), _alone(reference, parts)])
        moved += [largest_change(turn.alone, engine.run(turn.batch)) for turn in first]
    except EngineError as error:
        moved, said = [np.nan], [str(error)]
    told = ["beside another load and the reference, in turns and in threads", *said]
    return Observed("contract.two_engines", float(np.max(moved)), "; ".join(told))


def _alone(engine: Engine, parts: Sequence[NDArray[np.float32]]) -> list[_Turn]:
    # Copies: an engine that reuses its memory would change them.
    return [_Turn(engine, part, engine.run(part).copy()) for part in parts]


def _beside(first: list[_Turn], others: list[list[_Turn]]) -> tuple[list[float], list[str]]:
    """Run engines in turns and in threads; return how far embeddings moved, and what was said."""
    every = [first, *others]
    runs = (turns[0].engine.run_many([turn.batch for turn in turns]) for turns in every)
    # No copies, and compared at the end: what was given must stay as it was.
    rounds = list(zip(*runs, strict=True))
    moved = [
        largest_change(turn.alone, found)
        for turns, given in zip(every, zip(*rounds, strict=True), strict=True)
        for turn, found in zip(turns, given, strict=True)
    ]
    seen = [one for other in others for one in _at_once(first[0], other[1])]
    said = [one.said for one in seen if one.said]
    return [*moved, *(one.moved for one in seen)], list(dict.fromkeys(said))


def _at_once(here: _Turn, there: _Turn) -> tuple[_Seen, _Seen]:
    """Run one batch in this thread and one in another, at the same moment."""
    together = Barrier(2)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(_runs, there, together, "the other thread")
        try:
            mine = _runs(here, together, "this thread")
        except BaseException:
            together.abort()  # so that the other thread does not wait for one that is gone
            raise
        return mine, other.result()


def _runs(turn: _Turn, together: Barrier, where: str) -> _Seen:
    found: list[NDArray[np.float32]] = []
    said: dict[str, bool] = {}
    for _ in range(ROUNDS):
        together.wait()
        try:
            found.append(turn.engine.run(turn.batch))
        except Exception as error:  # a library's own error is what must not come through
            refused = isinstance(error, EngineError) and "thread" in str(error)
            said[f"{where} {'was refused' if refused else 'failed'}: {error}"] = refused
    moved = [largest_change(turn.alone, one) for one in found]
    if not all(said.values()):
        moved.append(np.nan)
    return _Seen(float(np.max(moved, initial=0.0)), "; ".join(said))
