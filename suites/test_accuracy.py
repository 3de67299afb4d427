"""The engine is accurate on every set at hand: in absolute terms and beside the reference."""

import pytest

from facenet_validate import EngineComparison, EngineVerification, Gates


@pytest.mark.facenet_judges("accuracy.acc", "accuracy.auc")
def test_verification(facenet_verification: EngineVerification, facenet_gates: Gates) -> None:
    """Accuracy over the folds and AUC are at or above their floors."""
    facenet_gates.measure("verification", facenet_verification.values())
    facenet_gates.check(facenet_verification.accuracy(), facenet_verification.auc())


@pytest.mark.facenet_judges("accuracy.paired_drop", "accuracy.against_drop")
def test_no_accuracy_lost(facenet_comparison: EngineComparison, facenet_gates: Gates) -> None:
    """By the other engine's frozen rule this one loses no more pairs than allowed."""
    lost = facenet_comparison.lost_decisions(facenet_gates)
    facenet_gates.measure("paired comparison", lost.values)
    facenet_gates.check(*lost.results)


@pytest.mark.facenet_judges("accuracy.mixed_drop", "accuracy.against_mixed_drop")
def test_stored_templates(facenet_comparison: EngineComparison, facenet_gates: Gates) -> None:
    """The other engine's stored templates fit this engine's embeddings, by the other's rule."""
    kept = facenet_comparison.stored_templates(facenet_gates)
    facenet_gates.measure("stored templates", kept.values)
    facenet_gates.check(*kept.results)


@pytest.mark.facenet_judges("accuracy.group_drop")
def test_groups(facenet_comparison: EngineComparison, facenet_gates: Gates) -> None:
    """No group of people that the set names loses more than allowed."""
    found = facenet_comparison.groups(facenet_gates)
    facenet_gates.measure("groups", found.values)
    facenet_gates.check(*found.results)


@pytest.mark.facenet_judges
@pytest.mark.facenet_needs("all_pairs")
def test_all_pairs(facenet_comparison: EngineComparison, facenet_gates: Gates) -> None:
    """Every pair of photos of the people in pairs: what is lost at false-accept rates to 1e-6."""
    facenet_gates.measure("all pairs", facenet_comparison.all_pairs())
