"""What every backend's engine can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.vocabulary import Precision

Scope = Literal["device", "end-to-end"]
"""What a block of work spans: inputs resident on the device, or copied in and out from the host."""


@dataclass(frozen=True)
class Work:
    """One block of synchronised work.

    Attributes
    ----------
    run : callable
        Runs the block; returns when the device has finished it.
    images : int
        Images in the block: several batches, where one would be too short to time.
    batch : int
        Images in a batch.
    scope : {"device", "end-to-end"}
        What the block spans.
    """

    run: Callable[[], None]
    images: int
    batch: int
    scope: Scope


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
        What it runs on.
    device_details : str
        The rest of the device's identity, as `Identity.device_details` of a stored session.
    options : tuple of (str, str)
        Session options that can change a result or its speed.
    digest : str
        SHA-256 of the artefact.
    artefact : str
        Where the artefact came from, for people.
    recipe_only : bool
        True where the backend computes in a higher precision than the artefact's, so that a
        result speaks for the recipe and not for an engine on the target.
    """

    precision: Precision
    backend: str
    runtime: str
    device: str
    device_details: str
    options: tuple[tuple[str, str], ...]
    digest: str
    artefact: str
    recipe_only: bool


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

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What this backend can time; the default comes first."""
        ...

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of a batch ``(N, 3, 160, 160)``, work synchronised."""
        ...

    def run_many(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the embeddings of each batch in turn, overlapping what the device allows."""
        ...

    def work(self, batch: NDArray[np.float32], scope: Scope) -> Work:
        """Return a block of work over a batch, for timing.

        Raises
        ------
        EngineError
            If this backend cannot time that scope.
        """
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
