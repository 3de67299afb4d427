"""What an engine leaves behind is counted, by kind, and only if every load leaves it."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from facenet_validate.engines import given_back as module
from facenet_validate.engines.given_back import LOADS, given_back
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.gates.verdicts import Observed
from tests.models.small_facenet import SIZE, small_facenet

BATCH = np.zeros((1, 3, SIZE, SIZE), np.float32)


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the faults below keep is never given back."""
    monkeypatch.setattr(module, "_PATIENCE", 0.0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model."""
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(small_facenet(), path)
    return path


class Wrapped:
    """A real engine, and what is done after it was loaded and before it is closed."""

    def __init__(self, path: Path, loaded: Callable[[], object], closing: Callable[[Any], object]):
        self.engine = OnnxRuntimeEngine(
            path, digest="e" * 64, precision="fp32", artefact="small", device="a CPU", threads=2
        )
        self._closing = closing
        loaded()

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.engine.run(batch)

    def close(self) -> None:
        self._closing(self.engine)
        self.engine.close()


def observed(
    path: Path,
    loaded: Callable[[], object] = lambda: None,
    closing: Callable[[Any], object] = lambda engine: None,
    device_memory: Callable[[], int | None] = lambda: None,
) -> Observed:
    def load() -> Any:
        return Wrapped(path, loaded, closing)

    return given_back(load, BATCH, device_memory)


def test_an_engine_that_gives_all_back_passes(path: Path) -> None:
    found = observed(path)
    assert (found.gate, found.value) == ("contract.given_back", 0)
    assert found.detail == f"loaded and closed {LOADS} times"


@pytest.fixture
def kept() -> Iterator[ExitStack]:
    """Gives back what a fault has kept."""
    with ExitStack() as stack:
        yield stack


def _open_file(kept: ExitStack, path: Path) -> None:
    kept.callback(os.close, os.open(path, os.O_RDONLY))


def _map_file(kept: ExitStack, path: Path) -> None:
    with path.open("rb") as file:
        # A copy of the handle that mmap keeps would count too.
        kept.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _start_thread(kept: ExitStack, path: Path) -> None:
    del path
    told = threading.Event()
    thread = threading.Thread(target=told.wait)
    thread.start()
    kept.callback(thread.join)
    kept.callback(told.set)


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        (_open_file, {"1 file handles"}),
        (_map_file, {"1 mapped files", "1 file handles"}),
        (_start_thread, {"1 threads"}),
    ],
)
def test_what_every_load_leaves_is_told(
    path: Path, kept: ExitStack, keep: Callable[[ExitStack, Path], None], left: set[str]
) -> None:
    found = observed(path, loaded=lambda: keep(kept, path))
    assert found.value == len(left)
    told = found.detail.partition("; left each time: ")[2]
    assert set(told.split(", ")) == left


def test_what_the_first_load_alone_leaves_is_no_fault(path: Path, kept: ExitStack) -> None:
    """What a library sets up once, for all its engines."""
    first = iter([True])

    def loaded() -> None:
        if next(first, False):
            _open_file(kept, path)

    assert observed(path, loaded=loaded).value == 0


def test_a_session_that_somebody_still_has_is_told(path: Path) -> None:
    sessions: list[Any] = []
    found = observed(path, closing=lambda engine: sessions.append(engine._session))
    assert "1 InferenceSession object" in found.detail
    assert sessions


def test_memory_of_the_device_is_counted_in_mebibytes(path: Path) -> None:
    used = iter(range(0, 1000 << 20, 3 << 20))
    found = observed(path, device_memory=lambda: next(used))
    assert found.detail.endswith("left each time: 3 MiB of device memory")
    assert found.value == 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda batch: batch, "run after close gives embeddings"),
        (lambda batch: 1 / 0, "run after close gives ZeroDivisionError, not an EngineError"),
    ],
)
def test_a_closed_engine_that_runs_or_does_not_say_so_fails(
    path: Path, answer: Callable[[Any], Any], told: str
) -> None:
    def closing(engine: OnnxRuntimeEngine) -> None:
        engine.run = answer  # type: ignore[method-assign, assignment]

    found = observed(path, closing=closing)
    assert found.value == 1
    assert found.detail.endswith(f"left each time: {told}")


def test_what_all_engines_share_is_no_engine_s_own(path: Path) -> None:
    """As a device, which stays open."""
    shared = Shared()

    def load() -> Any:
        made = Wrapped(path, lambda: None, lambda engine: None)
        made.device = shared  # type: ignore[attr-defined]
        return made

    assert given_back(load, BATCH, lambda: None).value == 0


class Shared:
    """What is neither of the standard library nor ours."""
