"""The engine is the same model: every embedding beside the reference's, row by row."""

import pytest

from facenet_validate import EngineComparison, Gates


@pytest.mark.facenet_judges("parity.cosine_min", "parity.cosine_p1", "parity.cosine_mean")
def test_parity(facenet_comparison: EngineComparison, facenet_gates: Gates) -> None:
    """Row cosines to FP32: the worst, the first percentile and the mean."""
    facenet_gates.measure("pair distances", facenet_comparison.pair_distances())
    facenet_gates.measure("row cosines", facenet_comparison.cosine_distribution())
    facenet_gates.check(*facenet_comparison.row_cosines())
