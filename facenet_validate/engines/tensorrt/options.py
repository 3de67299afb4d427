"""How a plan is to be built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.backend import BuildRequest, Profile


@dataclass(frozen=True)
class BuildOptions:
    """What a plan depends on beside the graph.

    FP32 layers are never computed in TF32, whose 10 bits of mantissa are FP16's. A plan of
    TensorRT for RTX is for the library's default, compute capability 8.0 and all later ones.

    Attributes
    ----------
    batch_sizes : tuple of int
        At least one. Each has an optimisation profile, tuned for this batch size, which is its
        largest.
    workspace_bytes : int, optional
        Limit of the memory a layer may work in; by default the library's, all there is.
    optimization_level : int, optional
        0, quick to build, to 5; by default the library's, 3.
    profile : {"dynamic", "static"}
        A dynamic profile takes batches from one image. A static one takes its batch size alone:
        tactics and formats need suit no other.

    Raises
    ------
    EngineError
        If a value is out of range.
    """

    batch_sizes: tuple[int, ...]
    workspace_bytes: int | None = None
    optimization_level: int | None = None
    profile: Profile = "dynamic"

    def __post_init__(self) -> None:
        if not self.batch_sizes or min(self.batch_sizes) < 1:
            raise EngineError(f"batch sizes {self.batch_sizes}: expected at least one, from 1 up.")
        if self.workspace_bytes is not None and self.workspace_bytes < 1:
            raise EngineError(f"workspace of {self.workspace_bytes} bytes: expected at least 1.")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise EngineError(f"optimisation level {self.optimization_level}: expected 0 to 5.")

    @classmethod
    def of(cls, request: BuildRequest) -> BuildOptions:
        """Return the options of what a user asks for."""
        mib = request.workspace_mib
        workspace_bytes = None if mib is None else mib * 2**20
        return cls(
            request.batch_sizes, workspace_bytes, request.optimization_level, request.profile
        )

    @property
    def profiles(self) -> tuple[tuple[int, int, int], ...]:
        """Smallest batch, the one that the plan is tuned for, and the largest, of each profile."""
        static = self.profile == "static"
        return tuple((size if static else 1, size, size) for size in self.batch_sizes)

    def inputs(self) -> dict[str, Any]:
        """Return everything as JSON values, for the cache key; it has what was once an option."""
        return {
            "profiles": [list(profile) for profile in self.profiles],
            "workspace_bytes": self.workspace_bytes,
            "optimization_level": self.optimization_level,
            "tf32": False,
            "compute_capabilities": [],
        }
