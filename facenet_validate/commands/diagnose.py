"""``facenet-validate diagnose``: why an engine is not the model that it should be."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facenet_validate.base.preprocessing import standardize
from facenet_validate.cache import Cache, check_writable
from facenet_validate.commands import progress, table
from facenet_validate.commands.one_engine import given_to
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
from facenet_validate.gates.verdicts import GateResult, Observed, Verdict, format_number, hold
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.run.data import Data
from facenet_validate.run.engines import prepared_model
from facenet_validate.run.one_engine import engines_of, precision_of, run_of
from facenet_validate.run.run import Run

if TYPE_CHECKING:
    from facenet_validate.datasets.faces import AlignedFaces

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
    validating = run_of(given_to(arguments, _ARGUMENTS, _VARIABLES), progress)
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


def _case(run: Run, cache: Cache, folder: Path | None, stack: ExitStack) -> Case:
    data = Data(run, cache)
    model = prepared_model(run, proof_faces() if folder else data.proof_faces, cache)
    engines = engines_of(run, data, model, cache, stack)
    precision = precision_of(run)
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
    return run.limits(run.dataset_name, precision_of(run))


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
