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
    why_no_bindings : callable
        Returns why neither pycuda nor cuda-bindings can be used; an empty string if one can.
    """

    why_not: Callable[[], str]
    compute_capability: Callable[[], str]
    why_no_bindings: Callable[[], str]

    def unusable(self) -> str:
        """Return why engines that are run from Python cannot be run on it; empty if they can."""
        return self.why_not() or self.why_no_bindings()


def gpu() -> Gpu:
    """Return the questions to the GPU of this machine."""
    from facenet_validate.engines.device.driver import compute_capability, why_no_device
    from facenet_validate.engines.device.opening import why_no_bindings

    return Gpu(why_no_device, compute_capability, why_no_bindings)
