from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.cache import Cache
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.tensorrt.build import build_plan
from facenet_validate.engines.tensorrt.library import Features, Library, describe_library
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.validity import PlanHeader, explain_plan, is_plan
from tests.engines.tensorrt.fake_tensorrt import FakeTensorRT, ILogger, Severity

H200 = GpuIdentity("NVIDIA H200", "9.0", 132, 150_000_000_000)
L4 = GpuIdentity("NVIDIA L4", "8.9", 58, 24_000_000_000)


@pytest.fixture(scope="module")
def plan_bytes(rtx: Library, graphs: Mapping[str, onnx.ModelProto]) -> bytes:
    options = BuildOptions((8,))
    return build_plan(rtx, graphs["fp16"].SerializeToString(), options).plan


@pytest.fixture
def plan(tmp_path: Path, plan_bytes: bytes) -> Path:
    path = tmp_path / "engine.plan"
    path.write_bytes(plan_bytes)
    return path


def test_a_plan_of_this_version_passes(rtx: Library, plan: Path) -> None:
    assert explain_plan(plan, rtx, gpu=None) == PlanHeader("tensorrt-rtx", rtx.version)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.plan", b"", r"0 bytes and begins with b''.*: it is empty"),
        ("text.plan", b"hello " * 100, r"600 bytes and begins with b'hell'"),
        ("model.onnx", b"\x08\x08\x12\x00" * 9, r"looks like an ONNX graph"),
        ("short.plan", b"vtrt\0\0\0\0", r"is no TensorRT plan: it has 8 bytes"),
    ],
)
def test_what_is_no_plan_is_refused(
    rtx: Library, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineError, match=says):
        explain_plan(tmp_path / name, rtx, gpu=None)


def test_plans_are_told_by_their_tag_or_name(plan: Path, tmp_path: Path) -> None:
    renamed = plan.rename(tmp_path / "model.bin")
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08")
    (tmp_path / "empty.plan").touch()
    assert is_plan(renamed)
    assert is_plan(tmp_path / "empty.plan")
    assert not is_plan(tmp_path / "model.onnx")
    with pytest.raises(EngineError, match=r"absent\.plan cannot be read"):
        is_plan(tmp_path / "absent.plan")


def test_a_missing_plan_is_named(rtx: Library, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"absent\.plan cannot be read \(No such file"):
        explain_plan(tmp_path / "absent.plan", rtx, gpu=None)


def test_a_truncated_plan_is_refused(rtx: Library, plan: Path, plan_bytes: bytes) -> None:
    plan.write_bytes(plan_bytes[:-1])
    size = len(plan_bytes)
    with pytest.raises(EngineError, match=f"{size - 1} bytes, but its header says {size}"):
        explain_plan(plan, rtx, gpu=None)


def test_a_plan_of_another_version_is_explained(rtx: Library, plan: Path) -> None:
    newer = replace(rtx, version="1.8.0.300")
    with pytest.raises(EngineError, match=f"RTX {rtx.version}, but 1.8.0.300 is installed"):
        explain_plan(plan, newer, gpu=None)


def test_a_plan_of_the_other_library_is_explained(plan: Path) -> None:
    library = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    with pytest.raises(EngineError, match="Run with --facenet-backend tensorrt-rtx"):
        explain_plan(plan, library, gpu=None)


def _tensorrt_plan(path: Path, version: tuple[int, int, int, int]) -> Path:
    path.write_bytes(b"ftrt" + bytes(20) + bytes(version) + b"body")
    return path


def test_versions_of_tensorrt_are_compared_in_four_numbers(tmp_path: Path) -> None:
    plan = _tensorrt_plan(tmp_path / "engine.plan", (10, 13, 3, 9))
    library = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    assert explain_plan(plan, library, gpu=None).version == "10.13.3.9"
    assert explain_plan(plan, replace(library, version="10.13.3.9.post12"), gpu=None)
    with pytest.raises(EngineError, match=r"10\.13\.3\.9, but 10\.13\.3\.10 is installed"):
        explain_plan(plan, replace(library, version="10.13.3.10"), gpu=None)


def test_a_plan_from_our_cache_knows_its_gpu(tmp_path: Path) -> None:
    def build(path: Path) -> None:
        _tensorrt_plan(path, (10, 13, 3, 9))

    plan = Cache(tmp_path).get_or_build("plan", {"gpu": asdict(H200)}, "engine.plan", build).path
    library = describe_library(FakeTensorRT("10.13.3.9"), "tensorrt")
    assert explain_plan(plan, library, gpu=H200)
    with pytest.raises(EngineError, match="built on NVIDIA H200, but this GPU is NVIDIA L4") as e:
        explain_plan(plan, library, gpu=L4)
    assert "compute capability 9.0 → 8.9" in str(e.value)
    elsewhere = tmp_path / "engine.plan"
    elsewhere.write_bytes(plan.read_bytes())
    assert explain_plan(elsewhere, library, gpu=L4)


class _Validity(enum.IntEnum):
    VALID = 0
    SUBOPTIMAL = 1
    INVALID = 2


class _Diagnostics(enum.IntFlag):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2
    OLD_CUDA_DRIVER = 4


def _answering(validity: _Validity, diagnostics: int, logged: str = "") -> Library:
    """RTX with a runtime that gives an answer, as on a machine with a driver."""

    class Runtime:
        engine_header_size = 64

        def __init__(self, logger: ILogger) -> None:
            self._logger = logger

        def get_engine_validity(self, head: bytes) -> tuple[_Validity, int]:
            assert len(head) == 64
            if logged:
                self._logger.log(Severity.ERROR, logged)  # type: ignore[attr-defined]
            return validity, diagnostics

    module = SimpleNamespace(
        Runtime=Runtime,
        ILogger=ILogger,
        EngineValidity=_Validity,
        EngineInvalidityDiagnostics=_Diagnostics,
    )
    features = Features(True, False, True, True, True)
    return Library(module, "tensorrt-rtx", "TensorRT for RTX", "1.7.1.116", features)


def _rtx_plan(path: Path) -> Path:
    size = (64).to_bytes(8, "little")
    path.write_bytes((b"vtrt" + bytes(12) + size + bytes((1, 7, 1, 116))).ljust(64, b"\0"))
    return path


def test_a_build_number_beyond_a_byte_is_compared_by_what_the_header_holds(tmp_path: Path) -> None:
    plan = _rtx_plan(tmp_path / "engine.plan")
    library = replace(_answering(_Validity.VALID, 0), version=f"1.7.1.{256 + 116}")
    assert explain_plan(plan, library, gpu=H200)


@pytest.mark.parametrize(
    ("diagnostics", "logged", "says"),
    [
        (2, "", "not built for this GPU's compute capability. Build it"),
        (6, "", "compute capability; the CUDA driver is too old"),
        (0, "no driver", "on NVIDIA H200 .compute capability 9.0.: no driver"),
        (0, "", "it does not say why"),
    ],
)
def test_the_runtimes_objections_are_put_in_words(
    tmp_path: Path, diagnostics: int, logged: str, says: str
) -> None:
    plan = _rtx_plan(tmp_path / "engine.plan")
    library = _answering(_Validity.INVALID, diagnostics, logged)
    with pytest.raises(EngineError, match=says):
        explain_plan(plan, library, gpu=H200)


def test_a_plan_the_runtime_takes_may_carry_a_note(tmp_path: Path) -> None:
    plan = _rtx_plan(tmp_path / "engine.plan")
    assert explain_plan(plan, _answering(_Validity.VALID, 0), gpu=H200).note == ""
    found = explain_plan(plan, _answering(_Validity.SUBOPTIMAL, 2), gpu=H200)
    assert "not run at its best here: it was not built for this GPU's" in found.note
