"""Ray on this machine, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.scale import faults

MEMORY = 200 * 2**20
"""Bytes of the object store."""

RayHere = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def ray_here() -> RayHere:
    """Start Ray with two processors; a function of `faults` is called in every worker."""
    ray: Any = import_module("ray")

    @contextmanager
    def started(fault: str = "", **variables: str) -> Iterator[None]:
        environment: dict[str, Any] = {"env_vars": {"PYTHONPATH": str(REPOSITORY), **variables}}
        if fault:
            environment["worker_process_setup_hook"] = f"{faults.__name__}.{fault}"
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=MEMORY,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env=environment,
        )
        try:
            yield
        finally:
            ray.shutdown()

    return started
