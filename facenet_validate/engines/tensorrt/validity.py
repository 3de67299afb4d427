"""Whether a plan built elsewhere can run here, found out before it is deserialized.

Deserializing runs the vendor's code over the plan, and a plan can carry code of its own: plans are
trusted input. Nothing here deserializes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.tensorrt.library import Library
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.engines.tensorrt.packages import NAMES, PlanBackend
from facenet_validate.engines.tensorrt.plans import kept_manifest
from facenet_validate.engines.tensorrt.start import start_runtime
from facenet_validate.models.file_kinds import kind_by_content

# trtexec --getPlanVersionOnly reads TensorRT's header this way; RTX's plans have the same places.
_TAGS: dict[bytes, PlanBackend] = {b"ftrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
_SUFFIXES = (".plan", ".engine", ".trt")
_HEADER = 28
_VERSION = slice(24, 28)
_SIZE = slice(16, 24)

_CAUSES = {
    "VERSION_MISMATCH": "it was built by another version of the library",
    "UNSUPPORTED_CC": "it was not built for this GPU's compute capability",
    "OLD_CUDA_DRIVER": "the CUDA driver is too old",
    "OLD_CUDA_RUNTIME": "the CUDA runtime is too old",
    "INSUFFICIENT_GPU_MEMORY": "the GPU has too little memory",
    "MALFORMED_ENGINE": "its header is damaged",
    "CUDA_ERROR": "CUDA reported an error",
}


@dataclass(frozen=True)
class PlanHeader:
    """What the first bytes of a plan say.

    Attributes
    ----------
    backend : str
        Whose plan it is.
    version : str
        Version of the library that built it, four numbers.
    note : str
        What a user should know although it does not stop the run; empty string otherwise.
    """

    backend: PlanBackend
    version: str
    note: str = ""


def explain_plan(path: Path, library: Library, *, gpu: GpuIdentity | None) -> PlanHeader:
    """Check that a plan can be loaded by a library on a GPU.

    Parameters
    ----------
    gpu : GpuIdentity or None
        The GPU at hand; without one only the header and what lies beside the plan are checked.

    Raises
    ------
    EngineError
        If the file is no whole plan, or of another library, version or GPU.
    """
    header = read_header(path)
    if header.backend != library.backend:
        raise EngineError(
            f"plan {path}: built by {NAMES[header.backend]} {header.version}, but the backend is "
            f"{library.name}. Run with --facenet-backend {header.backend}."
        )
    if not _same_version(header.version, library.version):
        raise EngineError(
            f"plan {path}: built by {library.name} {header.version}, but {library.version} is "
            "installed, and plans are of one version only. Build it again from its ONNX graph "
            "with this version, or install the other."
        )
    if gpu is None:
        return header
    _check_gpu(path, gpu)
    return PlanHeader(header.backend, header.version, _asked(path, library, gpu))


def read_header(path: Path) -> PlanHeader:
    """Read whose plan a file is.

    Raises
    ------
    EngineError
        If it cannot be read, or is no whole plan.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER)
        size = path.stat().st_size
    except OSError as error:
        raise EngineError(f"plan {path} cannot be read ({error.strerror}).") from None
    # A file that ends within the tag is known by its first letters.
    backend = next((_TAGS[tag] for tag in _TAGS if head and tag.startswith(head[:4])), None)
    if backend is not None and len(head) < _HEADER:
        raise EngineError(
            f"{path} is no TensorRT plan: it has {size} bytes, and the header of a plan of "
            f"{NAMES[backend]}, as which it begins, has {_HEADER}. It was copied in part: copy it "
            "again."
        )
    if backend is None:
        raise EngineError(
            f"{path} is no TensorRT plan: it has {size} bytes and begins with {head[:4]!r}, not "
            f"with {b'ftrt'!r} (TensorRT) or {b'vtrt'!r} (TensorRT for RTX){_resembles(path, head)}"
            ". Expected what IBuilder.build_serialized_network or trtexec --saveEngine wrote."
        )
    if backend == "tensorrt-rtx":
        # Only RTX's plans are known to hold their own size.
        whole = int.from_bytes(head[_SIZE], "little")
        if size != whole:
            raise EngineError(
                f"plan {path}: {size} bytes, but its header says {whole}. It is damaged or was "
                "copied in part; copy it again."
            )
    return PlanHeader(backend, ".".join(str(number) for number in head[_VERSION]))


def _resembles(path: Path, head: bytes) -> str:
    if not head:
        return ": it is empty"
    if path.suffix.lower() == ".onnx" or head[:1] == b"\x08":
        return ". It looks like an ONNX graph, which must be called .onnx"
    kind = kind_by_content(path)
    return "" if kind is None else f". It looks like {kind.what}"


def _same_version(of_plan: str, installed: str) -> bool:
    numbers = [int(part) for part in installed.split(".")[:4] if part.isdigit()]
    # A byte each: a build number beyond 255 is cut off.
    return [number % 256 for number in numbers] == [int(n) for n in of_plan.split(".")][
        : len(numbers)
    ]


def _check_gpu(path: Path, gpu: GpuIdentity) -> None:
    """Compare with the GPU that a plan of our cache was built on; other plans do not tell."""
    kept = kept_manifest(path)
    built_on = kept.inputs.get("gpu") if kept is not None else None
    if not built_on:
        return
    different = [
        f"{field.replace('_', ' ')} {built_on.get(field)} → {value}"
        for field, value in asdict(gpu).items()
        if built_on.get(field) != value
    ]
    if different:
        raise EngineError(
            f"plan {path}: built on {built_on.get('name')}, but this GPU is {gpu.name} "
            f"({'; '.join(different)}). Build it again here: its tactics were timed there."
        )


def _asked(path: Path, library: Library, gpu: GpuIdentity) -> str:
    """Ask the runtime, where it can say; it reads the header only, and the GPU's properties."""
    if not library.features.engine_validity:
        return ""
    with listening(library.logger) as messages:
        asked: Any = start_runtime(library)  # RTX's own; the stubs of TensorRT do not have it
        with path.open("rb") as file:
            head = file.read(asked.engine_header_size)
        validity, diagnostics = asked.get_engine_validity(head)
    flags = library.module.EngineInvalidityDiagnostics.__members__
    causes = [_CAUSES.get(n, n) for n, flag in flags.items() if int(diagnostics) & int(flag)]
    if validity == library.module.EngineValidity.INVALID:
        why = "; ".join(causes) or messages.errors or "it does not say why"
        raise EngineError(
            f"plan {path}: {library.name} {library.version} cannot run it on {gpu.name} (compute "
            f"capability {gpu.compute_capability}): {why}. Build it for this machine."
        )
    if validity == library.module.EngineValidity.SUBOPTIMAL:
        return f"{library.name} says it will not run at its best here: {'; '.join(causes)}"
    return ""


def is_plan(path: Path) -> bool:
    """Say whether a file begins or is named as a plan; `read_header` says what is wrong with it."""
    try:
        with path.open("rb") as file:
            tag = file.read(4)
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}).") from None
    return tag in _TAGS or path.suffix.lower() in _SUFFIXES
