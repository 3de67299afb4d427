"""Whatever the picture: what every embedding is, and engines that break it by one picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.datasets.images import decode_image
from facenet_validate.gates.verdicts import Observed
from facenet_validate.metrics.view2 import DecisionRule, evaluate_embeddings
from facenet_validate.run.any_picture import Invariants, noise_accepted, odd_pictures
from tests.run.toy_faces import SIDE, ToyEngine, photos, toy_rows, toy_set

Damage = Callable[[Any, Any], Any]


def tried(engine: Any, folder: Path, replayed: Path | None = None) -> Observed:
    """Hold an engine to the invariants as the suite does."""
    invariants = Invariants(engine, folder, replayed, examples=25, derandomize=True)

    @invariants.settings
    @given(picture=invariants.pictures)
    def holds(picture: NDArray[np.uint8]) -> None:
        invariants.hold(picture)

    return invariants.observed(holds)


def where_bright(damage: Damage) -> Damage:
    """Return a damage of pictures that are brighter than the middle."""

    def only(batch: Any, rows: Any) -> Any:
        bright = batch.mean((1, 2, 3)) > 0
        return np.where(bright[:, None], damage(batch, rows.copy()), rows)

    return only


def again(batch: Any, rows: Any) -> Any:
    """Another embedding each time."""
    turned = rows + np.random.default_rng().normal(0, 0.01, rows.shape)
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)


def crash(batch: Any, rows: Any) -> Any:
    if (batch.mean((1, 2, 3)) > 0).any():
        raise EngineError("out of memory")
    return rows


BROKEN: dict[str, tuple[Damage, str]] = {
    "nan": (where_bright(lambda batch, rows: rows * np.nan), "the embedding is not finite"),
    "length": (where_bright(lambda batch, rows: rows * 1.01), "the embedding has length 1.01"),
    "again": (where_bright(again), "a second run gives an embedding at distance"),
    "crash": (crash, "it cannot be embedded (out of memory)"),
}


def test_a_healthy_engine_breaks_nothing(tmp_path: Path) -> None:
    assert tried(ToyEngine(), tmp_path) == Observed("robustness.invariants", 0, "25 pictures")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", BROKEN)
def test_a_picture_that_breaks_an_invariant_is_saved_and_replays_it(
    case: str, tmp_path: Path
) -> None:
    damage, words = BROKEN[case]
    found = tried(ToyEngine(damage), tmp_path)
    assert found.value == 1
    assert found.detail.startswith(words)
    (saved,) = (tmp_path / "pictures").iterdir()
    assert f"add -k any_picture --facenet-picture {saved} to this run" in found.detail
    picture = decode_image(saved.read_bytes(), name=saved.name)
    assert picture.shape == (SIDE, SIDE, 3)
    again = tried(ToyEngine(damage), tmp_path, replayed=saved)
    assert again.value == 1
    assert again.detail.startswith(words)
    assert tried(ToyEngine(), tmp_path, replayed=saved).value == 0


def test_the_pictures_are_the_same_in_every_run(tmp_path: Path) -> None:
    def seen() -> list[bytes]:
        kept: list[bytes] = []

        def keep(batch: Any, rows: Any) -> Any:
            kept.append(batch.tobytes())
            return rows

        tried(ToyEngine(keep), tmp_path)
        return kept

    first = seen()
    assert first == seen()
    assert len(set(first)) > 15


def test_the_picture_found_is_a_simple_one(tmp_path: Path) -> None:
    damage, _ = BROKEN["nan"]
    tried(ToyEngine(damage), tmp_path)
    (saved,) = (tmp_path / "pictures").iterdir()
    picture = decode_image(saved.read_bytes(), name=saved.name)
    # One colour, just above the middle.
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 1


def test_odd_pictures_have_embeddings() -> None:
    found = odd_pictures(_engine())
    assert (found.gate, found.value) == ("robustness.odd_pictures", 0)


def test_pictures_without_an_embedding_are_counted() -> None:
    def damage(batch: Any, rows: Any) -> Any:
        rows[np.abs(batch).max((1, 2, 3)) < 1e-30] = np.nan
        rows[batch.min((1, 2, 3)) > 0.9] *= 0
        return rows

    found = odd_pictures(_engine(damage))
    assert found.value == 3
    assert "white: 1 not finite" in found.detail
    assert "denormal: 2 not finite" in found.detail


def test_an_engine_that_cannot_embed_a_kind_loses_all_of_it() -> None:
    def damage(batch: Any, rows: Any) -> Any:
        if len(batch) > 2:
            raise EngineError("too many")
        return rows

    found = odd_pictures(_engine(damage))
    assert found.value == 24
    assert "noise: too many" in found.detail


def _engine(damage: Damage | None = None) -> Any:
    return ToyEngine(damage)


def _rule() -> DecisionRule:
    rows = toy_rows(np.stack([np.moveaxis(one, -1, 0) for one in photos().astype(np.float32)]))
    return evaluate_embeddings(rows, toy_set().pairs).rule


def test_noise_is_accepted_as_by_the_reference() -> None:
    found = noise_accepted(_engine(), _engine(), _rule(), photos()[::3])
    assert found.value == 0
    assert "of 276 pairs of two noise pictures accepted" in found.detail


def test_an_engine_that_takes_noise_for_one_person_accepts_more() -> None:
    def damage(batch: Any, rows: Any) -> Any:
        rows[:24] = rows[0]
        return rows

    found = noise_accepted(_engine(damage), _engine(), _rule(), photos()[::3])
    assert found.value is not None
    assert found.value > 0.2
    assert "accepted 276, FP32 " in found.detail


def test_embeddings_that_are_not_finite_are_never_accepted() -> None:
    found = noise_accepted(
        _engine(lambda batch, rows: rows * np.nan), _engine(), _rule(), photos()[::3]
    )
    assert found.value == 0
