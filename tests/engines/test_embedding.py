from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.cache import Cache
from facenet_validate.engines.embedding import (
    cached_embeddings,
    embed,
    largest_cosine_distance,
    sample_rows,
)
from facenet_validate.engines.host_engine import HostEngine
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import EngineInfo, TensorInfo
from facenet_validate.models.prepared import PreparedModel


@dataclass
class Faces:
    """Faces whose every pixel is their row number."""

    count: int

    @property
    def names(self) -> list[str]:
        return [f"face_{row:04d}" for row in range(self.count)]

    @property
    def digest(self) -> str:
        return f"{self.count:064d}"

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        faces = np.zeros((len(rows), 160, 160, 3), np.uint8)
        faces[:] = (rows % 256)[:, None, None, None]
        return faces


class Engine(HostEngine):
    """Embeds a face as a vector at an angle its first pixel gives; counts what it ran."""

    input = TensorInfo("input", "float32", ("N", 3, 160, 160))
    output = TensorInfo("embeddings", "float32", ("N", 2))

    def __init__(self, turn: float = 0.0) -> None:
        self.turn = turn
        self.batches: list[int] = []
        self.info = EngineInfo("fp32", "fake", "fake 1", "none", "", (), "e" * 64, "fake", False)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.batches.append(len(batch))
        angle = batch[:, 0, 0, 0] + np.float32(self.turn)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    def close(self) -> None: ...


@given(st.integers(1, 40), st.integers(1, 17))
def test_any_number_in_any_batch_size_gives_the_same_rows(count: int, batch_size: int) -> None:
    engine = Engine()
    found = embed(engine, Faces(count), batch_size)
    np.testing.assert_array_equal(found, embed(Engine(), Faces(count), count))
    assert sum(engine.batches) == count
    assert all(size == batch_size for size in engine.batches[:-1])


def test_rows_can_be_chosen_in_any_order() -> None:
    rows = np.array([5, 1, 3])
    np.testing.assert_array_equal(
        embed(Engine(), Faces(9), 2, rows=rows), embed(Engine(), Faces(9), 9)[rows]
    )


def test_an_unreadable_face_stops_the_embedding() -> None:
    class Broken(Faces):
        def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
            if 5 in rows:
                raise EngineError("face_0005 is broken")
            return super().load(rows)

    with pytest.raises(EngineError, match="face_0005"):
        embed(Engine(), Broken(9), 2)


def test_a_hit_embeds_a_sample_again(tmp_path: Path) -> None:
    cache, faces = Cache(tmp_path), Faces(600)
    first = cached_embeddings(Engine(), faces, 64, cache, cpu="x")
    engine = Engine()
    again = cached_embeddings(engine, faces, 64, cache, cpu="x")
    np.testing.assert_array_equal(first.values, again.values)
    assert sum(engine.batches) == 256
    assert "256 sampled images embedded again agree" in again.origin
    assert "embedded now" in first.origin


def test_a_sample_that_disagrees_embeds_everything_again(tmp_path: Path) -> None:
    cache, faces = Cache(tmp_path), Faces(600)
    cached_embeddings(Engine(), faces, 64, cache, cpu="x")
    other = cached_embeddings(Engine(turn=0.1), faces, 64, cache, cpu="x")
    assert "cached ones disagreed" in other.origin
    np.testing.assert_array_equal(other.values, embed(Engine(turn=0.1), faces, 64))
    settled = cached_embeddings(Engine(turn=0.1), faces, 64, cache, cpu="x")
    assert "agree" in settled.origin


def test_another_cpu_is_another_entry(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cached_embeddings(Engine(), Faces(3), 2, cache, cpu="x")
    again = cached_embeddings(Engine(), Faces(3), 2, cache, cpu="y")
    assert again.origin == 'embedded now (miss: cpu changed ("x" → "y"))'.replace('"', "")


def test_sample_is_fixed_sorted_and_within() -> None:
    rows = sample_rows(1000, "seed")
    np.testing.assert_array_equal(rows, sample_rows(1000, "seed"))
    assert len(set(rows.tolist())) == 256
    assert (np.diff(rows) > 0).all()
    assert len(sample_rows(10, "seed")) == 10


def test_one_broken_row_is_infinitely_far() -> None:
    good = np.eye(3, dtype=np.float32)
    bad = good.copy()
    bad[1, 0] = np.nan
    assert largest_cosine_distance(good, bad) == np.inf
    assert largest_cosine_distance(bad, bad) == 0.0


@pytest.fixture
def engine(prepared: PreparedModel) -> Iterator[OnnxRuntimeEngine]:
    with OnnxRuntimeEngine(
        prepared.entry.path,
        digest=prepared.entry.digest,
        precision="fp32",
        artefact="the prepared model",
        device="here",
        threads=2,
    ) as made:
        yield made


def test_onnxruntime_engine_keeps_the_contract(
    engine: OnnxRuntimeEngine, drawn_batch: NDArray[np.float32]
) -> None:
    assert engine.input == TensorInfo("input", "float32", ("N", 3, 160, 160))
    assert engine.output == TensorInfo("embeddings", "float32", ("N", 512))
    found = engine.run(drawn_batch)
    assert found.shape == (16, 512)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)


def test_a_closed_engine_says_so(
    engine: OnnxRuntimeEngine, drawn_batch: NDArray[np.float32]
) -> None:
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(drawn_batch)


def test_a_wrong_batch_is_an_engine_error(engine: OnnxRuntimeEngine) -> None:
    with pytest.raises(EngineError, match=r"a batch is float32 \(1, 3, 8, 8\); expected"):
        engine.run(np.zeros((1, 3, 8, 8), np.float32))


def test_a_file_that_is_no_model_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"m\.onnx: ONNX Runtime .* cannot load it"):
        OnnxRuntimeEngine(
            tmp_path / "m.onnx",
            digest="0" * 64,
            precision="fp32",
            artefact="m",
            device="here",
            threads=1,
        )
