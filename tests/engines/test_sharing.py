"""Engines at once: what counts as the same results, as a refusal, and as a fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Barrier, current_thread, main_thread
from types import SimpleNamespace, TracebackType
from typing import Any, Self, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.protocol import Engine
from facenet_validate.engines.sharing import two_engines, two_threads

BATCH = np.arange(24, dtype=np.float32).reshape(4, 2, 1, 3)


class Sound:
    """An engine whose embedding of an image are the image's values."""

    closed = False

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.closed:
            raise EngineError("it was closed")
        return batch.reshape(len(batch), -1).copy()

    def run_many(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        return map(self.run, batches)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def in_other_thread() -> bool:
    return current_thread() is not main_thread()


class OneForAll(Sound):
    """Keeps the faces of a run where another thread writes its own over them."""

    def __init__(self) -> None:
        self.both = Barrier(2)
        self.faces = BATCH

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.faces = batch
        if self.together:
            self.both.wait()
        return super().run(self.faces)

    together = False


class Refuses(Sound):
    def __init__(self, message: str = "this is another thread", kind: type = EngineError) -> None:
        self.error = kind(message)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if in_other_thread():
            raise self.error
        return super().run(batch)


class Stale(Sound):
    """Gives another thread what it has computed last."""

    last = np.zeros((2, 6), np.float32)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if not in_other_thread():
            self.last = super().run(batch)
        return self.last


def engine(made: Sound) -> Engine:
    return cast("Engine", made)


def test_a_sound_engine_gives_two_threads_the_same() -> None:
    found = two_threads(engine(Sound()), BATCH)
    assert (found.gate, found.value) == ("contract.two_threads", 0.0)
    assert found.detail == "4 faces in two threads, 3 times"


def test_faces_of_another_thread_are_seen() -> None:
    mixed = OneForAll()
    runs = iter(range(100))

    def counted(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        # The two runs before and the one after are alone.
        mixed.together = 2 <= next(runs) < 8
        return OneForAll.run(mixed, batch)

    mixed.run = counted  # type: ignore[method-assign]
    assert two_threads(engine(mixed), BATCH).value == np.linalg.norm(BATCH[2] - BATCH[0])


def test_embeddings_that_another_thread_computed_are_seen() -> None:
    assert two_threads(engine(Stale()), BATCH).value > 0  # type: ignore[operator]


def test_a_clear_refusal_passes_and_is_told() -> None:
    found = two_threads(engine(Refuses()), BATCH)
    assert found.value == 0.0
    assert found.detail.endswith("; the other thread was refused: this is another thread")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Infer Request is busy", EngineError),
        ("this is another thread", RuntimeError),
    ],
)
def test_an_error_that_is_no_refusal_fails(message: str, kind: type) -> None:
    found = two_threads(engine(Refuses(message, kind)), BATCH)
    assert np.isnan(cast("float", found.value))
    assert found.detail.endswith(f"; the other thread failed: {message}")


def test_fewer_rows_than_faces_fail() -> None:
    class Short(Sound):
        def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
            return super().run(batch)[: 1 if in_other_thread() else None]

    assert np.isnan(cast("float", two_threads(engine(Short()), BATCH).value))


def test_sound_engines_do_not_disturb_each_other() -> None:
    loaded: list[Sound] = []

    def load() -> Engine:
        loaded.append(Sound())
        return engine(loaded[-1])

    found = two_engines(engine(Sound()), load, engine(Sound()), BATCH)
    assert (found.gate, found.value) == ("contract.two_engines", 0.0)
    assert [one.closed for one in loaded] == [True]


def test_a_refused_thread_leaves_engines_in_turns() -> None:
    found = two_engines(engine(Sound()), lambda: engine(Refuses()), engine(Refuses()), BATCH)
    assert found.value == 0.0
    assert found.detail.count("the other thread was refused: this is another thread") == 1


def shared(fault: str) -> tuple[Engine, Any]:
    """Two engines of a class, and how one harms the other."""
    state = SimpleNamespace(newest=None, memory=np.zeros((2, 6), np.float32), last=None)

    class Shared(Sound):
        def __init__(self) -> None:
            state.newest = self

        def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
            found = super().run(batch)
            if fault == "one memory for embeddings":
                state.memory[:] = found
                return cast("NDArray[np.float32]", state.memory)
            if fault == "weights of the newest" and state.newest is not self:
                return -found
            if fault == "in turns" and state.last not in (None, self):
                found += 1
            state.last = self
            return found

        def close(self) -> None:
            super().close()
            if fault == "closes all":
                Shared.closed = True

    return engine(Shared()), lambda: engine(Shared())


@pytest.mark.parametrize(
    "fault", ["one memory for embeddings", "weights of the newest", "in turns", "closes all"]
)
def test_an_engine_that_is_harmed_by_another_is_seen(fault: str) -> None:
    one, load = shared(fault)
    found = two_engines(one, load, engine(Sound()), BATCH)
    assert not cast("float", found.value) <= 1e-5
    if fault == "closes all":
        assert found.detail.endswith("; it was closed")


def test_a_healthy_pair_of_that_class_passes() -> None:
    one, load = shared("none")
    assert two_engines(one, load, engine(Sound()), BATCH).value == 0.0
