"""The engine is accurate on every set at hand: in absolute terms and beside the reference."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.lfw import Gallery
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.engines.protocol import Engine
from facenet_validate.fixtures.judging import ScoredEmbeddings
from facenet_validate.gates.verdicts import not_evaluated
from facenet_validate.metrics.all_pairs import compare_all_pairs
from facenet_validate.metrics.bootstrap import bootstrap_identities
from facenet_validate.metrics.delong import delong_paired
from facenet_validate.metrics.paired import compare_decisions, non_inferiority
from facenet_validate.metrics.parity import compare_embeddings
from facenet_validate.metrics.power import minimum_detectable_drop
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from facenet_validate.reporting.verification import (
    all_pairs_values,
    pairs_worth_seeing,
    view2_values,
)
from facenet_validate.run.judging import Gates
from facenet_validate.run.run import Run

VIEW_2_PAIRS = 6000
FAMILY_ALPHA = 0.01
"""Chance that any of a run's paired gates fails an engine that lost nothing."""

Views = Callable[[Engine, str], View2]
Faces = Callable[[str], AlignedFaces]


@pytest.mark.facenet_judges("accuracy.acc", "accuracy.auc")
def test_verification(
    facenet_engine: Engine,
    facenet_reference_engine: Engine,
    facenet_set: VerificationSet,
    facenet_set_faces: Faces,
    facenet_scored: ScoredEmbeddings,
    facenet_views: Views,
    facenet_gates: Gates,
) -> None:
    """Accuracy over the folds and AUC are at or above their floors."""
    name, pairs = facenet_set.name, facenet_set.pairs
    view = facenet_views(facenet_engine, name)
    reference = facenet_views(facenet_reference_engine, name).scores
    scores = view.scores
    faces = facenet_set_faces(name)
    values = view2_values(view) | {
        "aligner": faces.aligner,
        "reference_accuracy": reference.accuracy,
        "reference_auc": reference.auc,
    }
    corrected = ""
    if facenet_set.suspect.size:
        # The headline is the set as it is; without its known errata it may stand beside it.
        without = evaluate_embeddings(
            facenet_scored(facenet_engine, faces),
            pairs.without(facenet_set.suspect),
            view.rule.protocol,
        ).scores
        count = facenet_set.suspect.size
        corrected = f"; {without.accuracy:.5f} without {count} pairs known as mislabelled"
        values["without_mislabelled"] = {
            "pairs_left_out": facenet_set.suspect.tolist(),
            "accuracy": without.accuracy,
            "accuracy_standard_error": without.accuracy_se,
            "auc": without.auc,
        }
    facenet_gates.measure("verification", values)
    results = [
        facenet_gates.at_least(
            "accuracy.acc",
            scores.accuracy,
            f"±{scores.accuracy_std:.5f} std over folds, ±{scores.accuracy_se:.5f} SE; "
            f"FP32 {reference.accuracy:.5f}{corrected}",
        ),
        facenet_gates.at_least(
            "accuracy.auc",
            scores.auc,
            f"FP32 {reference.auc:.5f}; EER {scores.eer:.5f}",
        ),
    ]
    if name == "lfw" and len(facenet_set.same) != VIEW_2_PAIRS:
        reason = f"View 2 has {VIEW_2_PAIRS} pairs, this set {len(facenet_set.same)}; measured "
        results = [
            r
            if r.observed is None
            else not_evaluated(r.gate, f"{reason}{r.observed:.5f} {r.detail}", r.limit)
            for r in results
        ]
    facenet_gates.check(*results)


@pytest.mark.facenet_judges("accuracy.paired_drop", "accuracy.against_drop")
def test_no_accuracy_lost(
    facenet_engine: Engine,
    facenet_compared_engine: Engine,
    facenet_compared_with: str,
    facenet_set: VerificationSet,
    facenet_set_faces: Faces,
    facenet_scored: ScoredEmbeddings,
    facenet_views: Views,
    facenet_gates: Gates,
    facenet_run: Run,
) -> None:
    """By the other engine's frozen rule this one loses no more pairs than allowed."""
    name, pairs = facenet_set.name, facenet_set.pairs
    reference = facenet_views(facenet_compared_engine, name)
    view = facenet_views(facenet_engine, name)
    faces = facenet_set_faces(name)
    embeddings = facenet_scored(facenet_engine, faces)
    frozen = reference.rule.distances(embeddings, pairs)
    correct = reference.rule.correct(frozen, pairs)
    comparison = compare_decisions(reference.correct, correct)
    delong = delong_paired(reference.distances, view.distances, pairs.same)
    people = bootstrap_identities(
        pairs, facenet_set.identities, reference=reference, engine=view, frozen=frozen
    )
    gate = (
        "accuracy.paired_drop"
        if facenet_compared_with == "reference"
        else ("accuracy.against_drop")
    )
    delta = facenet_gates.limits.get(gate)
    # One such gate a precision, a set and a comparison: they share the run's false alarms.
    alpha = FAMILY_ALPHA / facenet_run.paired_gates
    lost, won = comparison.lost, comparison.won
    detectable = minimum_detectable_drop(lost, won, comparison.pairs, delta=delta or 0, alpha=alpha)
    text = (
        "no drop would fail here: too few pairs"
        if detectable is None
        else f"fails 95 % of engines that lose {detectable:.5f}"
    )
    measured: dict[str, Any] = {
        "compared_with": facenet_compared_with,
        "gate": gate,
        "lost": lost,
        "won": won,
        "pairs": comparison.pairs,
        "drop": comparison.drop,
        "upper_95": comparison.upper,
        "mcnemar_p_value": comparison.p_value,
        "alpha": alpha,
        "minimum_detectable_drop": detectable,
        "text": text,
        "auc_difference": delong.difference,
        "auc_standard_error": delong.standard_error,
        "auc_p_value": delong.p_value,
        "bootstrap": {
            "replicates": people.replicates,
            "drop_95": list(people.drop),
            "accuracy_difference_95": list(people.accuracy),
            "auc_difference_95": list(people.auc),
        },
        "worth_seeing": pairs_worth_seeing(facenet_set, reference, frozen, correct),
    }
    if facenet_compared_with == "against":
        parity = compare_embeddings(facenet_scored(facenet_compared_engine, faces), embeddings)
        measured["cosine_min"] = parity.cosine_min
        measured["cosine_p1"] = parity.cosine_p1
        measured["cosine_mean"] = parity.cosine_mean
    facenet_gates.measure("paired comparison", measured)
    if delta is None:
        facenet_gates.check(
            facenet_gates.without_limit(gate, f"{lost} lost, {won} won of {comparison.pairs} pairs")
        )
        return
    result = non_inferiority(comparison, gate=gate, delta=delta, alpha=alpha)
    facenet_gates.check(replace(result, detail=f"{result.detail}; {text}"))


def test_all_pairs(
    facenet_engine: Engine,
    facenet_reference_engine: Engine,
    facenet_gallery: Gallery,
    facenet_gallery_embeddings: Callable[[Engine], NDArray[np.floating[Any]]],
    facenet_gates: Gates,
) -> None:
    """Every pair of photos of the people in pairs: what is lost at false-accept rates to 1e-6."""
    comparison = compare_all_pairs(
        facenet_gallery_embeddings(facenet_reference_engine),
        facenet_gallery_embeddings(facenet_engine),
        facenet_gallery.identities,
    )
    facenet_gates.measure("all pairs", all_pairs_values(comparison))
