"""A run of one supplied engine, outside pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, cast

from facenet_validate.base.progress import Progress
from facenet_validate.cache import Cache
from facenet_validate.gates.shipped import shipped_gates
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.run.data import Data
from facenet_validate.run.engines import Engines, engine_factory
from facenet_validate.run.run import Run
from facenet_validate.run.settings import Given, resolve
from facenet_validate.run.start import make_run, validate

if TYPE_CHECKING:
    from facenet_validate.base.vocabulary import Precision
    from facenet_validate.engines.device.interface import Device


def run_of(given: Mapping[str, Given], progress: Callable[[], Progress]) -> Run:
    """Return a run of what was given; its engine is among that.

    Raises
    ------
    FacenetValidateError
        If a value is wrong, or a path does not hold what it should.
    """
    found = make_run(resolve(dict(given), root=Path.cwd()), shipped_gates, progress)
    validate(found)
    return found


def precision_of(run: Run) -> Precision:
    """Return the one precision of a run of one engine."""
    return cast("Precision", run.settings.precisions[0])


def engines_of(
    run: Run,
    data: Data,
    model: PreparedModel,
    cache: Cache,
    stack: ExitStack,
    threads: int | None = None,
) -> Engines:
    """Return the engines of a run; the stack closes them, and the GPU where one was opened.

    Parameters
    ----------
    threads : int, optional
        Of an engine on a CPU; by default as many as the run may use.
    """

    @once
    def device() -> Device:
        from facenet_validate.engines.device.opening import open_device

        return stack.enter_context(open_device())

    factory = engine_factory(run, data, model, cache, device=device, gpu_facts=lambda: None)
    if threads is not None:
        cpu = replace(factory.context.cpu, threads=threads)
        factory = replace(factory, context=replace(factory.context, cpu=cpu))
    return Engines(run, factory, stack)
