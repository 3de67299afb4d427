"""What every backend's engine can do."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from facenet_validate.models.quantization.recipes import Precision


@dataclass(frozen=True)
class EngineInfo:
    """What an engine is, for identities, cache keys and reports.

    Attributes
    ----------
    precision : str
        ``fp32``, ``fp16`` or ``int8``.
    backend : str
        What runs it.
    runtime : str
        The library and its full version.
    device : str
        What it runs on, for people.
    options : tuple of (str, str)
        Session options that can change a result or its speed.
    digest : str
        SHA-256 of the artefact.
    artefact : str
        Where the artefact came from, for people.
    recipe_only : bool
        True where the backend computes in a higher precision than the artefact's, so that a
        result speaks for the recipe and not for an engine on the target.
    int8_share : float or None
        Share of multiply-adds in INT8, 0 to 1; None where the artefact does not tell.
    """

    precision: Precision
    backend: str
    runtime: str
    device: str
    options: tuple[tuple[str, str], ...]
    digest: str
    artefact: str
    recipe_only: bool
    int8_share: float | None = None


@dataclass(frozen=True)
class TensorInfo:
    """Name, dtype and shape of a tensor; a dynamic dimension is a string."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Engine(Protocol):
    """Turns batches of standardized faces into embeddings on a device."""

    @property
    def info(self) -> EngineInfo: ...

    @property
    def input(self) -> TensorInfo: ...

    @property
    def output(self) -> TensorInfo: ...

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of a batch ``(N, 3, 160, 160)``, work synchronised."""
        ...

    def close(self) -> None:
        """Release what the engine holds; further calls of ``run`` are errors."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
