from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.tensorrt.library import Library, describe_library, find_library
from tests.engines.tensorrt.fake_tensorrt import FakeTensorRT


@pytest.fixture(autouse=True)
def _found_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test finds the library itself, and leaves what the others found."""
    for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    find_library.cache_clear()
    yield
    find_library.cache_clear()


def test_type_stubs_alone_are_no_tensorrt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.pyi").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(EngineError, match=r"TensorRT is not installed.*facenet-validate\[tensorrt"):
        find_library("tensorrt")


def test_an_absent_library_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(EngineError, match=r"RTX is not installed.*facenet-validate\[tensorrt-rtx"):
        find_library("tensorrt-rtx")


@pytest.mark.parametrize("cause", ["ImportError", "OSError"])
def test_a_shared_library_that_cannot_be_loaded_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    text = "libnvinfer.so.10: cannot open shared object file"
    (tmp_path / "tensorrt.py").write_text(f"raise {cause}({text!r})")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(EngineError, match=r"cannot be loaded: libnvinfer\.so\.10"):
        find_library("tensorrt")


def test_a_package_that_misses_its_own_libraries_is_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text("import tensorrt_rtx_libs_of_another_name")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(EngineError, match=r"cannot be loaded: .*libs_of_another_name"):
        find_library("tensorrt-rtx")


@pytest.mark.parametrize("version", ["10.13.3.9", "11.4.0.12"])
def test_features_of_tensorrt_are_probed(version: str) -> None:
    library = describe_library(FakeTensorRT(version), "tensorrt")
    assert library.version == version
    assert library.features.strong_typing_flag
    assert library.features.timing_cache
    assert not library.features.compute_capabilities
    assert not library.features.engine_validity


def test_features_of_rtx_are_probed(rtx: Library) -> None:
    features = rtx.features
    assert not features.timing_cache
    assert features.compute_capabilities
    assert features.engine_validity
    assert rtx.logger is rtx.logger
