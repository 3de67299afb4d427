"""The engine stays as good as the reference on photos that are not as clean as the set's."""

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from facenet_validate import Gates, Robustness

pytestmark = pytest.mark.facenet_needs("robustness")


@pytest.mark.facenet_judges("robustness.invariants")
def test_any_picture(facenet_robustness: Robustness, facenet_gates: Gates) -> None:
    """Whatever the picture, its embedding is finite, of length one, and the same in two runs."""
    invariants = facenet_robustness.invariants

    @invariants.settings
    @given(picture=invariants.pictures)
    def holds(picture: NDArray[np.uint8]) -> None:
        """The picture breaks no invariant."""
        invariants.hold(picture)

    facenet_gates.check(invariants.observed(holds))


@pytest.mark.facenet_judges("robustness.odd_pictures", "robustness.noise_accepted")
def test_pictures_without_a_face(facenet_robustness: Robustness, facenet_gates: Gates) -> None:
    """Black, white, noise and denormal pictures have embeddings; noise is no more accepted."""
    facenet_gates.check(*facenet_robustness.odd_pictures())


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
