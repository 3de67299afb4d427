"""What timing of an engine rests on: blocks long enough, and replays timed one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_SECONDS = 0.05
"""How long a timed block lasts at least, so that its one synchronisation does not show."""

HOST_BOUND = 0.8
"""Share of device time that launching may take, as trtexec warns."""


@dataclass(frozen=True)
class ReplayTimes:
    """Times of replays of one batch, inputs resident.

    Attributes
    ----------
    device_seconds : ndarray of shape (count,)
        float64, device time of each replay, between events around it.
    enqueue_seconds : ndarray of shape (count,)
        float64, host time each launch took.
    wall_seconds : float
        Host time of all, synchronised.
    """

    device_seconds: NDArray[np.float64]
    enqueue_seconds: NDArray[np.float64]
    wall_seconds: float

    @property
    def host_bound(self) -> str:
        """Why the times speak for the host and not the device; empty if they do not."""
        device, enqueue = float(self.device_seconds.sum()), float(self.enqueue_seconds.sum())
        if enqueue <= HOST_BOUND * device:
            return ""
        return (
            f"host-bound: launching took {enqueue * 1e3:.2f} ms of {device * 1e3:.2f} ms device "
            f"time, more than {HOST_BOUND:.0%}; a larger batch or a quieter host would be faster"
        )


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
