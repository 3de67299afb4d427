"""The backend of ONNX Runtime's CPU provider, which is there on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.versions import ONNX_RUNTIMES
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.engines.backend import Backend, EngineContext

if TYPE_CHECKING:
    from facenet_validate.engines.artefacts import Artefact
    from facenet_validate.engines.protocol import Engine


@dataclass(frozen=True)
class OnnxRuntime(Backend):
    """ONNX Runtime's CPU provider."""

    name = "onnxruntime"
    install = "pip install onnxruntime"
    distributions = ONNX_RUNTIMES

    def recipe_only(self, precision: Precision, target: Target) -> bool:
        """Say whether it computes in a higher precision than the graph's."""
        from facenet_validate.engines.onnxruntime.engine import recipe_only

        return recipe_only(precision, target)

    def check_runs(self, path: Path, image_size: int, embedding_size: int) -> None:
        """Check that a graph runs on the CPU provider."""
        from facenet_validate.engines.onnxruntime.runnable import check_runs
        from facenet_validate.engines.onnxruntime.sessions import trial_session

        check_runs(path, self.name, trial_session, image_size, embedding_size)

    def load(self, artefact: Artefact, context: EngineContext) -> Engine:
        """Load a graph on the CPU provider."""
        from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(
            artefact.path,
            digest=artefact.digest,
            precision=artefact.precision,
            artefact=artefact.path.name if artefact.supplied else artefact.recipe,
            device=context.cpu.name,
            device_details=context.cpu.details,
            threads=context.cpu.threads,
            target=context.target,
        )
