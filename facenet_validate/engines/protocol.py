"""What every backend's engine can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self

from facenet_validate.base.vocabulary import Precision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facenet_validate.models.prepared import PreparedModel

Scope = Literal["device", "end-to-end"]
"""What a block of work spans: inputs resident on the device, or copied in and out from the host."""

HOST_SCOPES: tuple[Scope, ...] = ("end-to-end",)
"""What engines on a CPU time: nothing is copied to a device."""

DEVICE_SCOPES: tuple[Scope, ...] = ("device", "end-to-end")

HOST_BOUND = 0.8
"""Share of device time that launching may take, as trtexec warns."""


@dataclass(frozen=True)
class Work:
    """Runs of a batch, timed in blocks.

    Attributes
    ----------
    block : callable
        Runs the batch so many times; returns when the device has finished.
    count : int
        How many runs a block has: several, where one would be too short to time.
    batch : int
        Images in a batch.
    scope : {"device", "end-to-end"}
        What a block spans.
    """

    block: Callable[[int], None]
    count: int
    batch: int
    scope: Scope

    @property
    def images(self) -> int:
        """Images in a block."""
        return self.count * self.batch

    def run(self) -> None:
        """Run a block; return when the device has finished it."""
        self.block(self.count)


@dataclass(frozen=True)
class BatchTimes:
    """How long single batches took, each timed by itself.

    Attributes
    ----------
    clock : {"device", "host"}
        Whose: the device's, inputs resident, between events around each batch; or the host's, from
        a batch in memory to its embeddings in memory.
    seconds : ndarray of shape (count,)
        float64, of each batch.
    wall_seconds : float
        Host time of them all, synchronised.
    enqueue_seconds : ndarray of shape (count,) or None
        float64, host time that each launch took; None where nothing is launched.
    gpu_memory_bytes : int or None
        Memory of the GPU that the engine holds; None where it holds none, or does not know.
    latency_seconds : ndarray of shape (count,) or None
        float64, host time of batches by themselves, with their copies: from pinned memory to the
        device, computed, and back. None where `seconds` is that already.
    """

    clock: Literal["device", "host"]
    seconds: NDArray[np.float64]
    wall_seconds: float
    enqueue_seconds: NDArray[np.float64] | None = None
    gpu_memory_bytes: int | None = None
    latency_seconds: NDArray[np.float64] | None = None

    @property
    def host_bound(self) -> str:
        """Reason why these times measure the host, not the device; empty string otherwise."""
        if self.enqueue_seconds is None:
            return ""
        device, enqueue = float(self.seconds.sum()), float(self.enqueue_seconds.sum())
        if enqueue <= HOST_BOUND * device:
            return ""
        return (
            f"host-bound: launching took {enqueue * 1e3:.2f} ms of {device * 1e3:.2f} ms device "
            f"time, more than {HOST_BOUND:.0%}; a larger batch or a quieter host would be faster"
        )


@dataclass(frozen=True)
class ComputedPrecision:
    """What a loaded engine computes in, as far as its backend tells.

    Attributes
    ----------
    source : str
        Who tells, for people, as ``the engine inspector``.
    shares : mapping
        Precision → share of the multiply-adds, 0 to 1; ``unknown`` for those that are not told.
    untold : str
        Why the backend tells nothing; empty if it tells.
    """

    source: str = ""
    shares: Mapping[str, float] = field(default_factory=dict)
    untold: str = ""


@dataclass(frozen=True)
class LayerTime:
    """How long one layer of a loaded engine takes.

    Attributes
    ----------
    name : str
        For people: an ONNX node, or what the backend itself adds, as ``Transpose``.
    kind : str
        Its operation, as ``Conv``.
    nodes : tuple of str
        ONNX nodes that it computes, by which layers of two engines are matched; empty where they
        are not told.
    seconds : tuple of float
        Of each run of a batch.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    seconds: tuple[float, ...]

    @property
    def fastest(self) -> float:
        """Seconds of its fastest run: what disturbs a run only adds time.

        Chen and Revels, Robust benchmarking in noisy environments, HPEC 2016.
        """
        return min(self.seconds)


@dataclass(frozen=True)
class LayerTimes:
    """How long each layer of a loaded engine takes, as far as its backend tells.

    Attributes
    ----------
    source : str
        Who tells, for people, as ``ONNX Runtime's profile``.
    layers : tuple of LayerTime
        In the order in which they run.
    untold : str
        Why the backend tells nothing; empty if it tells.
    """

    source: str = ""
    layers: tuple[LayerTime, ...] = ()
    untold: str = ""

    @property
    def fastest(self) -> float:
        """Seconds of a batch, each layer at its fastest."""
        return sum(layer.fastest for layer in self.layers)


@dataclass(frozen=True)
class InnerTensors:
    """What lies between the layers of an engine, as far as its backend gives it.

    Attributes
    ----------
    source : str
        How the tensors are taken, for people.
    run : callable or None
        Returns the embeddings of a batch ``(N, 3, H, W)``, and the tensors that were asked for, in
        order, in float32. It holds what it needs until it is dropped.
    untold : str
        Why the backend gives none; empty if it gives them.
    """

    source: str = ""
    run: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]] | None = None
    untold: str = ""


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
    fixed_batches : tuple of int
        Batch sizes of which one runs, whatever is given: other batches are padded or cut. Empty
        where every batch runs as it is.
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
    fixed_batches: tuple[int, ...] = ()


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

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd when it was loaded, for people."""
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

    def batch_times(self, batch: NDArray[np.float32], count: int) -> BatchTimes:
        """Time single batches one by one, by the best clock that this backend has.

        Parameters
        ----------
        count : int
            How many; a 99th percentile needs 1,000.

        Raises
        ------
        EngineError
            As ``work``.
        """
        ...

    def computed_precision(self, model: PreparedModel) -> ComputedPrecision:
        """Return what the loaded engine computes in.

        Parameters
        ----------
        model : PreparedModel
            What the engine is of: layers are known by the names of its nodes.
        """
        ...

    def layer_times(self, batch: NDArray[np.float32], count: int) -> LayerTimes:
        """Time the layers of the engine, as far as its backend tells.

        Parameters
        ----------
        batch : ndarray of shape (N, 3, H, W)
            float32.
        count : int
            How many runs, after one that warms up.

        Raises
        ------
        EngineError
            As ``run``.
        """
        ...

    def inner_tensors(self, names: Sequence[str]) -> InnerTensors:
        """Return how to run the engine for tensors inside it, as far as its backend gives them.

        Parameters
        ----------
        names : sequence of str
            Tensors of the ONNX graph that the engine was made from.

        Raises
        ------
        EngineError
            If the engine was closed.
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
