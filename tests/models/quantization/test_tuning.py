"""The search on a small network; its parts are in test_sensitivity."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from facenet_validate.base.errors import ModelError
from facenet_validate.models.quantization.int8 import Calibrated, calibrate
from facenet_validate.models.quantization.precision import infer_precision
from facenet_validate.models.quantization.recipes import Around, int8_recipe
from facenet_validate.models.quantization.tuning import (
    Check,
    Tuned,
    emulated_embeddings,
    loss_between,
    tune,
)
from tests.models.small_facenet import SIZE, small_facenet

RECIPE = replace(int8_recipe("tensorrt"), weight_bits=4)
"""Four bits, so that there is something to win back on so small a network."""

TARGET = 0.0005


@pytest.fixture(scope="module")
def images() -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, size=(24, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def calibrated(images: NDArray[np.float32]) -> Calibrated:
    return calibrate(small_facenet(), images, equalized=True)


def _tune(
    calibrated: Calibrated, images: NDArray[np.float32], store: Path, target: float | None
) -> tuple[Tuned, list[float]]:
    reference = emulated_embeddings(calibrated.model, images)
    losses: list[float] = []
    allowed = TARGET if target is None else target

    def check(model: onnx.ModelProto) -> Check:
        losses.append(loss_between(reference, emulated_embeddings(model, images)))
        return Check(losses[-1] <= allowed, None if target is None else losses[-1], "")

    return tune(calibrated, RECIPE, images[:8], check, store, target=target), losses


@pytest.fixture(scope="module")
def searched(
    calibrated: Calibrated, images: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tuned, Path]:
    """The result of one search, and the losses that it measured and stored."""
    store = tmp_path_factory.mktemp("search") / "losses.jsonl"
    found, _ = _tune(calibrated, images, store, TARGET)
    return found, store


@pytest.fixture
def store(searched: tuple[Tuned, Path], tmp_path: Path) -> Path:
    """A copy of the losses: what a search needs of them it does not measure again."""
    return Path(shutil.copy(searched[1], tmp_path))


@pytest.mark.parametrize("target", [TARGET, None])
def test_the_target_is_reached_with_less_than_everything(
    target: float | None, calibrated: Calibrated, images: NDArray[np.float32], store: Path
) -> None:
    found, losses = _tune(calibrated, images, store, target)
    assert found.before > TARGET >= found.after
    assert found.check.reached
    assert losses[-1] <= TARGET
    assert len(found.recipe.keep) > 0
    assert found.cost < 1.0
    assert [part.name for part in found.blocks] != []
    assert found.blocks == sorted(found.blocks, key=lambda part: -part.gain)


def test_an_easy_target_keeps_nothing(
    calibrated: Calibrated, images: NDArray[np.float32], store: Path
) -> None:
    found, _ = _tune(calibrated, images, store, 0.9)
    assert found.recipe.keep == ()
    assert found.before == found.after


def test_an_impossible_target_is_told(
    calibrated: Calibrated, images: NDArray[np.float32], store: Path
) -> None:
    found, _ = _tune(calibrated, images, store, 1e-9)
    assert not found.check.reached
    assert infer_precision(found.model) == "int8"


def test_a_node_to_keep_stays_kept(
    calibrated: Calibrated, images: NDArray[np.float32], tmp_path: Path
) -> None:
    def check(model: onnx.ModelProto) -> Check:
        return Check(True, 0.0, "")

    kept = replace(RECIPE, keep=("stem/a",))
    found = tune(calibrated, kept, images[:4], check, tmp_path / "l.jsonl", target=0.9)
    assert found.recipe.keep == ("stem/a",)
    assert found.cost > 0
    unknown = replace(RECIPE, keep=("no such node",))
    with pytest.raises(ModelError, match="'no such node'"):
        tune(calibrated, unknown, images[:4], check, tmp_path / "l.jsonl", target=0.9)


@pytest.mark.parametrize("around", ["fp16", "fp32"])
def test_losses_are_those_of_the_graph_that_is_made(
    around: Around, calibrated: Calibrated, images: NDArray[np.float32], tmp_path: Path
) -> None:
    """With FP16 around INT8 the nodes that are spared are FP16: their loss is not FP32's."""

    def check(model: onnx.ModelProto) -> Check:
        return Check(True, 0.0, "")

    recipe = replace(RECIPE, around=around, keep=("stem/a",))
    found = tune(calibrated, recipe, images[:4], check, tmp_path / "l.jsonl", target=0.9)
    reference = emulated_embeddings(calibrated.model, images[:4])
    assert found.before == loss_between(reference, emulated_embeddings(found.model, images[:4]))
    types = {tensor.name: tensor.data_type for tensor in found.model.graph.initializer}
    kept = next(node for node in found.model.graph.node if node.name == "stem/a")
    expected = TensorProto.FLOAT16 if around == "fp16" else TensorProto.FLOAT
    assert {types[name] for name in kept.input[1:]} == {expected}


def test_a_check_that_finds_much_more_loss_lowers_the_aim_by_halves(
    calibrated: Calibrated, images: NDArray[np.float32], store: Path
) -> None:
    answers = iter([Check(False, 0.5, ""), Check(True, 0.0, "")])
    found = tune(
        calibrated,
        RECIPE,
        images[:8],
        lambda _: next(answers),
        store,
        target=TARGET,
    )
    assert found.check.reached
    assert 0 < found.after <= TARGET / 2
    assert infer_precision(found.model) == "int8"


def test_a_second_search_measures_nothing_again(
    calibrated: Calibrated,
    images: NDArray[np.float32],
    searched: tuple[Tuned, Path],
    store: Path,
) -> None:
    first, _ = searched
    lines = store.read_text()
    second, _ = _tune(calibrated, images, store, TARGET)
    assert store.read_text() == lines
    assert second.recipe == first.recipe
