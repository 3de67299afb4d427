"""The engine was built as its recipe says: what can be told without running it."""

import pytest

from facenet_validate import Build, Gates


@pytest.mark.facenet_judges(
    "build.problems", "build.inputs", "build.int8_share", "build.half_share", "build.size"
)
def test_build(facenet_build: Build, facenet_gates: Gates) -> None:
    """The graph is parsed without complaint, typed and as small as its precision, reproducible."""
    facenet_gates.measure("build", facenet_build.values())
    facenet_gates.check(
        facenet_build.problems(),
        facenet_build.inputs(),
        facenet_build.int8_share(),
        facenet_build.half_share(),
        facenet_build.size(),
    )
