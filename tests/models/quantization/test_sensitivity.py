from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.base.errors import CacheError
from facenet_validate.models.network import Block
from facenet_validate.models.quantization.sensitivity import (
    Keep,
    LossStore,
    nodes_of,
    rank,
    smallest_set,
)

LOSSES = {"a": 8.0, "b": 1.0, "c": 4.0, "d": 2.0}
EVERYTHING = frozenset(LOSSES)
COSTS = {"a": 60, "b": 10, "c": 10, "d": 20}


def additive(keep: Keep) -> float:
    return sum(loss for name, loss in LOSSES.items() if name not in keep)


def _parts() -> list[Block]:
    return [Block(name, (name,)) for name in LOSSES]


def test_parts_are_ranked_by_what_sparing_them_gains() -> None:
    ranking = rank(_parts(), EVERYTHING, COSTS, additive)
    assert [part.name for part in ranking] == ["a", "c", "d", "b"]
    assert [part.gain for part in ranking] == [8.0, 4.0, 2.0, 1.0]
    assert [part.alone for part in ranking] == [8.0, 4.0, 2.0, 1.0]
    assert [part.cost for part in ranking] == [0.6, 0.1, 0.2, 0.1]


def test_nothing_is_spared_where_the_target_is_reached_already() -> None:
    ranking = rank(_parts(), EVERYTHING, COSTS, additive)
    assert smallest_set(ranking, additive, 15.0) == frozenset()


def test_cheap_parts_are_spared_before_dear_ones() -> None:
    ranking = rank(_parts(), EVERYTHING, COSTS, additive)
    assert smallest_set(ranking, additive, 11.0) == frozenset("c")


def test_what_turns_out_not_to_be_needed_is_dropped() -> None:
    """Once a is spared, c is needed no more: 1 + 4 + 2 left with a alone, 9 allowed."""
    ranking = rank(_parts(), EVERYTHING, COSTS, additive)
    assert smallest_set(ranking, additive, 7.0) == frozenset("a")


def test_all_that_gains_is_spared_where_the_target_is_out_of_reach() -> None:
    ranking = rank([*_parts(), Block("e", ("e",))], EVERYTHING | {"e"}, COSTS, additive)
    assert smallest_set(ranking, additive, -1.0) == EVERYTHING


@given(st.floats(0.0, 15.0))
def test_the_set_reaches_the_target_and_no_part_of_it_is_needless(target: float) -> None:
    found = smallest_set(rank(_parts(), EVERYTHING, COSTS, additive), additive, target)
    assert additive(found) <= target
    assert all(additive(found - {name}) > target for name in found)


def test_a_store_measures_once_and_goes_on_after_an_interruption(tmp_path: Path) -> None:
    path = tmp_path / "tuning" / "losses.jsonl"
    first = LossStore(path, additive)
    ranking = rank(_parts(), EVERYTHING, COSTS, first)
    assert first.measured == 9
    # The process was killed in the middle of a line.
    text = path.read_text()
    path.write_text(text[: len(text) - 9])
    second = LossStore(path, additive)
    assert second.known == 8
    assert rank(_parts(), EVERYTHING, COSTS, second) == ranking
    assert second.measured == 1
    assert LossStore(path, additive).known == 9


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = LossStore(tmp_path / "file" / "losses.jsonl", additive)
    with pytest.raises(CacheError, match=r"losses\.jsonl"):
        store(frozenset())


def test_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "losses.jsonl"
    path.write_text(json.dumps({"keep": ["a"], "loss": 7.0}) + "\n[1]\n{}\nnull\n")
    store = LossStore(path, additive)
    assert (store.known, store(frozenset("a"))) == (1, 7.0)


def test_nodes_of_parts_are_one_set() -> None:
    ranking = rank([Block("x", ("a", "b")), Block("y", ("b", "c"))], EVERYTHING, COSTS, additive)
    assert nodes_of(ranking) == {"a", "b", "c"}
