from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from facenet_validate.models.onnx_session import cpu_session, reason, rows_in_batches
from tests.models.small_facenet import SIZE, small_facenet


def test_a_graph_and_its_file_give_the_same(tmp_path: Path) -> None:
    model = small_facenet()
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    fed = {"input": np.random.default_rng(0).normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)}
    rows = [cpu_session(source).run(None, fed)[0] for source in (model, path)]
    np.testing.assert_array_equal(rows[0], rows[1])


@pytest.mark.parametrize(
    ("optimisation", "changed"), [("none", False), ("basic", True), ("all", True)]
)
def test_a_graph_is_rewritten_as_far_as_allowed(
    optimisation: Any, changed: bool, tmp_path: Path
) -> None:
    model = small_facenet()
    model.graph.node.insert(0, onnx.helper.make_node("Identity", ["input"], ["same"]))
    model.graph.node[1].input[0] = "same"
    cpu_session(model, optimisation=optimisation, optimised=tmp_path / "made.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "made.onnx").graph.node]
    assert ("Identity" not in operators) == changed


def test_the_first_line_of_a_refusal_is_its_reason() -> None:
    model = small_facenet()
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(Exception, match="NoSuchOperator") as refusal:
        cpu_session(model)
    assert "NoSuchOperator" in reason(refusal.value)
    assert "\n" not in reason(refusal.value)


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 64])
def test_images_run_in_full_batches_and_keep_their_rows(batch: int) -> None:
    images = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)
    fed: list[tuple[int, ...]] = []

    def run(part: NDArray[Any]) -> NDArray[Any]:
        fed.append(part.shape)
        return part * 2

    rows = rows_in_batches(run, images, batch)
    np.testing.assert_array_equal(rows, images.reshape(5, -1) * 2)
    assert set(fed) == {(batch, 2, 3)}
