"""What is asked of the GPU before a backend is chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """Questions about the GPU; nothing is asked until one is called.

    Attributes
    ----------
    why_not : callable
        Returns why no CUDA device can be used; an empty string if one can.
    compute_capability : callable
        Returns the device's, as ``9.0``; an empty string if it is unknown.
    why_no_pycuda : callable
        Returns why pycuda cannot be used; an empty string if it can.
    """

    why_not: Callable[[], str]
    compute_capability: Callable[[], str]
    why_no_pycuda: Callable[[], str]

    def unusable(self) -> str:
        """Return why engines cannot be run on it; empty if they can."""
        return self.why_not() or self.why_no_pycuda()


def gpu() -> Gpu:
    """Return the questions to the GPU of this machine."""
    from facenet_validate.engines.device.cuda import why_no_pycuda
    from facenet_validate.engines.device.driver import compute_capability, why_no_device

    return Gpu(why_no_device, compute_capability, why_no_pycuda)
