"""Plans in the cache: keyed by what they are made from, since two builds give different bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from facenet_validate.base.digests import short
from facenet_validate.base.errors import CacheError, EngineError
from facenet_validate.base.progress import Report
from facenet_validate.base.versions import platform_text
from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache, Entry
from facenet_validate.cache.manifest import MANIFEST, Manifest, verified
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.tensorrt.build import BUILD_VERSION, BuildResult, build_plan
from facenet_validate.engines.tensorrt.inspection import CompiledReport
from facenet_validate.engines.tensorrt.library import Library
from facenet_validate.engines.tensorrt.network import NetworkReport
from facenet_validate.engines.tensorrt.options import BuildOptions

PLAN = "engine.plan"
LOG = "build.log"
FACTS = "build.json"
_TIMINGS = "timing.cache"


@dataclass(frozen=True)
class Plan:
    """A plan in the cache.

    Attributes
    ----------
    entry : Entry
        The plan's file.
    report : NetworkReport
        Of the parsed network.
    compiled : CompiledReport or None
        Of the compiled plan, where the builder listed its layers.
    log_path : Path
        The build log.
    messages : tuple of str
        Warnings and errors of the parser and the builder.
    parse_messages : tuple of str
        Those of the parser alone; a builder may warn of what is no fault of the graph.
    seconds : float
        How long the build took, when it was made.
    batch_sizes : tuple of int
        The largest batch of each profile.
    """

    entry: Entry
    report: NetworkReport
    compiled: CompiledReport | None
    log_path: Path
    messages: tuple[str, ...]
    parse_messages: tuple[str, ...]
    seconds: float
    batch_sizes: tuple[int, ...]


def cached_plan(
    library: Library,
    onnx_path: Path,
    onnx_digest: str,
    options: BuildOptions,
    cache: Cache,
    *,
    precision: Precision,
    gpu: GpuIdentity | None,
    progress: Report | None = None,
) -> Plan:
    """Return the plan of a graph from the cache, building it if it is not there.

    Parameters
    ----------
    onnx_digest : str
        SHA-256 of the graph's file, which depends on model, recipe and calibration.
    precision : str
        The graph's: part of the key so that a miss can name it.
    gpu : GpuIdentity or None
        What the plan is built on; None without a GPU, which TensorRT for RTX does not need.

    Raises
    ------
    EngineError
        If the plan needs a GPU and there is none, or cannot be built.
    CacheError
        If the cache cannot be written.
    """
    inputs = {
        "precision": precision,
        **plan_inputs(library, onnx_digest, options, gpu),
    }

    def build(path: Path) -> None:
        timings = _Timings(cache, library, options, inputs["gpu"])
        known = timings.read()
        graph = parser_bytes(onnx_path, onnx_digest)
        result = build_plan(library, graph, options, timing_cache=known, progress=progress)
        path.write_bytes(result.plan)
        path.with_name(LOG).write_text(result.log)
        path.with_name(FACTS).write_text(json.dumps(_facts(result, inputs), indent=1))
        timings.write(result.timing_cache, known)

    return _plan(cache.get_or_build("plan", inputs, PLAN, build))


def parser_bytes(path: Path, digest: str) -> bytes:
    """Return a graph as a parser takes it that reads no other files and no equal node names.

    Parameters
    ----------
    digest : str
        `onnx_digest` of the graph, when it was found.

    Raises
    ------
    EngineError
        If the file, or one of its weights', changed since.
    """
    from facenet_validate.models.exported.onnx_file import external_files, load_onnx
    from facenet_validate.models.passes import has_equal_names, name_nodes
    from facenet_validate.models.sources import onnx_digest

    content = path.read_bytes()
    found = onnx_digest(path)
    if found != digest:
        raise EngineError(
            f"{path} changed while the plan was to be built: its digest is not {short(digest)} any "
            "more. Run again."
        )
    model = load_onnx(path)
    if not external_files(path) and not has_equal_names(model):
        return content
    name_nodes(model)
    return bytes(model.SerializeToString(deterministic=True))


def _plan(entry: Entry) -> Plan:
    facts = _read_facts(entry.path.with_name(FACTS))
    compiled = facts["compiled"]
    return Plan(
        entry,
        NetworkReport.from_json(facts["network"]),
        CompiledReport.from_json(compiled) if compiled else None,
        entry.path.with_name(LOG),
        tuple(facts["messages"]),
        tuple(facts["parse_messages"]),
        facts["seconds"],
        tuple(profile[2] for profile in facts["inputs"]["options"]["profiles"]),
    )


def plan_inputs(
    library: Library,
    onnx_digest: str,
    options: BuildOptions,
    gpu: GpuIdentity | None,
) -> dict[str, Any]:
    """Return everything a plan depends on, as JSON values.

    Raises
    ------
    EngineError
        If the plan would be bound to a GPU and there is none.
    """
    bound = not library.features.compute_capabilities
    if bound and gpu is None:
        raise EngineError(
            f"{library.name} {library.version} builds a plan for the GPU at hand, and there is "
            "none. Build where the engine will run, or without a GPU for several at once: "
            "--facenet-backend tensorrt-rtx."
        )
    return {
        "model": onnx_digest,
        "builder": BUILD_VERSION,
        "library": _library(library),
        "options": options.inputs(),
        "platform": platform_text(),
        "gpu": asdict(gpu) if bound and gpu is not None else None,
    }


def _library(library: Library) -> dict[str, str]:
    return {
        "backend": library.backend,
        "version": library.version,
        "parser": library.parser_version,
    }


def _facts(result: BuildResult, inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "network": result.report.to_json(),
        "compiled": result.compiled.to_json() if result.compiled else None,
        "seconds": round(result.seconds, 3),
        "messages": list(result.messages),
        "parse_messages": list(result.parse_messages),
        "inputs": inputs,
    }


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
    except OSError as error:
        raise CacheError(f"{path} cannot be read any more ({error.strerror}). Run again.") from None
    return facts


@dataclass(frozen=True)
class _Timings:
    """The timing cache of one library on one GPU, which every build there reads and extends."""

    cache: Cache
    library: Library
    options: BuildOptions
    gpu: Mapping[str, Any] | None

    def _inputs(self) -> dict[str, Any]:
        # Tactics are timed whatever the graph: only what changes a timing is in the key.
        return {
            "library": _library(self.library),
            "platform": platform_text(),
            "gpu": self.gpu,
            "tf32": False,
            "optimization_level": self.options.optimization_level,
        }

    def read(self) -> bytes | None:
        if not self.library.features.timing_cache:
            return None
        entry = self.cache.find("timing", self._inputs(), _TIMINGS)
        return entry.read() if entry is not None else None

    def write(self, timings: bytes | None, known: bytes | None) -> None:
        if timings is not None and timings != known:
            self.cache.replace(
                "timing", self._inputs(), _TIMINGS, lambda path: _write(path, timings)
            )


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def kept_manifest(path: Path) -> Manifest | None:
    """Return what a cache says of a plan that lies in it; None for one from elsewhere.

    Raises
    ------
    EngineError
        If it is not what the cache wrote.
    """
    if path.name != PLAN or not (path.parent / MANIFEST).is_file():
        return None
    found, damage = verified(path.parent, "plan", PLAN)
    if found is None:
        raise EngineError(
            f"plan {path} is not what the cache wrote: {damage}. Build it again: leave "
            "--facenet-engine out."
        )
    return found


def kept_plan(path: Path) -> Plan | None:
    """Return a plan of the cache by its path; None for one from elsewhere.

    Raises
    ------
    EngineError
        If it is not what the cache wrote.
    """
    found = kept_manifest(path)
    if found is None:
        return None
    return _plan(Entry(path, found.files[PLAN].sha256, path.parent.name, True, "given by path"))


def precision_of(report: NetworkReport) -> Precision:
    """Return the precision whose limits a plan is judged by: what most multiply-adds are in.

    What is quantised to other types, as FP8, goes by INT8's limits: ``build.int8_share`` fails it.
    """
    by_type = report.multiply_adds_by_type
    floating = sum(by_type.get(kind, 0) for kind in ("FLOAT", "HALF", "BF16"))
    if 2 * floating < sum(by_type.values()):
        return "int8"
    return "fp16" if report.half_share > 0.5 else "fp32"
