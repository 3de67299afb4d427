from __future__ import annotations

import importlib.util
from importlib import metadata
from importlib.machinery import ModuleSpec

import pytest

from facenet_validate.base.errors import SettingsError
from facenet_validate.engines.backends import choose_backend
from facenet_validate.engines.device.opening import Bindings
from facenet_validate.engines.device.probe import Gpu


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Modules by name → their file; None is a folder of type stubs. All distributions are 1.0."""
    found: dict[str, str | None] = {"onnxruntime": "here"}

    def find_spec(name: str) -> ModuleSpec | None:
        if name not in found:
            return None
        return ModuleSpec(name, None, origin=found[name])

    distributions = {
        "tensorrt": "tensorrt",
        "tensorrt-rtx-cu13-bindings": "tensorrt_rtx_bindings",
        "onnxruntime": "onnxruntime",
        "onnxruntime-gpu": "onnxruntime_gpu",
    }

    def version(name: str) -> str:
        if distributions.get(name) in found:
            return "1.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("facenet_validate.engines.backend.find_spec", find_spec)
    monkeypatch.setattr("facenet_validate.base.versions.metadata.version", version)
    return found


def _gpu(why_not: str = "", capability: str = "8.9", bindings: str = "") -> Gpu:
    return Gpu(lambda: why_not, lambda: capability, lambda: bindings)


no_driver = _gpu("there is no driver")
a_gpu = _gpu()
no_bindings = _gpu(bindings="pycuda is not installed; cuda-bindings is not installed")


def test_auto_is_the_cpu_where_tensorrt_is_not_installed(installed: dict[str, str | None]) -> None:
    found = choose_backend("auto", "default", a_gpu)
    assert (found.name, found.why) == ("onnxruntime", "TensorRT is not installed")
    assert found.watched_gpu() is None


def test_auto_is_tensorrt_where_it_and_a_gpu_are(installed: dict[str, str | None]) -> None:
    installed |= {"tensorrt": "here", "tensorrt_rtx_bindings": "here"}
    found = choose_backend("auto", "default", a_gpu)
    assert (found.name, found.version, found.unavailable) == ("tensorrt", "1.0", "")
    assert found.artefact_lines("fp16", "engine.plan") == ["plan fp16: engine.plan"]


def test_auto_without_a_gpu_is_the_cpu_and_says_why(installed: dict[str, str | None]) -> None:
    installed["tensorrt_rtx_bindings"] = "here"
    found = choose_backend("auto", "default", no_driver)
    assert found.name == "onnxruntime"
    assert found.why == "tensorrt-rtx 1.0 is installed, but there is no driver"


def test_auto_without_bindings_is_the_cpu_and_says_why(installed: dict[str, str | None]) -> None:
    installed["tensorrt"] = "here"
    assert "cuda-bindings is not installed" in choose_backend("auto", "default", no_bindings).why


def test_onnxruntimes_cuda_provider_needs_no_bindings(installed: dict[str, str | None]) -> None:
    installed["onnxruntime_gpu"] = "here"
    found = choose_backend("onnxruntime-cuda", "--facenet-backend", no_bindings)
    assert (found.unavailable, found.setup_text(4)) == ("", "")
    no_device = choose_backend("onnxruntime-cuda", "--facenet-backend", no_driver)
    assert no_device.unavailable == "there is no driver"


def test_tensorrts_set_up_names_the_bindings(
    installed: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed["tensorrt"] = "here"
    found = Bindings("cuda-bindings", "13.5.0", lambda _: pytest.fail("opened"))
    monkeypatch.setattr("facenet_validate.engines.device.opening.find_bindings", lambda: found)
    backend = choose_backend("tensorrt", "--facenet-backend", a_gpu)
    assert backend.setup_text(4) == "; cuda-bindings 13.5.0"


@pytest.mark.parametrize(("capability", "chosen"), [("8.9", True), ("12.0", True), ("9.0", False)])
def test_auto_takes_rtx_for_gpus_it_lists(
    installed: dict[str, str | None], capability: str, chosen: bool
) -> None:
    installed["tensorrt_rtx_bindings"] = "here"
    gpu = _gpu(capability=capability)
    found = choose_backend("auto", "default", gpu)
    assert (found.name == "tensorrt-rtx") is chosen
    assert chosen or "does not list compute capability 9.0" in found.why
    assert choose_backend("tensorrt-rtx", "--facenet-backend", gpu).unavailable == ""


def test_tensorrt_goes_before_rtx(installed: dict[str, str | None]) -> None:
    installed |= {"tensorrt": "here", "tensorrt_rtx_bindings": "here"}
    assert choose_backend("auto", "default", a_gpu).name == "tensorrt"


def test_type_stubs_are_no_tensorrt(installed: dict[str, str | None]) -> None:
    installed["tensorrt"] = None
    assert choose_backend("auto", "default", a_gpu).why == "TensorRT is not installed"
    with pytest.raises(SettingsError, match="not installed"):
        choose_backend("tensorrt", "--facenet-backend", a_gpu)


def test_what_was_asked_for_and_is_not_there_says_how_to_install_it(
    installed: dict[str, str | None],
) -> None:
    with pytest.raises(SettingsError) as error:
        choose_backend("onnxruntime-cuda", "FACENET_BACKEND", a_gpu)
    assert str(error.value).startswith("FACENET_BACKEND: onnxruntime-cuda, which is not installed")
    assert "pip install onnxruntime-gpu" in str(error.value)


def test_what_was_asked_for_is_built_where_it_cannot_run(installed: dict[str, str | None]) -> None:
    installed["tensorrt_rtx_bindings"] = "here"
    found = choose_backend("tensorrt-rtx", "--facenet-backend", no_driver)
    assert (found.name, found.unavailable) == ("tensorrt-rtx", "there is no driver")
    assert "pycuda" in choose_backend("tensorrt-rtx", "--facenet-backend", no_bindings).unavailable


def test_the_installed_onnxruntime_is_told_by_either_name(
    installed: dict[str, str | None],
) -> None:
    del installed["onnxruntime"]
    installed["onnxruntime_gpu"] = "here"
    assert choose_backend("onnxruntime", "x", no_driver).version == "1.0"


def test_no_library_is_imported_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", None)
    assert importlib.util.find_spec("onnxruntime") is not None
    assert choose_backend("auto", "default", no_driver).name == "onnxruntime"
