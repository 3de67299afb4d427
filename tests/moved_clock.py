"""A machine whose clock only its engines move: what a run times is what a test says.

A run whose ``conftest.py`` is `CONFTEST` is timed by it. Environment variables tell how:

``SEED``
    Of the noise; 1 where it is not given.
``SLOWER``
    ``b8=1.06,0a1b2c3d=2``: factors of the batch of 8 of every engine but FP32's, and of the engine
    whose digest begins so.
``SPELL``
    So many blocks of the engines but FP32's, from the first on, take 10 % longer.
``DISTURBED``
    What disturbed every quad.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.engines.blocks import calibrated
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import BatchTimes, Engine, Outputs, Scope, Work

CONFTEST = "from tests.moved_clock import _facenet_surroundings, machine"

_EMBEDDINGS = np.eye(2, dtype=np.float32)

RIGHT = Outputs(untimed=lambda: _EMBEDDINGS, spoil=lambda: None, left=lambda: (_EMBEDDINGS,))
"""Of blocks that compute nothing and whose embeddings count as right."""


class Machine:
    """A batch of n takes n ms, FP32 twice that, with 0.2 % of noise."""

    def __init__(self) -> None:
        self.now = 0.0
        self.blocks = 0
        self.random = np.random.default_rng(int(os.environ.get("SEED", "1")))
        pairs = (pair.partition("=") for pair in os.environ.get("SLOWER", "").split(",") if pair)
        self.slower = {key: float(factor) for key, _, factor in pairs}
        self.spell = int(os.environ.get("SPELL", "0"))

    # Of a watch

    def clock(self) -> float:
        return self.now

    def disturbance(self, begin: float, end: float) -> str:
        return os.environ.get("DISTURBED", "")

    def values(self) -> dict[str, Any]:
        return {}

    # Of engines

    def work(self, engine: Engine, batch: NDArray[np.float32], scope: Scope) -> Work:
        seconds = self._seconds(engine, batch)
        tested = engine.info.precision != "fp32"

        def block(count: int) -> None:
            spell = 1.1 if tested and self.blocks < self.spell else 1.0
            self.blocks += tested
            self.now += count * seconds * spell * float(np.exp(self.random.normal(0.0, 0.002)))

        return calibrated(Work(block, 1, len(batch), scope, RIGHT), self.clock)

    def batch_times(self, engine: Engine, batch: NDArray[np.float32], count: int) -> BatchTimes:
        seconds = np.full(count, self._seconds(engine, batch))
        return BatchTimes("host", seconds, float(seconds.sum()))

    def _seconds(self, engine: Engine, batch: NDArray[np.float32]) -> float:
        reference = engine.info.precision == "fp32"
        factor = 2.0 if reference else self.slower.get(f"b{len(batch)}", 1.0)
        return 0.001 * len(batch) * factor * self.slower.get(engine.info.digest[:8], 1.0)


@pytest.fixture(scope="session", autouse=True)
def machine() -> Iterator[Machine]:
    """The machine of the whole run; ONNX Runtime's engines take as long as it says."""
    moved = Machine()
    # Functions, which become the engines' methods; those of the machine would not.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("work", "batch_times"):
            patch.setattr(OnnxRuntimeEngine, name, _passed_on(getattr(moved, name)))
        yield moved


@pytest.fixture
def _facenet_surroundings(machine: Machine) -> Callable[[], AbstractContextManager[Machine]]:
    """In the place of the plugin's: what watches the machine, and the clock."""
    return lambda: nullcontext(machine)


def _passed_on(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: method(*given)  # noqa: PLW0108
