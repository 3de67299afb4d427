"""Builders and runtimes: made here alone, and why one could not be made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.driver import cuda_version, driver_version, why_no_device
from facenet_validate.engines.tensorrt.library import Library
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.engines.tensorrt.packages import PlanBackend

if TYPE_CHECKING:
    import tensorrt as trt

_NO_MEMORY = re.compile(r"out of memory|error:? 2\b", re.IGNORECASE)
"""In words, or as ``cudaErrorMemoryAllocation``."""

DRIVERS = {13: 580, 12: 525}
"""CUDA's version → the oldest branch of NVIDIA's driver for it, by NVIDIA's page on minor version
compatibility."""


@dataclass(frozen=True)
class Surroundings:
    """What a builder or runtime depends on beside its library.

    Attributes
    ----------
    wheel : str
        Distribution that the library came with, as ``tensorrt-cu13``; empty string if unknown.
    wheel_cuda : int or None
        CUDA's major version that the wheel is made for.
    no_device : str
        Why no CUDA device can be used; empty string if one can.
    driver : str
        Version of NVIDIA's driver, as ``580.65.06``; empty string if unknown.
    driver_cuda : str
        The newest CUDA that the driver supports, as ``13.0``; empty string if unknown.
    """

    wheel: str = ""
    wheel_cuda: int | None = None
    no_device: str = ""
    driver: str = ""
    driver_cuda: str = ""


def start_builder(library: Library) -> trt.Builder:
    """Return a builder.

    Raises
    ------
    EngineError
        If TensorRT makes none: with what it logged, the driver, and what the wheel needs.
    """
    with _starting(library, "builder"):
        builder: trt.Builder = library.module.Builder(library.logger)
    return builder


def start_runtime(library: Library) -> trt.Runtime:
    """Return a runtime.

    Raises
    ------
    EngineError
        As `start_builder`.
    """
    with _starting(library, "runtime"):
        runtime: trt.Runtime = library.module.Runtime(library.logger)
    return runtime


@contextmanager
def _starting(library: Library, what: str) -> Iterator[None]:
    with listening(library.logger) as messages:
        try:
            yield
        except TypeError as error:
            # pybind11 says so that the library made nothing. Another TypeError is a wrong call.
            if "nullptr" not in str(error):
                raise
            around = surroundings(library.backend)
            # Some versions log the reason as an error, others as a warning.
            logged = messages.complaints
            raise EngineError(why_not_started(library, what, logged, around)) from None


def why_not_started(library: Library, what: str, logged: str, around: Surroundings) -> str:
    """Return what a user reads of a builder or runtime that could not be made.

    Parameters
    ----------
    what : str
        ``builder`` or ``runtime``.
    logged : str
        The library's own errors and warnings, one a line.
    """
    reason = "; ".join(logged.splitlines()) or "it gave no reason"
    parts = [f"{library.name} {library.version} cannot start a {what}: {reason.rstrip('.')}."]
    if around.no_device:
        parts.append(f"No GPU can be used: {around.no_device}.")
    else:
        parts.append(
            f"The NVIDIA driver is {around.driver or 'of an unknown version'}, for CUDA "
            f"{around.driver_cuda or 'of an unknown version'}."
        )
    needed = around.wheel_cuda
    if needed is None:
        known = ", ".join(f"{DRIVERS[cuda]} for CUDA {cuda}" for cuda in sorted(DRIVERS))
        parts.append(f"Expected a driver not older than {known}, as the library was made for.")
    else:
        parts.append(f"{around.wheel} needs driver {DRIVERS[needed]} or later (CUDA {needed}).")
    parts.append(_advice(logged, around))
    return " ".join(part for part in parts if part)


def _advice(logged: str, around: Surroundings) -> str:
    if around.no_device:
        return ""  # its reason says what to do
    supported = int(around.driver_cuda.partition(".")[0] or 0)
    if around.wheel_cuda is not None and 0 < supported < around.wheel_cuda:
        other = f", or its package for CUDA {supported}" if supported in DRIVERS else ""
        return f"Install a newer driver{other}."
    if _NO_MEMORY.search(logged):
        return "Free memory of the GPU: nvidia-smi lists the processes that use it."
    return ""


def surroundings(backend: PlanBackend) -> Surroundings:
    """Return what this machine has for a library. Asks the driver, which initialises CUDA."""
    wheel, cuda = next(_wheels(backend), ("", None))
    no_device = why_no_device()
    return Surroundings(
        wheel, cuda, no_device, driver_version(), "" if no_device else cuda_version()
    )


def _wheels(backend: PlanBackend) -> Iterator[tuple[str, int]]:
    """Yield installed wheels of a library, which have CUDA's major version in their names."""
    for cuda in DRIVERS:
        for name in (f"{backend}-cu{cuda}", f"{backend}-cu{cuda}-bindings"):
            try:
                distribution(name)
            except PackageNotFoundError:
                continue
            yield name, cuda
