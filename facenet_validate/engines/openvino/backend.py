"""The backend of OpenVINO's CPU plugin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.engines.backend import Backend, Cpu, EngineContext

if TYPE_CHECKING:
    from facenet_validate.engines.artefacts import Artefact
    from facenet_validate.engines.protocol import Engine


@dataclass(frozen=True)
class OpenVino(Backend):
    """OpenVINO's CPU plugin, which compiles the recipes' graphs for this machine."""

    name = "openvino"
    install = "pip install 'facenet-validate[openvino]'"
    distributions = ("openvino",)

    def recipe_only(self, precision: Precision, target: Target) -> bool:
        """Say whether FP16 is asked of a CPU that has neither FP16 nor BF16."""
        del target  # every INT8 graph is compiled in INT8
        from facenet_validate.engines.openvino.engine import float_type

        return precision == "fp16" and float_type(precision) == "f32"

    def check_runs(self, path: Path, image_size: int, embedding_size: int) -> None:
        """Compile a supplied graph and run it."""
        from facenet_validate.engines.openvino.engine import OpenVinoEngine
        from facenet_validate.engines.supplied import try_engine

        try_engine(path, lambda it: OpenVinoEngine(it, Cpu("", "", 1)), image_size, embedding_size)

    def load(self, artefact: Artefact, context: EngineContext) -> Engine:
        """Compile a graph for this machine's CPU."""
        from facenet_validate.engines.openvino.engine import OpenVinoEngine

        return OpenVinoEngine(artefact, context.cpu)
