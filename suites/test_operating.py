"""At the threshold that production decides at, errors rise by no more than allowed."""

import pytest

from facenet_validate import EngineComparison, Gates


@pytest.mark.facenet_judges("operating.fnmr_rise", "operating.fmr_rise")
def test_deployed_threshold(facenet_comparison: EngineComparison, facenet_gates: Gates) -> None:
    """FNMR rises by little and FMR by a small factor, at --facenet-threshold."""
    found = facenet_comparison.operating_point(facenet_gates)
    facenet_gates.measure("operating point", found.values)
    facenet_gates.check(*found.results)
