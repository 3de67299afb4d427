"""How a session makes and loads engines: the package's public calls, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from facenet_validate.base.errors import EngineError
from facenet_validate.base.machine import cpu_identity
from facenet_validate.benchmarking.gpu import GpuWatch
from facenet_validate.benchmarking.surroundings import Surroundings
from facenet_validate.cache import Cache
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.backend import Backend, BuildRequest, Cpu, EngineContext
from facenet_validate.engines.backends import choose_backend
from facenet_validate.engines.device import driver, opening, probe
from facenet_validate.engines.device.interface import Device
from facenet_validate.engines.protocol import Engine
from facenet_validate.engines.tensorrt.artefacts import read_plan
from facenet_validate.engines.tensorrt.graphs import LoadedPlan
from facenet_validate.engines.tensorrt.library import find_library
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.engines.tensorrt.packages import MODULES, PlanBackend
from facenet_validate.engines.tensorrt.plans import Plan, kept_plan
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.models.sources import onnx_digest
from gpu_session.inputs import Variant


@dataclass(frozen=True)
class Bench:
    """A backend, and what its engines are made from and run on.

    Attributes
    ----------
    backend : Backend
        What runs them.
    context : EngineContext
        What they are made from and run on.
    profile : str
        ``dynamic``, from one image to the batch; or ``static``, the batch alone.
    """

    backend: Backend
    context: EngineContext
    profile: str

    def build(self, graph: Path, variant: Variant) -> Artefact:
        """Return what is loaded of a graph: a plan that is built of it, or the graph."""
        digest = onnx_digest(graph)
        made = Artefact(
            graph, digest, graph, digest, variant.precision, variant.title, "of a GPU session"
        )
        return self.backend.build(made, self.context)

    def load(self, artefact: Artefact) -> Engine:
        """Load an artefact on the GPU."""
        return self.backend.load(artefact, self.context)


@contextmanager
def bench(
    name: str,
    model: PreparedModel,
    cache_folder: Path,
    batch_sizes: tuple[int, ...],
    *,
    profile: str = "dynamic",
    builds_only: bool = False,
) -> Iterator[Bench]:
    """Give a backend with its GPU, which is left at the end.

    Parameters
    ----------
    name : str
        The backend, as ``--facenet-backend`` has it.
    builds_only : bool
        Whether no engine will be loaded, so that no GPU is needed.

    Raises
    ------
    FacenetValidateError
        If the backend is not installed or cannot run here, or has no such profile.
    """
    backend = choose_backend(name, "the session", probe.gpu())
    if backend.unavailable and not builds_only:
        raise EngineError(f"{backend.cannot_run}.")
    cpu = cpu_identity()
    with ExitStack() as stack:

        @cache
        def device() -> Device:
            return stack.enter_context(opening.open_device())

        context = EngineContext(
            model=model,
            target=backend.choose_target("auto", "default", cpu.flags)[0],
            cache=Cache(cache_folder),
            request=_request(batch_sizes, profile),
            cpu=Cpu(cpu.name, cpu.details(), cpu.cores),
            device=device,
        )
        yield Bench(backend, context, profile)


def _request(batch_sizes: tuple[int, ...], profile: str) -> BuildRequest:
    if profile == "dynamic":
        return BuildRequest(batch_sizes)
    if "profile" not in {field.name for field in fields(BuildRequest)}:
        raise EngineError("this version of facenet_validate builds dynamic profiles only.")
    make: Any = BuildRequest
    return cast("BuildRequest", make(batch_sizes, profile=profile))


def built_plan(artefact: Artefact) -> Plan | None:
    """Return what the build of an artefact told; None of one that is no plan."""
    return kept_plan(artefact.path)


def inspector_json(backend: str, artefact: Artefact) -> str:
    """Return what the engine inspector tells of a plan, as the library writes it.

    Raises
    ------
    EngineError
        If the plan is not taken.
    """
    library = find_library(cast("PlanBackend", backend))
    plan = LoadedPlan(read_plan(artefact), library, artefact.recipe)
    try:
        form = library.module.LayerInformationFormat.JSON
        return str(plan.engine.create_engine_inspector().get_engine_information(form))
    finally:
        plan.release()


def builds_plans(backend: str) -> bool:
    """Say whether a backend builds plans."""
    return backend in MODULES


def takes_its_own_plan(onnx_bytes: bytes, backend: PlanBackend) -> str:
    """Return whether a plan is loaded that was built for the compute capability at hand alone.

    Asked where the package's own plans, which are for many GPUs, are refused.
    """
    library = find_library(backend)
    module = library.module
    if not library.features.compute_capabilities:
        return "it has no compute capabilities to choose from"
    builder = module.Builder(library.logger)
    network = builder.create_network(0)
    parser = module.OnnxParser(network, library.logger)
    if not parser.parse(onnx_bytes):
        return "it does not parse the network"
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    shape = tuple(network.get_input(0).shape)[1:]
    profile.set_shape(network.get_input(0).name, *[(size, *shape) for size in (1, 8, 8)])
    config.add_optimization_profile(profile)
    config.num_compute_capabilities = 1
    config.set_compute_capability(module.ComputeCapability.CURRENT, 0)
    with listening(library.logger) as messages:
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        return f"built for the GPU at hand alone it is refused too: {messages.errors}"
    try:
        LoadedPlan(bytes(plan), library, "a plan for the GPU at hand alone").release()
    except EngineError as error:
        return f"built for the GPU at hand alone it is refused too: {error}"
    return "built for the GPU at hand alone it is loaded"


def gpu_facts() -> dict[str, Any]:
    """Return which GPU this is and how it is set up; why there is none, if so."""
    asked = probe.gpu()
    if asked.why_not():
        return {"why not": asked.why_not()}
    with GpuWatch(driver.gpu_address()) as watch:
        return {
            "name": driver.gpu_identity().name,
            "compute capability": asked.compute_capability(),
            "cuda of the driver": driver.cuda_version(),
            "driver": watch.facts.driver,
            "mig": watch.facts.mig,
            "power limit": watch.facts.power_limit,
            "application clock": watch.facts.application_clock,
            "nvml": watch.unavailable or "answers",
        }


def watch() -> Surroundings:
    """Return what watches the processors and the GPU while engines are timed."""
    return Surroundings(cpu_identity(), GpuWatch(driver.gpu_address()))


def device_side() -> dict[str, Any]:
    """Return which modules could be the side of the GPU, and which one is taken."""
    found: dict[str, Any] = {
        name: _has(name) for name in ("pycuda", "cuda.bindings", "cuda.core", "pynvml")
    }
    with opening.open_device() as device:
        found["taken"] = type(device).__module__
        found["identity"] = {"name": device.identity.name, "details": device.identity.details()}
    return found


def _has(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
