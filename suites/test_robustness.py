"""The engine stays as good as the reference on photos that are not as clean as the set's."""

import pytest

from facenet_validate import Gates, Robustness

pytestmark = pytest.mark.facenet_needs("robustness")


@pytest.mark.facenet_judges(
    "robustness.brightness",
    "robustness.contrast",
    "robustness.gamma",
    "robustness.blur",
    "robustness.jpeg",
    "robustness.noise",
    "robustness.rotation",
    "robustness.shift",
    "robustness.occlusion",
    "robustness.grey",
    "robustness.low_resolution",
)
def test_corrupted_photos(facenet_robustness: Robustness, facenet_gates: Gates) -> None:
    """On corrupted photos the engine loses few of the pairs that the reference decides rightly."""
    found = facenet_robustness.corruptions(facenet_gates)
    facenet_gates.measure("corruptions", found.values)
    facenet_gates.check(*found.results)
