"""The CUDA provider's engine on the CPU provider, where all but the copies is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.onnxruntime.cuda_engine import OnnxRuntimeCudaEngine
from facenet_validate.engines.protocol import EngineInfo, Scope
from tests.models.exported.exporter_styles import fixed_batch
from tests.models.small_engines import with_sides
from tests.models.small_facenet import EMBEDDING, SIZE, small_facenet

INFO = EngineInfo(
    precision="fp32",
    backend="onnxruntime-cuda",
    runtime="onnxruntime",
    device="Fake GPU",
    device_details="",
    options=(),
    digest="e" * 64,
    artefact="small.onnx",
    recipe_only=False,
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model."""
    path = tmp_path_factory.mktemp("model") / "small.onnx"
    onnx.save(small_facenet(), path)
    return path


@pytest.fixture(scope="module")
def batch() -> NDArray[np.float32]:
    """Five random images."""
    drawn: NDArray[np.float64] = np.random.default_rng(3).standard_normal((5, 3, SIZE, SIZE))
    return drawn.astype(np.float32)


def on_cpu(path: Path) -> OnnxRuntimeCudaEngine:
    return OnnxRuntimeCudaEngine(
        path, info=INFO, provider="CPUExecutionProvider", device_type="cpu"
    )


def plain(path: Path, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    session: Any = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: batch})
    return np.asarray(found)


def test_it_embeds_as_a_plain_session_does(path: Path, batch: NDArray[np.float32]) -> None:
    with on_cpu(path) as engine:
        np.testing.assert_allclose(engine.run(batch), plain(path, batch), atol=1e-6)
        many = list(engine.run_many(iter([batch, batch[:2]])))
        assert [len(one) for one in many] == [5, 2]


def test_bound_memory_holds_what_a_run_gives(
    path: Path, batch: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    make = ort.OrtValue.ortvalue_from_shape_and_type

    def keep(*arguments: Any) -> Any:
        made.append(make(*arguments))
        return made[-1]

    monkeypatch.setattr(ort.OrtValue, "ortvalue_from_shape_and_type", keep)
    with on_cpu(path) as engine:
        work = engine.work(batch, "device")
        assert (work.batch, work.scope) == (5, "device")
        assert work.images % 5 == 0
        (bound,) = made
        bound.update_inplace(np.zeros_like(bound.numpy()))
        work.run()
        np.testing.assert_allclose(bound.numpy(), plain(path, batch), atol=1e-6)


@pytest.mark.parametrize("scope", ["device", "end-to-end"])
def test_a_block_hands_out_what_it_computed(
    path: Path, batch: NDArray[np.float32], scope: Scope
) -> None:
    with on_cpu(path) as engine:
        work = engine.work(batch, scope)
        work.run()
        for found in (*work.outputs.left(), work.outputs.untimed()):
            np.testing.assert_array_equal(found, engine.run(batch))
        work.outputs.spoil()
        assert all(np.isnan(left).all() for left in work.outputs.left())
        work.run()
        (left,) = work.outputs.left()
        np.testing.assert_array_equal(left, engine.run(batch))


def test_an_end_to_end_block_runs_as_often_as_it_says(
    path: Path, batch: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_cpu(path) as engine:
        work = engine.work(batch, "end-to-end")
        runs: list[int] = []
        monkeypatch.setattr(engine, "run", lambda faces: runs.append(len(faces)))
        work.run()
        assert sum(runs) == work.images


def test_a_scope_that_is_none_is_refused(path: Path, batch: NDArray[np.float32]) -> None:
    scope: Any = "host"
    with on_cpu(path) as engine, pytest.raises(EngineError, match="scope host cannot be timed"):
        engine.work(batch, scope)


def test_a_closed_engine_says_so(path: Path, batch: NDArray[np.float32]) -> None:
    engine = on_cpu(path)
    work = engine.work(batch, "device")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match=r"small\.onnx was closed"):
        engine.run(batch)
    with pytest.raises(EngineError, match="was closed"):
        work.run()
    with pytest.raises(EngineError, match="was closed"):
        engine.work(batch, "device")


def test_a_run_that_fails_is_named(tmp_path: Path, batch: NDArray[np.float32]) -> None:
    three = fixed_batch(3)(small_facenet())
    onnx.save(with_sides(three, ["N", 3, SIZE, SIZE], ["N", EMBEDDING]), tmp_path / "three.onnx")
    with on_cpu(tmp_path / "three.onnx") as engine:
        with pytest.raises(EngineError, match="a run on CPUExecutionProvider failed"):
            engine.run(batch)
        with pytest.raises(EngineError, match="a run on CPUExecutionProvider failed"):
            engine.work(batch, "device")


def test_a_wrong_batch_is_no_work(path: Path, batch: NDArray[np.float32]) -> None:
    with on_cpu(path) as engine, pytest.raises(EngineError, match=r"float64 .*; expected float32"):
        engine.work(batch.astype(np.float64), "device")


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(),
    reason="this ONNX Runtime has the CUDA provider",
)
def test_a_build_without_the_provider_says_what_is_installed(path: Path) -> None:
    with pytest.raises(
        EngineError, match=r"has no CUDAExecutionProvider; found .*CPUExecutionProvider"
    ):
        OnnxRuntimeCudaEngine(path, info=INFO)


def test_a_session_that_fell_back_to_the_cpu_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime answers a provider that does not start with a warning and the CPU's."""
    session = ort.InferenceSession
    asked: list[Any] = []

    def fall_back(name: str, options: Any, **rest: Any) -> Any:
        fallback = options.get_session_config_entry("session.disable_cpu_ep_fallback")
        asked.append(rest | {"no nodes on the CPU": fallback})
        return session(name, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(ort, "InferenceSession", fall_back)
    with pytest.raises(
        EngineError, match=r"CUDAExecutionProvider did not start and .* fell back to CPUExec"
    ):
        OnnxRuntimeCudaEngine(path, info=INFO, device_id=1)
    assert asked == [
        {
            "providers": ["CUDAExecutionProvider"],
            "provider_options": [
                {"device_id": "1", "use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}
            ],
            "no nodes on the CPU": "1",
        }
    ]


def test_a_file_that_is_no_model_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"m\.onnx: ONNX Runtime .* cannot load it on CPUExec"):
        on_cpu(tmp_path / "m.onnx")
