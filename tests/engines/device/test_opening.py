"""Which package a device is opened through."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.device import opening
from facenet_validate.engines.device.bindings_device import BindingsDevice
from facenet_validate.engines.device.driver import DriverCalls
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.device.opening import (
    find_bindings,
    open_device,
    why_no_bindings,
)
from facenet_validate.engines.device.pycuda_device import PycudaDevice
from tests.engines.device.fake_bindings import FakeBindings
from tests.engines.device.fake_driver import FakeDriver
from tests.engines.device.fake_libcuda import Libcuda
from tests.engines.device.fake_pycuda import FakePycuda

Install = Callable[..., FakeDriver]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """A GPU, and of the packages for it those that are named."""

    def packages(*names: str) -> FakeDriver:
        driver = FakeDriver()
        modules: dict[str, ModuleType | None] = {"pycuda": None, "cuda": None}
        fakes = {"pycuda": FakePycuda, "cuda.bindings": FakeBindings}
        for name, fake in fakes.items():
            if name in names:
                package = ModuleType(name)
                package.driver = fake(driver)  # type: ignore[attr-defined]
                modules |= {name.partition(".")[0]: ModuleType("namespace"), name: package}
        for known in [name for name in sys.modules if name.partition(".")[0] in modules]:
            monkeypatch.delitem(sys.modules, known)
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        versions = {"pycuda": "2026.1", "cuda-bindings": "13.5.0"}
        identity = GpuIdentity("NVIDIA Fake", "8.9", 46, 2**33)
        for name, value in {
            "distribution_version": versions.__getitem__,
            "why_no_device": lambda: "",
            "gpu_identity": lambda _ordinal: identity,
            "DriverCalls": lambda: DriverCalls(lambda _: Libcuda(driver)),
        }.items():
            monkeypatch.setattr(opening, name, value)
        return driver

    return packages


def test_no_device_is_an_error_with_its_reason(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("pycuda")
    monkeypatch.setattr(opening, "why_no_device", lambda: "the driver sleeps")
    with pytest.raises(EngineError, match="no GPU to run on: the driver sleeps"):
        open_device()


@pytest.mark.parametrize("packages", [("pycuda",), ("pycuda", "cuda.bindings")])
def test_pycuda_is_taken_where_it_is(install: Install, packages: tuple[str, ...]) -> None:
    install(*packages)
    assert find_bindings().text == "pycuda 2026.1"
    with open_device() as device:
        assert isinstance(device, PycudaDevice)
        assert device.identity.name == "NVIDIA Fake"
        stream = device.stream()
        stream.capture(lambda: None).release()
        stream.release()


def test_pycudas_graphs_go_through_cuda_bindings_where_both_are(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("pycuda", "cuda.bindings")
    monkeypatch.setattr(opening, "DriverCalls", None)
    open_device().close()


def test_cuda_bindings_are_taken_where_pycuda_is_not(install: Install) -> None:
    install("cuda.bindings")
    assert find_bindings().text == "cuda-bindings 13.5.0"
    assert why_no_bindings() == ""
    with open_device() as device:
        assert isinstance(device, BindingsDevice)
        assert device.identity.name == "NVIDIA Fake"


def test_without_either_both_ways_to_install_are_named(install: Install) -> None:
    install()
    with pytest.raises(EngineError) as error:
        open_device()
    assert str(error.value).startswith("pycuda is not installed; cuda-bindings is not installed. ")
    assert "pip install 'facenet-validate[cuda]'" in str(error.value)
    assert "pip install pycuda" in str(error.value)
    assert str(error.value) == f"{why_no_bindings()}."


class Broken:
    """Finds a package that cannot be loaded."""

    def __init__(self, package: str, why: str) -> None:
        self.package, self.why = package, why

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name == self.package:
            raise ImportError(self.why)


@pytest.mark.parametrize("packages", [(), ("cuda.bindings",)])
def test_pycuda_of_a_newer_toolkit_says_how_to_compile_it(
    install: Install, monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...]
) -> None:
    install(*packages)
    monkeypatch.delitem(sys.modules, "pycuda")
    broken = Broken("pycuda", "_driver.so: undefined symbol: cuCtxCreate_v4")
    monkeypatch.setattr(sys, "meta_path", [broken, *sys.meta_path])
    if packages:  # which stand in for it
        assert find_bindings().name == "cuda-bindings"
    else:
        with pytest.raises(EngineError, match=r"undefined symbol: cuCtxCreate_v4.*not newer than"):
            find_bindings()


def test_cuda_bindings_that_cannot_be_loaded_say_why(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.delitem(sys.modules, "cuda")
    broken = Broken("cuda", "driver.so: wrong ELF class")
    monkeypatch.setattr(sys, "meta_path", [broken, *sys.meta_path])
    with pytest.raises(EngineError, match=r"cuda-bindings is installed.*wrong ELF class"):
        find_bindings()
