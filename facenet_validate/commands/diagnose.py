"""``facenet-validate diagnose``: why an engine is not the model that it should be."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache, check_writable
from facenet_validate.commands import progress, table
from facenet_validate.commands.output import say
from facenet_validate.commands.prepare import faces_below
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosing import diagnose
from facenet_validate.diagnosis.diagnosis import Diagnosis
from facenet_validate.diagnosis.sampling import faces_to_try, rows_to_try, worst_first
from facenet_validate.diagnosis.telling import numbers, values, words
from facenet_validate.gates import catalogue
from facenet_validate.gates.plain import plain
from facenet_validate.gates.shipped import shipped_gates
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, format_number, hold
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.run.data import Data
from facenet_validate.run.engines import Engines, engine_factory, prepared_model
from facenet_validate.run.run import Run
from facenet_validate.run.settings import Given, gather, resolve
from facenet_validate.run.start import make_run, validate

if TYPE_CHECKING:
    from facenet_validate.base.vocabulary import Precision
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.engines.device.interface import Device

LOOKED_AT = 64
"""Faces among which those that moved most are looked for."""

DIFFERS = 1
"""Exit code where the engine is not its model."""

_ARGUMENTS = {
    "facenet_engine": ("engine", "ENGINE"),
    "facenet_model": ("against", "--against"),
    "facenet_lfw": ("lfw", "--lfw"),
    "facenet_backend": ("backend", "--backend"),
    "facenet_precision": ("precision", "--precision"),
    "facenet_cache": ("cache", "--cache"),
}
_VARIABLES = ("facenet_lfw", "facenet_set", "facenet_backend", "facenet_target", "facenet_cache")
"""Variables of a run that hold here too."""


@dataclass(frozen=True)
class Agreement:
    """An engine beside its model on a few faces.

    Attributes
    ----------
    results : tuple of GateResult
        By the limits that come with the package.
    """

    results: tuple[GateResult, ...]

    @property
    def agrees(self) -> bool:
        """Whether every limit is kept."""
        return all(result.verdict is not Verdict.FAIL for result in self.results)

    def text(self) -> str:
        """Return what was observed beside its limit: where some are missed, only these."""
        missed = [one for one in self.results if one.verdict is Verdict.FAIL]
        return "; ".join(
            f"{one.gate} {format_number(one.observed)}, limit {format_number(one.limit)}"
            for one in missed or self.results
        )


def run(arguments: argparse.Namespace) -> None:
    """Compare an engine with its model, and say why it differs. Exits with 1 where it does."""
    validating = _run(arguments)
    cache = Cache(validating.settings.cache)
    check_writable(cache.root)
    with ExitStack() as stack:
        case = _case(validating, cache, arguments.faces, stack)
        agreement = agreement_of(case, _limits(validating))
        found = None
        if arguments.full or not agreement.agrees:
            with validating.progress.stage("finding why it differs, step") as report:
                found = diagnose(case, full=arguments.full, progress=report)
        told = _document if arguments.json else _text
        say(told(case, agreement, found))
    if not agreement.agrees:
        sys.exit(DIFFERS)


def agreement_of(case: Case, limits: dict[str, float]) -> Agreement:
    """Hold an engine's embeddings of a few faces to the limits of parity and of the contract."""
    parity = compare_embeddings(case.expected, case.found)
    lost = int((~np.isfinite(case.found)).any(axis=1).sum())
    observed = {
        "parity.cosine_min": parity.cosine_min,
        "parity.cosine_mean": parity.cosine_mean,
        "contract.norm_error_max": parity.norm_error_max,
        "contract.non_finite": lost,
    }
    return Agreement(
        tuple(
            hold(Observed(gate, value), limits[gate], catalogue.row(gate).bound)
            for gate, value in observed.items()
            if gate in limits
        )
    )


def _run(arguments: argparse.Namespace) -> Run:
    """Return a run of the engine, by the arguments and the variables of a run."""
    here = Path.cwd()
    nothing: dict[str, str] = {}
    variables = {name: text for name, text in os.environ.items() if name.lower() in _VARIABLES}
    given = gather(nothing.get, variables, nothing.get, invocation=here, ini_folder=here)
    for option, (argument, origin) in _ARGUMENTS.items():
        text = getattr(arguments, argument)
        if text is not None:
            given[option] = Given(str(text), origin, here)
    found = make_run(resolve(given, root=here), shipped_gates, progress)
    validate(found)
    return found


def _case(run: Run, cache: Cache, folder: Path | None, stack: ExitStack) -> Case:
    data = Data(run, cache)
    model = prepared_model(run, proof_faces() if folder else data.proof_faces, cache)
    factory = engine_factory(run, data, model, cache, device=_device(stack), gpu_facts=lambda: None)
    engines = Engines(run, factory, stack)
    precision = _precision(run)
    engine, reference = engines.engine(precision), engines.reference
    faces = faces_below(folder) if folder else _some(run, data, cache)
    batch = standardize(faces.load(np.arange(len(faces.names))), model.image_size)
    with run.progress.stage("embedding a few faces"):
        rows = rows_to_try(len(faces.names), reference.run(batch), engine.run(batch))
    chosen, names = faces_to_try(faces, rows)
    graph = engines.graph(engine, precision)
    return worst_first(Case(engine, reference, model, chosen, names, graph, cache))


def _some(run: Run, data: Data, cache: Cache) -> AlignedFaces:
    """Return faces from all over the run's first set; only these are aligned."""
    names, paths = data.first.names, data.first.paths
    rows = np.unique(np.linspace(0, len(names) - 1, min(LOOKED_AT, len(names))).astype(np.intp))
    return run.aligned(
        cache, [names[row] for row in rows], [paths[row] for row in rows], "aligning a few photos"
    )


def _limits(run: Run) -> dict[str, float]:
    return run.limits(run.dataset_name, _precision(run))


def _precision(run: Run) -> Precision:
    return cast("Precision", run.settings.precisions[0])


def _device(stack: ExitStack) -> Callable[[], Device]:
    @once
    def device() -> Device:
        from facenet_validate.engines.device.opening import open_device

        return stack.enter_context(open_device())

    return device


def _text(case: Case, agreement: Agreement, found: Diagnosis | None) -> str:
    engine = case.engine.info
    facts = table(
        [
            ("engine", f"{engine.artefact}: {engine.precision} on {engine.runtime}"),
            ("model", case.model.source.name),
            ("faces", f"{len(case.names)}"),
            ("agrees" if agreement.agrees else "differs", agreement.text()),
        ]
    )
    if found is None:
        return f"the engine agrees with its model: there is nothing to explain\n\n{facts}"
    agrees = agreement.agrees and found.cause is None
    told = "the engine agrees with its model: no cause is named" if agrees else words(found)
    return f"{told}\n\n{numbers(found)}\n\n{facts}"


def _document(case: Case, agreement: Agreement, found: Diagnosis | None) -> str:
    engine = case.engine.info
    document = {
        "engine": engine.artefact,
        "engine_sha256": engine.digest,
        "precision": engine.precision,
        "model": case.model.source.name,
        "agrees": agreement.agrees,
        "compared": [
            {
                "gate": one.gate,
                "observed": one.observed,
                "limit": one.limit,
                "verdict": one.verdict.value,
            }
            for one in agreement.results
        ],
        "diagnosis": None if found is None else values(found),
    }
    return json.dumps(plain(document, "the diagnosis"), indent=1, allow_nan=False) + "\n"
