"""Waiting for what another process or thread does, however long a busy machine takes for it."""

from __future__ import annotations

import time
from collections.abc import Callable

HANG = 600.0
"""Seconds after which a test gives up. It ends a hang; no test depends on what takes less."""


def wait_until(done: Callable[[], bool]) -> None:
    """Return once something is so.

    Raises
    ------
    AssertionError
        If it is not for so long that it never will be.
    """
    until = time.monotonic() + HANG
    while not done():
        assert time.monotonic() < until, f"nothing happened in {HANG:g} s"
        time.sleep(0.001)
