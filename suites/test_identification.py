"""In a gallery of enrolled people everyone is found as before."""

import pytest

from facenet_validate import EngineComparison, Gates


@pytest.mark.facenet_judges("identification.rank1_drop", "identification.fnir_rise")
def test_gallery(facenet_comparison: EngineComparison, facenet_gates: Gates) -> None:
    """Rank-1 accuracy and FNIR at FP32's threshold are as FP32's, over people."""
    found = facenet_comparison.identification(facenet_gates)
    facenet_gates.measure("identification", found.values)
    facenet_gates.check(*found.results)
