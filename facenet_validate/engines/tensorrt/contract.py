"""What a deserialized engine takes and gives, and which of its profiles runs a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.protocol import TensorInfo

if TYPE_CHECKING:
    import tensorrt as trt

INPUT = "input"
OUTPUT = "embeddings"


@dataclass(frozen=True)
class BatchRange:
    """Batch sizes an optimization profile takes, and the one it is optimised for."""

    profile: int
    minimum: int
    optimum: int
    maximum: int


@dataclass(frozen=True)
class Piece:
    """A part of a batch that runs at once.

    Attributes
    ----------
    start : int
        Its first row in the batch.
    rows : int
        How many rows of the batch it has.
    size : int
        With how many the engine runs; what is more than ``rows`` is padding.
    profile : int
        Which optimization profile runs it.
    """

    start: int
    rows: int
    size: int
    profile: int


@dataclass(frozen=True)
class Contract:
    """The tensors of an engine and the batches it takes.

    Attributes
    ----------
    input : TensorInfo
        ``input``, float32 ``[N, 3, H, W]``.
    output : TensorInfo
        ``embeddings``, float32 ``[N, D]``.
    ranges : tuple of BatchRange
        One a profile.
    """

    input: TensorInfo
    output: TensorInfo
    ranges: tuple[BatchRange, ...]

    @property
    def maximum(self) -> int:
        """The largest batch that runs at once."""
        return max(one.maximum for one in self.ranges)

    @property
    def fixed_batches(self) -> tuple[int, ...]:
        """Batch sizes that static profiles run; empty where a profile takes several sizes."""
        if any(one.minimum < one.maximum for one in self.ranges):
            return ()
        return tuple(sorted({one.maximum for one in self.ranges}))

    @property
    def image(self) -> tuple[int, ...]:
        """Shape of an image, ``(3, H, W)``."""
        return tuple(int(length) for length in self.input.shape[1:])

    @property
    def width(self) -> int:
        """Length of an embedding, D."""
        return int(self.output.shape[1])

    def pieces(self, count: int) -> tuple[Piece, ...]:
        """Split a batch: whole by shape, larger ones by the largest profile, small ones padded."""
        pieces = []
        start = 0
        while start < count:
            rows = min(count - start, self.maximum)
            one = self._nearest(rows)
            pieces.append(Piece(start, rows, max(rows, one.minimum), one.profile))
            start += rows
        return tuple(pieces)

    def _nearest(self, rows: int) -> BatchRange:
        """Return the profile nearest to a batch of at most ``maximum`` rows."""
        above = [one.minimum for one in self.ranges if rows <= one.maximum]
        size = max(rows, min(above))
        fitting = [one for one in self.ranges if one.minimum <= size <= one.maximum]
        return min(fitting, key=lambda one: (abs(one.optimum - size), one.maximum))


def read_contract(engine: trt.ICudaEngine, module: Any, artefact: str) -> Contract:
    """Return what an engine takes and gives.

    Raises
    ------
    EngineError
        If that is not ``input`` float32 ``[N, 3, H, W]`` and ``embeddings`` float32 ``[N, D]``.
    """
    found = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        is_input = engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
        found[name] = "input" if is_input else "output"
    if found != {INPUT: "input", OUTPUT: "output"}:
        listed = ", ".join(f"{role} {name}" for name, role in found.items()) or "no tensors"
        raise EngineError(
            f"{artefact} has {listed}; expected input {INPUT} and output {OUTPUT}. Build it from "
            "a prepared model: facenet-validate prepare."
        )
    for name in found:
        _check_memory(engine, module, name, artefact)
    image = _lengths(engine.get_tensor_shape(INPUT))
    if len(image) != 4 or image[1] != 3 or min(image[2:]) < 1:
        raise EngineError(
            f"{artefact}: input {INPUT} has shape {_text(image)}; expected [N,3,H,W] with fixed "
            "H and W."
        )
    embedding = _lengths(engine.get_tensor_shape(OUTPUT))
    if len(embedding) != 2 or embedding[1] < 1:
        raise EngineError(
            f"{artefact}: output {OUTPUT} has shape {_text(embedding)}; expected [N,D]."
        )
    ranges = []
    for profile in range(engine.num_optimization_profiles):
        shapes = engine.get_tensor_profile_shape(INPUT, profile)
        ranges.append(BatchRange(profile, *(int(shape[0]) for shape in shapes)))
    return Contract(
        TensorInfo(INPUT, "float32", ("N", *image[1:])),
        TensorInfo(OUTPUT, "float32", ("N", embedding[1])),
        tuple(ranges),
    )


def _check_memory(engine: trt.ICudaEngine, module: Any, name: str, artefact: str) -> None:
    """Check that a tensor is what our buffers are: plain float32 rows on the device."""
    dtype = engine.get_tensor_dtype(name)
    if dtype != module.DataType.FLOAT:
        raise EngineError(
            f"{artefact}: tensor {name} is {dtype}; expected float32 (the precision is inside the "
            "engine, its input and output stay float32). Build it again so: trtexec "
            "--inputIOFormats=fp32:chw --outputIOFormats=fp32:chw, from a graph whose input and "
            "output are FLOAT (facenet-validate prepare GRAPH.onnx -o NEW.onnx writes one)."
        )
    if engine.get_tensor_location(name) != module.TensorLocation.DEVICE:
        raise EngineError(f"{artefact}: tensor {name} is in host memory; expected the device's.")
    layout = engine.get_tensor_format(name)
    if layout != module.TensorFormat.LINEAR:
        raise EngineError(
            f"{artefact}: tensor {name} has format {layout}; expected LINEAR, rows one after "
            "another."
        )


def _lengths(shape: trt.Dims) -> tuple[int, ...]:
    return tuple(int(shape[axis]) for axis in range(len(shape)))


def _text(shape: tuple[int, ...]) -> str:
    return "[" + ",".join("N" if length < 0 else str(length) for length in shape) + "]"
