"""A backend's engines: built from recipes or given, and loaded on what the run has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.errors import ModelError
from facenet_validate.base.progress import Progress
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.cache import Cache
from facenet_validate.engines.backends import Backend
from facenet_validate.engines.builds import (
    Artefact,
    build_artefact,
    check_fits,
    given_artefact,
)
from facenet_validate.engines.built import BuildFacts, graph_facts
from facenet_validate.engines.embedding import Faces
from facenet_validate.engines.onnxruntime import OnnxRuntimeEngine, recipe_only
from facenet_validate.engines.protocol import Engine, EngineInfo
from facenet_validate.engines.tensorrt.artefacts import (
    given_plan,
    plan_artefact,
    plan_facts,
    read_plan,
)
from facenet_validate.engines.tensorrt.validity import is_plan
from facenet_validate.models.prepared import PreparedModel

if TYPE_CHECKING:
    from facenet_validate.engines.device.interface import Device, GpuFacts, GpuIdentity
    from facenet_validate.engines.tensorrt.options import BuildOptions

Stage = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Shows a stage of work by its title; its report is called with (done, total)."""

silent: Stage = Progress(None).stage


@dataclass(frozen=True)
class Cpu:
    """The processors of this machine.

    Attributes
    ----------
    name, details : str
        What it is called, and the rest of its identity.
    threads : int
        Intra-op threads of every engine on it.
    """

    name: str
    details: str
    threads: int


@dataclass(frozen=True)
class EngineFactory:
    """Builds and loads engines of one model on one backend.

    Attributes
    ----------
    backend : Backend
        What runs them.
    model : PreparedModel
        What they are made from and compared with.
    target : str
        What INT8 recipes are for.
    calibration : callable
        Returns the calibration faces; called for INT8 only.
    cache : Cache
        Where artefacts are kept.
    plans : BuildOptions
        How TensorRT's engines are built.
    cpu : Cpu
        This machine's processors.
    device : callable
        Returns the GPU, opened when first called.
    gpu_facts : callable
        Returns how the GPU is set up, where that can be known.
    given : Path or None
        An engine built elsewhere.
    """

    backend: Backend
    model: PreparedModel
    target: Target
    calibration: Callable[[], Faces]
    cache: Cache
    plans: BuildOptions
    cpu: Cpu
    device: Callable[[], Device] = field(repr=False)
    gpu_facts: Callable[[], GpuFacts | None] = field(repr=False, default=lambda: None)
    given: Path | None = None

    def artefact(self, precision: Precision, stage: Stage = silent) -> Artefact:
        """Return what the engine under test is loaded from, built if it is not in the cache."""
        if self.given is None:
            return self.built(precision, stage)
        if is_plan(self.given):
            return given_plan(self.given, precision, self.backend.name, self._gpu())
        return self._of(given_artefact(self.given, precision, self.model), stage)

    def built(self, precision: Precision, stage: Stage = silent) -> Artefact:
        """Return an artefact built here, whatever was given."""
        with stage(f"making the {precision} graph") as report:
            graph = build_artefact(
                precision, self.model, self.target, self.calibration, self.cache, progress=report
            )
        return self._of(graph, stage)

    def _of(self, graph: Artefact, stage: Stage) -> Artefact:
        """Return what the backend loads of a graph: its plan, or the graph itself."""
        if not self.backend.builds_plans:
            return graph
        with stage(f"building the {graph.precision} plan") as report:
            return plan_artefact(
                graph, self.backend.name, self.plans, self.cache, self._gpu(), progress=report
            )

    def facts(self, artefact: Artefact) -> BuildFacts:
        """Return what was built, as far as it can be told without running it."""
        if self.backend.builds_plans:
            return plan_facts(artefact, self.model, self.backend.name)
        return graph_facts(artefact, self.model)

    def recipe_only(self, precision: Precision) -> bool:
        """Say whether this backend computes in a higher precision than the artefact's."""
        if self.backend.name == "onnxruntime":
            return recipe_only(precision, self.target)
        # The CUDA provider has no INT8 convolutions: it computes Q/DQ pairs as they are written.
        return self.backend.name == "onnxruntime-cuda" and precision == "int8"

    def reference(self) -> Engine:
        """Load the prepared FP32 model on ONNX Runtime's CPU provider."""
        return self._on_cpu(
            build_artefact("fp32", self.model, self.target, self.calibration, self.cache)
        )

    def engine(self, artefact: Artefact) -> Engine:
        """Load an artefact on the backend.

        Raises
        ------
        EngineError
            If the backend does not take it.
        """
        if self.backend.name == "onnxruntime":
            return self._on_cpu(artefact)
        return self._on_gpu(artefact)

    def _gpu(self) -> GpuIdentity | None:
        """Return the GPU; None where there is none to run on."""
        return None if self.backend.unavailable else self.device().identity

    def _options(self) -> tuple[tuple[str, str], ...]:
        """Return what a GPU engine is run with that changes its results or speed."""
        if self.backend.name == "onnxruntime-cuda":
            from facenet_validate.engines.onnxruntime_cuda import CUDA_OPTIONS

            return (("provider", "CUDAExecutionProvider"), *CUDA_OPTIONS)
        return (("execution", "CUDA graph"),)

    def _on_gpu(self, artefact: Artefact) -> Engine:
        device = self.device()
        gpu = device.identity
        info = EngineInfo(
            precision=artefact.precision,
            backend=self.backend.name,
            runtime=f"{self.backend.name} {self.backend.version}",
            device=gpu.name,
            device_details=_details(gpu, self.gpu_facts()),
            options=self._options(),
            digest=artefact.digest,
            artefact=artefact.graph.name if artefact.given else artefact.recipe,
            recipe_only=self.recipe_only(artefact.precision),
        )
        if self.backend.name == "onnxruntime-cuda":
            from facenet_validate.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine

            return OnnxRuntimeCudaEngine(artefact.path, info=info)
        from facenet_validate.engines.tensorrt.engine import TensorRtEngine
        from facenet_validate.engines.tensorrt.library import find_library

        library = find_library(self.backend.name)
        engine = TensorRtEngine(read_plan(artefact), library, device, info=info)
        try:
            # Of a plan that was given this is known only now.
            side, size = int(engine.input.shape[2]), int(engine.output.shape[1])
            check_fits(artefact.path, side, size, self.model.sizes)
        except ModelError:
            engine.close()
            raise
        return engine

    def _on_cpu(self, artefact: Artefact) -> Engine:
        return OnnxRuntimeEngine(
            artefact.path,
            digest=artefact.digest,
            precision=artefact.precision,
            artefact=artefact.path.name if artefact.given else artefact.recipe,
            device=self.cpu.name,
            device_details=self.cpu.details,
            threads=self.cpu.threads,
            target=self.target,
        )


def _details(gpu: GpuIdentity, facts: GpuFacts | None) -> str:
    """Return what of a GPU decides its speed, as a stored session's identity has it."""
    parts = [gpu.details()]
    if facts is not None and facts.mig is not None:
        parts.append("MIG on" if facts.mig else "MIG off")
    if facts is not None and facts.power_limit is not None:
        parts.append(f"power limit {facts.power_limit:.0f} W")
    return ", ".join(parts)
