"""A backend's engines: made from recipes or supplied, and loaded on what the run has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.cache import Cache
from facenet_validate.engines.artefacts import Artefact, build_artefact
from facenet_validate.engines.backend import Backend, EngineContext, Stage, silent
from facenet_validate.engines.build_facts import BuildFacts
from facenet_validate.engines.embedding import Faces
from facenet_validate.engines.onnxruntime.backend import OnnxRuntime
from facenet_validate.engines.protocol import Engine


@dataclass(frozen=True)
class EngineFactory:
    """Makes and loads engines of one model on one backend.

    Attributes
    ----------
    backend : Backend
        What runs them.
    context : EngineContext
        What they are made from and run on.
    calibration : callable
        Returns the calibration faces; called for INT8 only.
    supplied : Path or None
        An engine built elsewhere.
    """

    backend: Backend
    context: EngineContext
    calibration: Callable[[], Faces]
    supplied: Path | None = None

    def artefact(self, precision: Precision, stage: Stage = silent) -> Artefact:
        """Return what the engine under test is loaded from, built if it is not in the cache."""
        if self.supplied is None:
            return self.from_recipe(precision, stage)
        return self.backend.supplied(self.supplied, precision, self.context, stage)

    def from_recipe(self, precision: Precision, stage: Stage = silent) -> Artefact:
        """Return an artefact made here, also where an engine was supplied."""
        return self.backend.build(self._graph(precision, stage), self.context, stage)

    def facts(self, artefact: Artefact) -> BuildFacts:
        """Return what was built, as far as it can be told without running it."""
        return self.backend.facts(artefact, self.context.model)

    def recipe_only(self, precision: Precision) -> bool:
        """Say whether the backend computes in a higher precision than the artefact's."""
        return self.backend.recipe_only(precision, self.context.target)

    def reference(self) -> Engine:
        """Load the prepared FP32 model on ONNX Runtime's CPU provider."""
        context = self.context
        graph = build_artefact(
            "fp32", context.model, context.target, self.calibration, context.cache
        )
        backend = OnnxRuntime(OnnxRuntime.installed_version(), "it runs the reference")
        return backend.load(graph, context)

    def engine(self, artefact: Artefact) -> Engine:
        """Load an artefact on the backend.

        Raises
        ------
        EngineError
            If the backend does not take it.
        """
        return self.backend.load(artefact, self.context)

    def device_memory(self) -> int | None:
        """Return the bytes in use of the device's memory; None where engines use the host's."""
        return self.backend.device_memory(self.context)

    def with_cache(self, cache: Cache) -> EngineFactory:
        """Return a factory of the same engines that keeps what it builds elsewhere."""
        return replace(self, context=replace(self.context, cache=cache))

    def for_comparison(self, path: Path, target: Target | None) -> EngineFactory:
        """Return a factory of the engine to compare with. Its embeddings may have another size.

        Parameters
        ----------
        target : str or None
            What its recipe is for, which decides how a CPU computes it; None if it does not say.
        """
        context = replace(
            self.context, target=target or self.context.target, any_embedding_size=True
        )
        return replace(self, supplied=path, context=context)

    def _graph(self, precision: Precision, stage: Stage) -> Artefact:
        context = self.context
        with stage(f"making the {precision} graph") as report:
            return build_artefact(
                precision,
                context.model,
                context.target,
                self.calibration,
                context.cache,
                around=context.request.int8_around,
                progress=report,
            )
