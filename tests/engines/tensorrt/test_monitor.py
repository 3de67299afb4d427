from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.engines.tensorrt.monitor import TOTAL, Monitor


def test_a_phase_within_a_step_takes_half_of_what_is_left_of_it() -> None:
    seen: list[int] = []
    monitor = Monitor(lambda done, total: seen.append(done))
    monitor.start("build", None, 2)
    monitor.step("build")
    for name in ("optimise", "time", "refit"):
        monitor.start(name, "build", 2)
        monitor.step(name)
        monitor.step(name)
        monitor.finish(name)
    monitor.step("build")
    monitor.finish("build")
    assert seen == [500, 625, 750, 812, 875, 906, 937, 1000]


Tree: st.SearchStrategy[list[object]] = st.recursive(
    st.just([]), lambda inner: st.lists(inner, max_size=4), max_leaves=12
)


def _run(monitor: Monitor, tree: list[object], name: str, parent: str | None) -> None:
    """Run a phase with a step for each inner phase, and one that it leaves out."""
    monitor.start(name, parent, len(tree) + 1)
    for index, inner in enumerate(tree):
        assert isinstance(inner, list)
        _run(monitor, inner, f"{name}.{index}", name)
        monitor.step(name)
    monitor.finish(name)


@given(Tree)
def test_the_count_only_grows_and_ends_complete(tree: list[object]) -> None:
    seen: list[int] = []
    monitor = Monitor(lambda done, total: seen.append(done))
    _run(monitor, tree, "root", None)
    assert seen == sorted(set(seen))
    assert seen[-1] == TOTAL
    assert all(done < TOTAL for done in seen[:-1])


def test_steps_of_unknown_phases_are_survived() -> None:
    monitor = Monitor(None)
    assert monitor.step("never begun")
    monitor.finish("never begun")


def test_the_first_cause_stops_the_build() -> None:
    monitor = Monitor(None)
    monitor.start("build", None, 3)
    first = ValueError("first")
    monitor.cancel(first)
    monitor.cancel(ValueError("second"))
    assert not monitor.step("build")
    with pytest.raises(ValueError, match="first") as error:
        monitor.raise_what_cancelled()
    assert error.value is first
