"""The backend of ONNX Runtime's CUDA provider."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.engines.backend import EngineContext
from facenet_validate.engines.gpu_backend import GpuBackend

if TYPE_CHECKING:
    from facenet_validate.engines.artefacts import Artefact
    from facenet_validate.engines.protocol import Engine


@dataclass(frozen=True)
class OnnxRuntimeCuda(GpuBackend):
    """ONNX Runtime's CUDA provider, in a build of its own."""

    name = "onnxruntime-cuda"
    install = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
    distributions = ("onnxruntime-gpu",)
    through_bindings = False

    def recipe_only(self, precision: Precision, target: Target) -> bool:
        """Say so of INT8: without INT8 convolutions, Q/DQ pairs are computed as written."""
        del target
        return precision == "int8"

    def check_runs(self, path: Path, image_size: int, embedding_size: int) -> None:
        """Check that a graph runs on the CUDA provider, where there is a GPU."""
        from facenet_validate.engines.onnxruntime.runnable import check_runs
        from facenet_validate.engines.onnxruntime.sessions import cuda_trial_session

        if not self.unavailable:
            check_runs(path, self.name, cuda_trial_session, image_size, embedding_size)

    def load(self, artefact: Artefact, context: EngineContext) -> Engine:
        """Load a graph on the CUDA provider."""
        from facenet_validate.engines.onnxruntime.cuda_engine import OnnxRuntimeCudaEngine
        from facenet_validate.engines.onnxruntime.sessions import CUDA_OPTIONS

        options = (("provider", "CUDAExecutionProvider"), *CUDA_OPTIONS)
        return OnnxRuntimeCudaEngine(artefact.path, info=self.info(artefact, context, options))
