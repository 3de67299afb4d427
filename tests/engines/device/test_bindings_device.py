"""What only cuda.bindings does; ``test_devices.py`` has what every package does."""

from __future__ import annotations

from typing import Any, cast

import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device.bindings_device import BindingsCalls
from tests.engines.device.fake_bindings import PARAMETERS, FakeBindings
from tests.engines.device.fake_driver import FakeDriver


def test_a_function_that_the_driver_has_not_is_named() -> None:
    bindings = FakeBindings(FakeDriver())
    bindings.missing = {"cuInit"}
    with pytest.raises(EngineError, match=r'CUDA: cuInit failed: Function "cuInit" not found\.'):
        BindingsCalls(cast("Any", bindings))("cuInit", 0)


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_the_real_package_has_the_fakes_functions(name: str, parameters: tuple[str, ...]) -> None:
    """It writes each function's parameters into the first line of its docstring."""
    real = pytest.importorskip(
        "cuda.bindings.driver", reason="cuda-bindings is not installed: pip install cuda-bindings"
    )
    signature = getattr(real, name).__doc__.splitlines()[0]
    _, _, inside = signature.removesuffix(")").partition("(")
    found = tuple(one.partition(":")[0].split()[-1] for one in inside.split(",") if one.strip())
    assert found == parameters


def test_the_real_package_has_the_flags_that_are_used() -> None:
    real = pytest.importorskip(
        "cuda.bindings.driver", reason="cuda-bindings is not installed: pip install cuda-bindings"
    )
    assert int(real.CUstream_flags.CU_STREAM_NON_BLOCKING) == 1
    assert int(real.CUevent_flags.CU_EVENT_DEFAULT) == 0
    assert int(real.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) == 1
    assert real.CUresult(2).name == "CUDA_ERROR_OUT_OF_MEMORY"
    assert not real.CUresult(0)
