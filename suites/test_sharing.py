"""The engine shares its process: threads, other engines, what it leaves behind, other builds."""

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate import AlignedFaces, Build, Engine, Gates, two_threads


@pytest.fixture(scope="session")
def few(facenet_faces: AlignedFaces, facenet_reference_engine: Engine) -> NDArray[np.float32]:
    """Two faces of the set, ready for the engine."""
    return facenet_faces.spread(2, int(facenet_reference_engine.input.shape[-1]))


@pytest.mark.facenet_judges("contract.two_threads")
def test_two_threads(
    facenet_engine: Engine, facenet_gates: Gates, few: NDArray[np.float32]
) -> None:
    """Two threads get what one gets, or one of them is refused."""
    facenet_gates.check(two_threads(facenet_engine, few))


@pytest.mark.facenet_judges("contract.two_engines")
def test_two_engines(
    facenet_engine: Engine, facenet_build: Build, facenet_gates: Gates, few: NDArray[np.float32]
) -> None:
    """Engines that run at once give what each gives alone."""
    facenet_gates.check(facenet_build.two_engines(facenet_engine, few))


@pytest.mark.facenet_judges("contract.given_back")
@pytest.mark.usefixtures("facenet_engine")
def test_given_back(facenet_build: Build, facenet_gates: Gates, few: NDArray[np.float32]) -> None:
    """A closed engine holds nothing any more, and says that it is closed."""
    facenet_gates.check(facenet_build.given_back(few[:1]))


@pytest.mark.facenet_judges("contract.rebuild_spread")
@pytest.mark.facenet_needs("rebuilds")
def test_rebuilds(
    facenet_engine: Engine, facenet_build: Build, facenet_gates: Gates, few: NDArray[np.float32]
) -> None:
    """Builds of one recipe give the same embeddings."""
    spread, values = facenet_build.rebuild_spread(facenet_engine, few)
    facenet_gates.measure("rebuilds", values)
    facenet_gates.check(spread)
