from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.engines.host_engine import HostEngine
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.models.prepared import PreparedModel

PROPERTIES = {
    "intra_op_num_threads": "1",
    "inter_op_num_threads": "1",
    "execution_mode": "sequential",
    "graph_optimization_level": "all",
    "enable_cpu_mem_arena": "1",
    "enable_mem_pattern": "1",
}
ENTRIES = {
    "session.intra_op.allow_spinning": "1",
    "session.force_spinning_stop": "1",
    "session.dynamic_block_base": "0",
    "session.set_denormal_as_zero": "0",
    "session.x64quantprecision": "0",
    "session.disable_quant_qdq": "0",
}


@pytest.mark.parametrize(
    ("precision", "target", "qdq"),
    [
        ("fp32", "cpu", "0"),
        ("int8", "cpu", "0"),
        ("int8", "tensorrt", "1"),
        ("fp16", "tensorrt", "0"),
    ],
)
def test_what_decides_result_and_speed_is_pinned_and_stored(
    prepared: PreparedModel, precision: Precision, target: Target, qdq: str
) -> None:
    """What is stored is what is in force in the session."""
    with OnnxRuntimeEngine(
        prepared.entry.path,
        digest=prepared.entry.digest,
        precision=precision,
        artefact="the prepared model",
        device="here",
        threads=1,
        target=target,
    ) as engine:
        expected = ENTRIES | {"session.disable_quant_qdq": qdq}
        assert dict(engine.info.options) == {
            "provider": "CPUExecutionProvider", **PROPERTIES, **expected,
        }  # fmt: skip
        session = engine._session
        assert session.get_providers() == ["CPUExecutionProvider"]
        in_force = session.get_session_options()
        for entry, value in expected.items():
            assert in_force.get_session_config_entry(entry) == value
        assert (in_force.intra_op_num_threads, in_force.inter_op_num_threads) == (1, 1)
        assert in_force.execution_mode.name == "ORT_SEQUENTIAL"
        assert in_force.graph_optimization_level.name == "ORT_ENABLE_ALL"
        assert in_force.enable_cpu_mem_arena
        assert in_force.enable_mem_pattern


def test_inner_tensors_are_those_of_the_run(
    prepared_small: PreparedModel, drawn_faces: NDArray[np.uint8]
) -> None:
    batch = standardize(drawn_faces[:2], 32)
    with OnnxRuntimeEngine(
        prepared_small.entry.path,
        digest=prepared_small.entry.digest,
        precision="fp32",
        artefact="the prepared model",
        device="here",
        threads=1,
    ) as engine:
        inner = engine.inner_tensors(["stem/a/relu", "block35/add"])
        assert inner.run is not None
        embeddings, first, second = inner.run(batch)
        assert np.array_equal(embeddings, engine.run(batch))
        assert (first.min(), first.shape[1], second.shape[1]) == (0, 8, 12)
        with pytest.raises(EngineError, match="its inner tensors cannot be taken"):
            engine.inner_tensors(["nothing"])
    with pytest.raises(EngineError, match="was closed"):
        engine.inner_tensors([])


def test_other_backends_say_that_they_give_no_inner_tensors(prepared_small: PreparedModel) -> None:
    with OnnxRuntimeEngine(
        prepared_small.entry.path,
        digest=prepared_small.entry.digest,
        precision="fp32",
        artefact="the prepared model",
        device="here",
        threads=1,
    ) as engine:
        found = HostEngine.inner_tensors(engine, ["block35/add"])
    assert (found.run, found.untold) == (None, "onnxruntime gives no tensors inside an engine")
