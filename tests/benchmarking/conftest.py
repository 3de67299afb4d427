from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from facenet_validate.benchmarking.sessions import Identity, Session


class FakeClock:
    """A clock that moves only when work is done."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: Callable[[], float]) -> Callable[[], None]:
        def run() -> None:
            self.now += seconds()

        return run


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def identity() -> Identity:
    return Identity(
        device="Fast(R) CPU",
        device_details="family 6, model 85, stepping 7, flags 0a1b2c3d, 2 cores",
        precision="int8",
        target="cpu",
        batch=64,
        shape=(64, 3, 160, 160),
        backend="onnxruntime",
        scope="end-to-end",
        protocol=1,
    )


@pytest.fixture(scope="session")
def make_session(identity: Identity) -> Callable[..., Session]:
    def make(minute: int = 0, **changes: Any) -> Session:
        session = Session(
            recorded_at=f"2026-01-01T{minute // 60:02d}:{minute % 60:02d}:00+00:00",
            identity=identity,
            provenance={"onnxruntime": "1.31"},
            epoch=0,
            reason="first",
            latency_seconds=1.0,
            block_seconds=(0.9, 1.0, 1.1, 0.9, 1.0, 1.1),
        )
        return replace(session, **changes)

    return make
