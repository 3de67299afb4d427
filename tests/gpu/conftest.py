"""The GPU that the tests here run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.interface import Device
from facenet_validate.engines.device.opening import Bindings, cuda_bindings, pycuda


@pytest.fixture(scope="module", params=[pycuda, cuda_bindings], ids=["pycuda", "cuda-bindings"])
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """The first visible GPU, through each package that is installed."""
    through: Callable[[], Bindings] = request.param
    try:
        found = through()
    except EngineError as error:
        pytest.skip(str(error))
    with found.open(0) as opened:
        yield opened
