"""The engine is the same model: every embedding beside the reference's, row by row."""

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.metrics.parity import compare_embeddings, compare_pairs
from facenet_validate.metrics.verification import evaluate, pair_distances
from facenet_validate.run.judging import Gates


@pytest.mark.facenet_judges("parity.cosine_min", "parity.cosine_p1", "parity.cosine_mean")
def test_parity(
    facenet_embeddings: NDArray[np.float32],
    facenet_reference: NDArray[np.float32],
    facenet_faces: AlignedFaces,
    facenet_dataset: VerificationSet,
    facenet_gates: Gates,
) -> None:
    """Row cosines to FP32: the worst, the first percentile and the mean."""
    parity = compare_embeddings(facenet_reference, facenet_embeddings)
    pairs = facenet_dataset
    before = pair_distances(facenet_reference, pairs.left, pairs.right)
    after = pair_distances(facenet_embeddings, pairs.left, pairs.right)
    thresholds = evaluate(before, pairs.same, pairs.folds).thresholds
    shift = compare_pairs(before, after, pairs.folds, thresholds)
    facenet_gates.measure(
        "pair distances",
        {
            "mean_shift": shift.mean_shift,
            "max_shift": shift.max_shift,
            "decisions_flipped": shift.flipped,
            "pairs": shift.pairs,
        },
    )
    # Two trainings of one network give directions that have nothing to do with each other.
    other = "; a different training?" if parity.cosine_mean < 0.3 else ""
    facenet_gates.check(
        facenet_gates.at_least(
            "parity.cosine_min",
            parity.cosine_min,
            f"worst: {facenet_faces.names[parity.worst_row]}",
        ),
        facenet_gates.at_least("parity.cosine_p1", parity.cosine_p1),
        facenet_gates.at_least(
            "parity.cosine_mean",
            parity.cosine_mean,
            f"{parity.rows} faces; {shift.flipped} of {shift.pairs} decisions flipped at the "
            f"reference's thresholds{other}",
        ),
    )
