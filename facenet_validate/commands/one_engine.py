"""What the commands that run one supplied engine have in common."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, cast

from facenet_validate.cache import Cache
from facenet_validate.commands import progress
from facenet_validate.gates.shipped import shipped_gates
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.run.data import Data
from facenet_validate.run.engines import Engines, engine_factory
from facenet_validate.run.run import Run
from facenet_validate.run.settings import Given, gather, resolve
from facenet_validate.run.start import make_run, validate

if TYPE_CHECKING:
    from facenet_validate.base.vocabulary import Precision
    from facenet_validate.engines.device.interface import Device


def run_of(
    arguments: argparse.Namespace,
    options: Mapping[str, tuple[str, str]],
    variables: Collection[str],
) -> Run:
    """Return a run of the engine, by a command's arguments and the variables of a run.

    Parameters
    ----------
    options : mapping
        Option of a run → the argument's name, and what messages call it.
    variables : collection of str
        Options whose variables hold here too.

    Raises
    ------
    FacenetValidateError
        If an argument is wrong, or a path does not hold what it should.
    """
    here = Path.cwd()
    nothing: dict[str, str] = {}
    environment = {name: text for name, text in os.environ.items() if name.lower() in variables}
    given = gather(nothing.get, environment, nothing.get, invocation=here, ini_folder=here)
    for option, (argument, origin) in options.items():
        text = getattr(arguments, argument)
        if text is not None:
            given[option] = Given(str(text), origin, here)
    found = make_run(resolve(given, root=here), shipped_gates, progress)
    validate(found)
    return found


def precision_of(run: Run) -> Precision:
    """Return the one precision of a run of one engine."""
    return cast("Precision", run.settings.precisions[0])


def engines_of(
    run: Run, data: Data, model: PreparedModel, cache: Cache, stack: ExitStack
) -> Engines:
    """Return the engines of a run; the stack closes them, and the GPU where one was opened."""

    @once
    def device() -> Device:
        from facenet_validate.engines.device.opening import open_device

        return stack.enter_context(open_device())

    factory = engine_factory(run, data, model, cache, device=device, gpu_facts=lambda: None)
    return Engines(run, factory, stack)
