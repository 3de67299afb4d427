"""The backends of the two TensorRT packages, which build plans of graphs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from facenet_validate.base.errors import ModelError
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.engines.backend import EngineContext, Stage, silent
from facenet_validate.engines.gpu_backend import GpuBackend
from facenet_validate.engines.tensorrt.packages import MODULES, PlanBackend

if TYPE_CHECKING:
    from facenet_validate.engines.artefacts import Artefact
    from facenet_validate.engines.build_facts import BuildFacts
    from facenet_validate.engines.device.probe import Gpu
    from facenet_validate.engines.protocol import Engine
    from facenet_validate.engines.supplied import SuppliedEngine
    from facenet_validate.engines.tensorrt.library import Library
    from facenet_validate.models.prepared import PreparedModel

RTX_CAPABILITIES = ("", "7.5", "8.0", "8.6", "8.9")
"""What TensorRT for RTX 1.7 lists as ``ComputeCapability``, beside 12.x; unknown ones are tried."""


@dataclass(frozen=True)
class TensorRt(GpuBackend):
    """TensorRT: plans for the GPU at hand."""

    name = "tensorrt"
    install = "pip install 'facenet-validate[tensorrt]'"
    distributions = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
    modules = MODULES["tensorrt"]
    automatic = True
    build_options = ("facenet_workspace", "facenet_optimization_level", "facenet_profile")
    _package: ClassVar[PlanBackend] = "tensorrt"

    @classmethod
    def own_engine(cls, path: Path) -> SuppliedEngine | None:
        """Return what a plan of this package tells."""
        from facenet_validate.engines.tensorrt.artefacts import read_supplied_plan

        found = read_supplied_plan(path)
        return found if found is not None and found.backend == cls.name else None

    def check_file(self, path: Path) -> None:
        """Check that a plan is of the installed library."""
        from facenet_validate.engines.tensorrt.validity import explain_plan, is_plan

        if is_plan(path):
            explain_plan(path, self._library(), gpu=None)

    def build(self, graph: Artefact, context: EngineContext, stage: Stage = silent) -> Artefact:
        """Build the plan of a graph, or take it from the cache."""
        from facenet_validate.engines.tensorrt.artefacts import plan_artefact
        from facenet_validate.engines.tensorrt.options import BuildOptions

        with stage(f"building the {graph.precision} plan") as report:
            return plan_artefact(
                graph,
                self._library(),
                BuildOptions.of(context.request),
                context.cache,
                self.identity(),
                progress=report,
            )

    def supplied(
        self, path: Path, precision: Precision, context: EngineContext, stage: Stage = silent
    ) -> Artefact:
        """Take a plan as it is, or build the plan of an ONNX engine."""
        from facenet_validate.engines.tensorrt.artefacts import supplied_plan
        from facenet_validate.engines.tensorrt.validity import is_plan

        if is_plan(path):
            return supplied_plan(path, precision, self._library(), self.identity())
        return super().supplied(path, precision, context, stage)

    def facts(self, artefact: Artefact, model: PreparedModel) -> BuildFacts:
        """Return the facts of a plan: of its parsed network and its compiled layers."""
        from facenet_validate.engines.tensorrt.artefacts import plan_facts

        return plan_facts(artefact, model, self._library())

    def recipe_only(self, precision: Precision, target: Target) -> bool:
        """Say no: a plan computes in the precision of its graph."""
        del precision, target
        return False

    def load(self, artefact: Artefact, context: EngineContext) -> Engine:
        """Load a plan on the GPU."""
        from facenet_validate.engines.supplied import check_fits
        from facenet_validate.engines.tensorrt.artefacts import read_plan
        from facenet_validate.engines.tensorrt.engine import TensorRtEngine
        from facenet_validate.engines.tensorrt.runtime_cache import KernelStore

        device, library, facts = context.device(), self._library(), context.gpu_facts()
        options: tuple[tuple[str, str], ...] = (("execution", "CUDA graph"),)
        if context.request.profile == "static" and artefact.path != artefact.graph:
            options += (("profile", "static"),)  # a plan built elsewhere has its own
        info = self.info(artefact, context, options)
        driver = None if facts is None else facts.driver
        kernels = KernelStore.of(context.cache, library, artefact.digest, device.identity, driver)
        plan = read_plan(artefact)
        engine = TensorRtEngine(plan, library, device, info=info, kernels=kernels)
        try:
            # Of a supplied plan this is known only now.
            side, size = int(engine.input.shape[2]), int(engine.output.shape[1])
            wanted = None if context.any_embedding_size else size
            check_fits(artefact.path, side, wanted, context.model.sizes)
        except ModelError:
            engine.close()
            raise
        return engine

    def artefact_lines(self, precision: str, path: str) -> list[str]:
        """Return where the plan lies, for those who want to deploy it."""
        return [f"plan {precision}: {path}"]

    def _library(self) -> Library:
        from facenet_validate.engines.tensorrt.library import find_library

        return find_library(self._package)


@dataclass(frozen=True)
class TensorRtRtx(TensorRt):
    """TensorRT for RTX: plans for many GPUs, built without one."""

    name = "tensorrt-rtx"
    install = "pip install 'facenet-validate[tensorrt-rtx]'"
    distributions = ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings")
    modules = MODULES["tensorrt-rtx"]
    _package = "tensorrt-rtx"

    @classmethod
    def why_not_automatic(cls, gpu: Gpu) -> str:
        """Return also that it does not list the GPU's compute capability, as 9.0 and 10.0."""
        reason = super().why_not_automatic(gpu)
        if reason:
            return reason
        found = gpu.compute_capability()
        if found in RTX_CAPABILITIES or found.startswith("12."):
            return ""
        return (
            f"it does not list compute capability {found}; --facenet-backend tensorrt-rtx tries "
            "it nevertheless"
        )

    @classmethod
    def installation(cls, no_device: str) -> str:
        """Return what is installed of it, and that it builds without a GPU."""
        found = super().installation(no_device)
        return f"{found}, but can be built" if no_device and cls.installed_version() else found
