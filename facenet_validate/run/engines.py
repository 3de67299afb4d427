"""The engines of a run, built and loaded when they are first needed, closed at its end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.vocabulary import Precision
from facenet_validate.cache import Cache
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.backend import BuildRequest, Cpu, EngineContext
from facenet_validate.engines.build_facts import BuildFacts
from facenet_validate.engines.device.interface import Device, GpuFacts
from facenet_validate.engines.factory import EngineFactory
from facenet_validate.engines.protocol import Engine
from facenet_validate.models.prepared import PreparedModel, prepare, source_model
from facenet_validate.reporting.report import EngineFacts, ModelFacts
from facenet_validate.run.data import Data
from facenet_validate.run.run import Run


class Engines:
    """Engines under test and those they are compared with.

    Parameters
    ----------
    run : Run
        Its report is told what was built and loaded.
    factory : EngineFactory
        Builds and loads.
    stack : ExitStack
        Closes what was loaded.
    """

    def __init__(self, run: Run, factory: EngineFactory, stack: ExitStack) -> None:
        self._run = run
        self._factory = factory
        self._stack = stack

    @property
    def model(self) -> PreparedModel:
        """The prepared FP32 model that engines are made from and compared with."""
        return self._factory.context.model

    @property
    def image_size(self) -> int:
        """Pixels a side that engines read."""
        return self.model.image_size

    @cache  # noqa: B019 (as long as the run)
    def artefact(self, precision: Precision) -> Artefact:
        """Return what the engine of a precision is loaded from, built where it is not cached."""
        found = self._factory.artefact(precision, self._run.progress.stage)
        self._run.report.engines[precision] = EngineFacts(
            sha256=found.digest,
            graph_sha256=found.graph_digest,
            path=str(found.path),
            recipe=found.recipe,
            cache=found.reason,
            recipe_only=self._factory.recipe_only(precision),
            notes=self._run.backend.artefact_lines(precision, str(found.path)) or None,
        )
        return found

    @cache  # noqa: B019 (as long as the run)
    def facts(self, precision: Precision) -> BuildFacts:
        """Return what was built, as far as it can be told without running it."""
        return self._factory.facts(self.artefact(precision))

    def graph(self, engine: Engine, precision: Precision) -> Path | None:
        """Return the ONNX graph that an engine computes; None where it is not known.

        It is not known of a plan that was built elsewhere, and of an engine that a project brings
        itself.
        """
        artefact, supplied = self.artefact(precision), self._run.engine
        is_plan = supplied is not None and supplied.backend is not None
        return None if is_plan or engine.info.digest != artefact.digest else artefact.graph

    @cache  # noqa: B019 (as long as the run)
    def engine(self, precision: Precision) -> Engine:
        """Return the engine under test of a precision."""
        engine = self._stack.enter_context(self.load(precision))
        engines = self._run.report.engines
        notes = [*(engines[precision].notes or ()), *engine.notes]
        engines[precision] = replace(engines[precision], notes=notes or None, **_loaded(engine))
        return engine

    def is_under_test(self, engine: Engine) -> bool:
        """Say whether an engine is judged, not one that it is compared with."""
        others = [self.reference] if self._run.against is None else [self.reference, self.against]
        judged = engine.info.precision in self._run.settings.precisions
        return judged and all(engine is not other for other in others)

    def load(self, precision: Precision) -> Engine:
        """Load the engine under test anew; the caller closes it."""
        return self._factory.engine(self.artefact(precision))

    @cache  # noqa: B019 (as long as the run)
    def beside(self, precision: Precision) -> Engine:
        """Return the recipe's engine on the run's backend, which speed is compared with."""
        built = self._factory.from_recipe(precision, self._run.progress.stage)
        return self._stack.enter_context(self._factory.engine(built))

    @cached_property
    def reference(self) -> Engine:
        """The prepared FP32 model on ONNX Runtime's CPU provider: what all are held against."""
        engine = self._stack.enter_context(self._factory.reference())
        self._run.report.reference = EngineFacts(sha256=engine.info.digest, **_loaded(engine))
        return engine

    @cached_property
    def against(self) -> Engine:
        """The engine of ``--facenet-against``, on the run's backend."""
        against = self._run.against
        assert against is not None
        factory = self._factory.for_comparison(against.path, against.target)
        # A plan's precision may be unknown here; then it goes by that of the engine under test.
        precision = cast("Precision", against.precision or self._run.settings.precisions[0])
        artefact = factory.artefact(precision, self._run.progress.stage)
        engine = self._stack.enter_context(factory.engine(artefact))
        self._run.report.against = EngineFacts(
            path=str(against.path),
            sha256=engine.info.digest,
            precision=against.precision or "unknown",
            recipe_only=engine.info.recipe_only,
            **_loaded(engine),
        )
        return engine


def other_engine(engines: Engines, beside: Literal["fp32", "fp16", "against"]) -> Engine:
    """Return what an engine is timed beside."""
    return engines.against if beside == "against" else engines.beside(beside)


def engine_factory(
    run: Run,
    data: Data,
    model: PreparedModel,
    cache: Cache,
    *,
    device: Callable[[], Device],
    gpu_facts: Callable[[], GpuFacts | None],
) -> EngineFactory:
    """Return what builds and loads engines of a model on the run's backend.

    Parameters
    ----------
    device : callable
        Opens the GPU when it is first called.
    gpu_facts : callable
        Returns what is known of the GPU; None where engines need none.
    """
    settings, cpu = run.settings, run.cpu
    context = EngineContext(
        model=model,
        target=run.target,
        cache=cache,
        request=BuildRequest(
            settings.batch_sizes,
            settings.workspace,
            settings.optimization_level,
            settings.profile,
            settings.int8_around,
        ),
        cpu=Cpu(cpu.name, cpu.details(), run.threads),
        device=device,
        gpu_facts=gpu_facts,
    )
    return EngineFactory(run.backend, context, lambda: data.calibration, settings.engine)


def prepared_model(run: Run, faces: NDArray[np.uint8], cache: Cache) -> PreparedModel:
    """Return the canonical FP32 model made from the source model, proven on faces (F, S, S, 3)."""
    source = source_model(run.settings.model)
    with run.progress.stage("preparing the model") as report:
        prepared = prepare(
            source,
            cache,
            faces=faces,
            progress=report,
        )
    run.report.model = ModelFacts(
        source=prepared.source.name,
        source_sha256=prepared.source.digest,
        prepared_sha256=prepared.entry.digest,
        embedding_size=prepared.embedding_size,
        image_size=prepared.image_size,
        proof=prepared.proof.text(),
        cache=prepared.entry.reason,
    )
    return prepared


def _loaded(engine: Engine) -> dict[str, Any]:
    return {"runtime": engine.info.runtime, "options": dict(engine.info.options)}
