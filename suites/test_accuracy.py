"""The engine is accurate: LFW View 2, in absolute terms and beside the reference."""

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.datasets.lfw import VerificationSet
from facenet_validate.judge import Gates
from facenet_validate.metrics.paired import compare_decisions, delong_paired, non_inferiority
from facenet_validate.metrics.verification import (
    Verification,
    decisions,
    evaluate,
    pair_distances,
)
from facenet_validate.run import Run
from facenet_validate.verdicts import not_evaluated

VIEW_2_PAIRS = 6000

Scores = tuple[NDArray[np.float64], Verification]


@pytest.fixture(scope="session")
def reference_scores(
    facenet_reference: NDArray[np.float32], facenet_dataset: VerificationSet
) -> Scores:
    """The reference's distances, and its evaluation with the thresholds it freezes."""
    pairs = facenet_dataset
    distances = pair_distances(facenet_reference, pairs.left, pairs.right)
    return distances, evaluate(distances, pairs.same, pairs.folds)


@pytest.mark.facenet_judges("accuracy.acc", "accuracy.auc")
def test_verification(
    facenet_embeddings: NDArray[np.float32],
    facenet_dataset: VerificationSet,
    facenet_gates: Gates,
    reference_scores: Scores,
) -> None:
    """Accuracy over ten folds and AUC are at or above their floors."""
    pairs = facenet_dataset
    distances = pair_distances(facenet_embeddings, pairs.left, pairs.right)
    scores = evaluate(distances, pairs.same, pairs.folds)
    before, reference = reference_scores
    delong = delong_paired(before, distances, pairs.same)
    facenet_gates.measure(
        "verification",
        {
            "protocol": scores.protocol,
            "accuracy": scores.accuracy,
            "accuracy_std_over_folds": scores.accuracy_std,
            "accuracy_standard_error": scores.accuracy_se,
            "auc": scores.auc,
            "eer": scores.eer,
            "tar_at_far": [
                {
                    "far": point.target,
                    "achieved_far": point.far,
                    "tar": point.tar,
                    "interval_95": list(point.interval),
                }
                for point in scores.tar_at_far
            ],
            "thresholds": scores.thresholds.tolist(),
            "fold_accuracies": scores.fold_accuracies.tolist(),
            "reference_accuracy": reference.accuracy,
            "delong_auc_difference": delong.difference,
            "delong_p_value": delong.p_value,
            "reference_auc": reference.auc,
        },
    )
    results = [
        facenet_gates.at_least(
            "accuracy.acc",
            scores.accuracy,
            f"±{scores.accuracy_std:.5f} std over folds, ±{scores.accuracy_se:.5f} SE; "
            f"FP32 {reference.accuracy:.5f}",
        ),
        facenet_gates.at_least(
            "accuracy.auc",
            scores.auc,
            f"FP32 {reference.auc:.5f}; EER {scores.eer:.5f}",
        ),
    ]
    if pairs.name == "lfw" and len(pairs.same) != VIEW_2_PAIRS:
        reason = f"View 2 has {VIEW_2_PAIRS} pairs, this set {len(pairs.same)}; measured "
        results = [
            not_evaluated(r.gate, f"{reason}{r.observed:.5f} {r.detail}", r.limit) for r in results
        ]
    facenet_gates.check(*results)


@pytest.mark.facenet_judges("accuracy.paired_drop")
def test_no_accuracy_lost(
    facenet_embeddings: NDArray[np.float32],
    facenet_dataset: VerificationSet,
    facenet_gates: Gates,
    facenet_run: Run,
    reference_scores: Scores,
) -> None:
    """At the reference's frozen thresholds the engine loses no more pairs than allowed."""
    pairs = facenet_dataset
    before, reference = reference_scores
    after = pair_distances(facenet_embeddings, pairs.left, pairs.right)
    right = [
        decisions(distances, pairs.folds, reference.thresholds) == pairs.same
        for distances in (before, after)
    ]
    comparison = compare_decisions(*right)
    delta = facenet_gates.limits.get("accuracy.paired_drop")
    if delta is None:
        measured = f"{comparison.lost} lost, {comparison.won} won of {comparison.pairs} pairs"
        facenet_gates.check(facenet_gates.without_limit("accuracy.paired_drop", measured))
        return
    facenet_gates.check(
        non_inferiority(
            comparison,
            gate="accuracy.paired_drop",
            delta=delta,
            # One such gate a precision shares the run's false-alarm budget of 1 %.
            alpha=0.01 / len(facenet_run.settings.precisions),
        )
    )
