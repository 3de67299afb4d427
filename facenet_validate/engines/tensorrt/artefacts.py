"""TensorRT plans as artefacts of a run: built from a recipe's graph, or supplied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from facenet_validate.base.digests import file_digest, short
from facenet_validate.base.errors import EngineError
from facenet_validate.base.progress import Report
from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.build_facts import BuildFacts, remade_inputs
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.supplied import SuppliedEngine
from facenet_validate.engines.tensorrt.build import parsed_report
from facenet_validate.engines.tensorrt.inspection import compiled_report
from facenet_validate.engines.tensorrt.layer_lists import CompiledLayer
from facenet_validate.engines.tensorrt.library import Library
from facenet_validate.engines.tensorrt.network import MultiplyingLayer
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.plans import (
    Plan,
    cached_plan,
    kept_plan,
    parser_bytes,
    precision_of,
)
from facenet_validate.engines.tensorrt.validity import explain_plan, is_plan, read_header
from facenet_validate.models.network import multiply_adds
from facenet_validate.models.prepared import PreparedModel, load_onnx

_PRECISIONS: dict[str, Precision] = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8"}


def plan_artefact(
    graph: Artefact,
    library: Library,
    options: BuildOptions,
    cache: Cache,
    gpu: GpuIdentity | None,
    *,
    progress: Report | None = None,
) -> Artefact:
    """Build the plan of a recipe's graph, or take it from the cache.

    Raises
    ------
    EngineError
        If the library is missing, refuses the graph, or needs a GPU that is not there.
    """
    plan = cached_plan(
        library,
        graph.graph,
        graph.graph_digest,
        options,
        cache,
        precision=graph.precision,
        gpu=gpu,
        progress=progress,
    )
    return Artefact(
        plan.entry.path,
        plan.entry.digest,
        graph.graph,
        graph.graph_digest,
        graph.precision,
        f"{graph.recipe}; plan of {library.name} {library.version}, which took "
        f"{plan.seconds:.1f} s to build",
        plan.entry.reason,
        supplied=graph.supplied,
    )


def read_supplied_plan(path: Path) -> SuppliedEngine | None:
    """Return what a plan's file tells; None for a file that is no plan.

    Raises
    ------
    EngineError
        If it is no whole plan, or not what the cache wrote.
    """
    if not is_plan(path):
        return None
    header, kept = read_header(path), kept_plan(path)
    if kept is None:
        return SuppliedEngine(path, None, None, header.backend, header.version)
    (faces,), (rows,) = kept.report.inputs, kept.report.outputs
    return SuppliedEngine(
        path,
        precision_of(kept.report),
        None,
        header.backend,
        header.version,
        faces.shape[-1],
        rows.shape[-1],
    )


def supplied_plan(
    path: Path, precision: Precision, library: Library, gpu: GpuIdentity | None
) -> Artefact:
    """Take a plan that was built elsewhere, once its header says that it can be loaded here.

    Raises
    ------
    EngineError
        If it is no whole plan, or of another library, version or GPU.
    """
    header = explain_plan(path, library, gpu=gpu)
    kept = kept_plan(path)
    digest = file_digest(path) if kept is None else kept.entry.digest
    where = "elsewhere" if kept is None else "here"
    recipe = f"plan of {header.backend} {header.version}, built {where} and given by its path"
    if header.note:
        recipe += f"; {header.note}"
    return Artefact(
        path, digest, path, digest, precision, recipe, "given by the user", supplied=True
    )


def read_plan(artefact: Artefact) -> bytes:
    """Return the bytes of a plan, which are those its digest was taken of.

    Raises
    ------
    EngineError
        If the file was removed or replaced since.
    """
    try:
        content = artefact.path.read_bytes()
    except OSError as error:
        raise EngineError(f"plan {artefact.path} cannot be read ({error.strerror}).") from None
    found = sha256(content).hexdigest()
    if found != artefact.digest:
        raise EngineError(
            f"plan {artefact.path} changed since it was found (sha {short(artefact.digest)} → "
            f"{short(found)}). Run again."
        )
    return content


def plan_facts(artefact: Artefact, model: PreparedModel, library: Library) -> BuildFacts:
    """Return the facts of a plan: of its parsed network and its compiled layers.

    A supplied plan tells nothing before a device has loaded it, unless it lies in a cache.
    """
    plan = kept_plan(artefact.path)
    if plan is None:
        size = artefact.path.stat().st_size
        return BuildFacts("a plan built elsewhere", None, {}, {}, size, profiles=None)
    if artefact.path == artefact.graph:
        return _kept_facts(plan)
    graph = parser_bytes(artefact.graph, artefact.graph_digest)
    again = parsed_report(library, graph)
    remade, differing = remade_inputs(artefact, model)
    return replace(
        _kept_facts(plan),
        remade=", ".join(part for part in (remade, "the parsed network") if part),
        differing=(*differing, *(() if again == plan.report else ("the parsed network",))),
    )


def _kept_facts(plan: Plan) -> BuildFacts:
    return BuildFacts(
        "the parsed network",
        plan.parse_messages,
        _shares(plan.report.multiply_adds_by_type),
        plan.report.layers_by_type,
        plan.entry.path.stat().st_size,
        profiles=len(plan.batch_sizes),
        compiled=_shares(plan.compiled.multiply_adds_by_type) if plan.compiled else {},
        log=plan.log_path,
    )


def loaded_shares(layers: Sequence[CompiledLayer], model: PreparedModel) -> dict[str, float]:
    """Return the share of multiply-adds in each precision, by what a loaded engine lists.

    Parameters
    ----------
    layers : sequence of CompiledLayer
        From the engine inspector.
    model : PreparedModel
        What the plan is of: its layers are known by the names of its nodes.

    Returns
    -------
    dict
        Precision → share; what no layer is known for is ``unknown``.
    """
    graph = load_onnx(model.entry.path)
    called = {node.output[0]: node.name for node in graph.graph.node}
    network = [
        MultiplyingLayer(called[layer], "", count) for layer, count in multiply_adds(graph).items()
    ]
    return _shares(compiled_report(layers, network).multiply_adds_by_type)


def _shares(by_type: Mapping[str, int]) -> dict[str, float]:
    total = max(sum(by_type.values()), 1)
    return {_PRECISIONS.get(kind, kind): count / total for kind, count in by_type.items()}
