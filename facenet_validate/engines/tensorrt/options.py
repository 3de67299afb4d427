"""How a plan is to be built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facenet_validate.base.errors import EngineError


@dataclass(frozen=True)
class Profile:
    """An optimisation profile: the batch sizes a plan takes, and the one it is tuned for.

    Raises
    ------
    EngineError
        If the sizes are not 1 ≤ minimum ≤ optimum ≤ maximum.
    """

    minimum: int
    optimum: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.optimum <= self.maximum:
            raise EngineError(
                f"optimisation profile {self.minimum}, {self.optimum}, {self.maximum}: expected "
                "1 ≤ minimum ≤ optimum ≤ maximum batch size."
            )

    @classmethod
    def up_to(cls, batch_size: int) -> Profile:
        """Return the default profile: from 1, tuned for the batch size, which is the largest."""
        return cls(1, batch_size, batch_size)


@dataclass(frozen=True)
class BuildOptions:
    """What a plan depends on beside the graph.

    Attributes
    ----------
    profiles : tuple of Profile
        At least one.
    workspace_bytes : int, optional
        Limit of the memory a layer may work in; by default the library's, all there is.
    optimization_level : int, optional
        0, quick to build, to 5; by default the library's, 3.
    tf32 : bool
        Whether FP32 layers may be computed in TF32, whose 10 bits of mantissa are FP16's.
    compute_capabilities : tuple of str
        What a plan of TensorRT for RTX is built for, as ``8.9``; empty for the library's default,
        which is 8.0 and all later ones. ``current`` alone is that of the GPU at hand.
    """

    profiles: tuple[Profile, ...]
    workspace_bytes: int | None = None
    optimization_level: int | None = None
    tf32: bool = False
    compute_capabilities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.profiles:
            raise EngineError("no optimisation profile: expected at least one.")
        if self.workspace_bytes is not None and self.workspace_bytes < 1:
            raise EngineError(f"workspace of {self.workspace_bytes} bytes: expected at least 1.")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise EngineError(f"optimisation level {self.optimization_level}: expected 0 to 5.")
        if "current" in self.compute_capabilities and len(self.compute_capabilities) > 1:
            raise EngineError(
                f"compute capabilities {', '.join(self.compute_capabilities)}: expected 'current' "
                "alone, or numbers."
            )

    @classmethod
    def for_batches(
        cls,
        batch_sizes: Sequence[int],
        *,
        workspace_mib: int | None = None,
        optimization_level: int | None = None,
    ) -> BuildOptions:
        """Return options with a profile for each batch size: from one image, tuned for it."""
        return cls(
            tuple(Profile.up_to(size) for size in batch_sizes),
            workspace_bytes=None if workspace_mib is None else workspace_mib * 2**20,
            optimization_level=optimization_level,
        )

    @property
    def for_this_gpu(self) -> bool:
        """Whether the plan is for the GPU at hand only."""
        return "current" in self.compute_capabilities

    def inputs(self) -> dict[str, Any]:
        """Return everything as JSON values, for the cache key."""
        return {
            "profiles": [[p.minimum, p.optimum, p.maximum] for p in self.profiles],
            "workspace_bytes": self.workspace_bytes,
            "optimization_level": self.optimization_level,
            "tf32": self.tf32,
            "compute_capabilities": list(self.compute_capabilities),
        }
