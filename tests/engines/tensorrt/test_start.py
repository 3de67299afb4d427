from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from typing import Any

import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.tensorrt import start
from facenet_validate.engines.tensorrt.build import build_plan, parsed_report
from facenet_validate.engines.tensorrt.library import Library, describe_library
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.start import (
    Surroundings,
    start_builder,
    start_runtime,
    surroundings,
    why_not_started,
)
from tests.engines.tensorrt.fake_tensorrt import FakeTensorRT, Severity

OLD = "CUDA initialization failure with error: 35"


class Unstartable(FakeTensorRT):
    """TensorRT whose library makes nothing: it logs why, and pybind11 raises."""

    error: Exception = TypeError("pybind11::init(): factory function returned nullptr")

    def __init__(self, severity: Severity = Severity.ERROR, logged: str = OLD) -> None:
        super().__init__("10.13.3.9")

        def made(logger: Any) -> Any:
            if logged:
                logger.log(severity, logged)
            raise self.error

        self.Builder = made  # type: ignore[method-assign]
        self.Runtime = made  # type: ignore[assignment]


@pytest.fixture(params=[Severity.ERROR, Severity.WARNING], ids=["as an error", "as a warning"])
def library(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Library:
    around = Surroundings("tensorrt-cu13", 13, "", "535.104.05", "12.2")
    monkeypatch.setattr(start, "surroundings", lambda backend: around)
    return describe_library(Unstartable(request.param), "tensorrt")


@pytest.mark.parametrize("what", ["builder", "runtime"])
def test_what_cannot_start_says_why_and_what_to_do(library: Library, what: str) -> None:
    starts = {"builder": start_builder, "runtime": start_runtime}[what]
    with pytest.raises(EngineError) as told:
        starts(library)
    assert str(told.value) == (
        f"TensorRT 10.13.3.9 cannot start a {what}: CUDA initialization failure with error: 35. "
        "The NVIDIA driver is 535.104.05, for CUDA 12.2. tensorrt-cu13 needs driver 580 or later "
        "(CUDA 13). Install a newer driver, or its package for CUDA 12."
    )


def test_a_build_and_a_parse_that_cannot_start_say_so(library: Library) -> None:
    with pytest.raises(EngineError, match="cannot start a builder: CUDA"):
        build_plan(library, b"graph", BuildOptions((4,)))
    with pytest.raises(EngineError, match="cannot start a builder: CUDA"):
        parsed_report(library, b"graph")
    assert not vars(library.logger)["listeners"]


def test_a_call_that_is_wrong_is_no_missing_driver() -> None:
    module = Unstartable()
    module.error = TypeError("__init__(): incompatible constructor arguments")
    with pytest.raises(TypeError, match="incompatible"):
        start_builder(describe_library(module, "tensorrt"))


NO_GPU = Surroundings("tensorrt-cu12", 12, "no CUDA driver; install NVIDIA's driver")
NEWER = Surroundings("tensorrt-cu12", 12, "", "580.65.06", "13.0")


@pytest.mark.parametrize(
    ("logged", "around", "expected"),
    [
        (
            "a\nb",
            NO_GPU,
            "cannot start a runtime: a; b. No GPU can be used: no CUDA driver; install NVIDIA's "
            "driver. tensorrt-cu12 needs driver 525 or later (CUDA 12).",
        ),
        (
            "Unable to determine GPU memory usage\nCUDA initialization failure with error 2.",
            NEWER,
            "memory usage; CUDA initialization failure with error 2. "
            "The NVIDIA driver is 580.65.06, for CUDA 13.0. tensorrt-cu12 needs "
            "driver 525 or later (CUDA 12). Free memory of the GPU: nvidia-smi lists the processes "
            "that use it.",
        ),
        (
            "Unable to determine GPU memory usage",
            NEWER,
            "(CUDA 12).",
        ),
        (
            "",
            Surroundings(),
            "it gave no reason. The NVIDIA driver is of an unknown version, for CUDA of an unknown "
            "version. Expected a driver not older than 525 for CUDA 12, 580 for CUDA 13, as the "
            "library was made for.",
        ),
        (
            OLD,
            Surroundings("tensorrt-cu13", 13, "", "470.57.02", "11.4"),
            "tensorrt-cu13 needs driver 580 or later (CUDA 13). Install a newer driver.",
        ),
    ],
    ids=["no GPU", "memory", "not memory", "nothing is known", "older than all packages"],
)
def test_the_reason_and_the_advice_fit(logged: str, around: Surroundings, expected: str) -> None:
    library = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    assert why_not_started(library, "runtime", logged, around).endswith(expected)


def test_what_this_machine_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"tensorrt-cu12-bindings", "tensorrt-rtx-cu13-bindings"}

    def distribution(name: str) -> Any:
        if name not in installed:
            raise PackageNotFoundError(name)
        return SimpleNamespace()

    monkeypatch.setattr(start, "distribution", distribution)
    monkeypatch.setattr(start, "driver_version", lambda: "580.65.06")
    monkeypatch.setattr(start, "cuda_version", lambda: "13.0")
    monkeypatch.setattr(start, "why_no_device", lambda: "")
    assert surroundings("tensorrt") == replace(NEWER, wheel="tensorrt-cu12-bindings")
    assert surroundings("tensorrt-rtx").wheel == "tensorrt-rtx-cu13-bindings"
    installed.clear()
    monkeypatch.setattr(start, "why_no_device", lambda: "it is away")
    assert surroundings("tensorrt") == Surroundings("", None, "it is away", "580.65.06", "")


def test_one_who_listens_within_another_leaves_it_listening() -> None:
    library = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    logger: Any = library.logger
    with listening(logger) as outer:
        with listening(logger):
            pass
        logger.log(Severity.ERROR, "heard")
    assert outer.errors == "heard"
