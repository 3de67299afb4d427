"""Which layers explain added time: over recorded profiles, and over profiles written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from facenet_validate.benchmarking.slower_layers import (
    FEWEST_RUNS,
    MOST_NAMED,
    MOST_RUNS,
    TURNS,
    largest_layers,
    layer_times_in_turns,
    slower_layers,
)
from facenet_validate.engines.onnxruntime.profiling import layers_of_profile
from facenet_validate.engines.protocol import Engine, LayerTime, LayerTimes
from tests.models.small_facenet import small_facenet

RECORDED = Path(__file__).with_name("profiles")
"""``tests/engines/test_onnxruntime_profiling.py`` says how they were recorded."""


def recorded(name: str) -> LayerTimes:
    events = json.loads((RECORDED / f"{name}.json").read_text())
    return layers_of_profile(events, small_facenet().graph)


def times(**layers: float | tuple[float, ...]) -> LayerTimes:
    """Layers by name, in ms: each a convolution of the node of its name."""
    return LayerTimes(
        "by hand",
        tuple(
            LayerTime(name, "Conv", (name,), tuple(1e-3 * np.atleast_1d(ms)))
            for name, ms in layers.items()
        ),
    )


def test_a_recorded_layer_four_times_as_large_is_named_first() -> None:
    found = slower_layers(recorded("fp32-four-times"), recorded("fp32"))
    assert [layer.name for layer in found.named] == ["reduction/0"]
    assert found.text == (
        "slower layers: Conv reduction/0 +0.203 ms (0.07 → 0.273); it explains all of the added "
        "0.199 ms a batch"
    )
    assert found.values() == {
        "added_ms": pytest.approx(0.199),
        "explained": pytest.approx(0.203 / 0.199),
        "layers": [
            {
                "name": "reduction/0",
                "kind": "Conv",
                "ms": pytest.approx(0.273),
                "expected_ms": pytest.approx(0.07),
            }
        ],
    }


def test_recorded_int8_beside_half_the_time_of_fp32() -> None:
    """What INT8 adds by itself counts in full; a layer of FP32 allows half its time."""
    heading = "layers slower than FP32's time / 2"
    found = slower_layers(recorded("int8"), recorded("fp32"), allowed=0.5, heading=heading)
    told = {layer.name: layer for layer in found.named}
    assert next(iter(told)) == "stem/a"
    assert told["stem/a"].seconds == pytest.approx(0.638e-3)
    assert told["stem/a"].expected_seconds == pytest.approx(0.293e-3 / 2)
    assert told["Transpose"].expected_seconds == 0.0
    assert f"{heading}: Conv stem/a +0.491 ms (0.146 → 0.638), Transpose +0.107 ms" in found.text
    assert found.explained == pytest.approx(0.78, abs=0.01)


def test_an_engine_beside_itself_has_no_slower_layers() -> None:
    found = slower_layers(recorded("fp32"), recorded("fp32"))
    assert found.named == ()
    assert found.text.startswith("slower layers: none; timed one by one they add nothing")
    assert found.values() == {"untold": found.untold}


def test_the_largest_come_first_until_nine_tenths_are_explained() -> None:
    before = times(a=1.0, b=1.0, c=1.0, d=1.0, e=1.0)
    found = slower_layers(times(a=1.1, b=3.0, c=7.5, d=1.4, e=1.0), before)
    assert [layer.name for layer in found.named] == ["c", "b"]
    assert found.explained == pytest.approx(8.5 / 9.0)
    assert found.text == (
        "slower layers: Conv c +6.5 ms (1 → 7.5), Conv b +2 ms (1 → 3); these explain 94 % of the "
        "added 9 ms a batch"
    )


def test_at_most_five_are_named() -> None:
    names = "abcdefghij"
    found = slower_layers(times(**dict.fromkeys(names, 2.0)), times(**dict.fromkeys(names, 1.0)))
    assert len(found.named) == MOST_NAMED
    assert "these explain 50 % of the added 10 ms a batch" in found.text


def test_a_time_that_all_layers_share_is_no_layers() -> None:
    """4 % everywhere: none stands out."""
    found = slower_layers(times(a=1.04, b=2.08), times(a=1.0, b=2.0))
    assert found.text == ("slower layers: none stands out; the added time is in all of them alike")
    assert found.explained == 0.0


def test_what_disturbs_a_run_names_no_layer() -> None:
    """Most runs of ``a`` were disturbed, one was not."""
    found = slower_layers(
        times(a=(9.0, 1.0, 9.0, 9.0), b=(3.0, 8.0)), times(a=(1.0, 1.0, 7.0, 1.0), b=(1.0, 9.0))
    )
    assert [layer.name for layer in found.named] == ["b"]


def test_what_others_gained_is_told() -> None:
    found = slower_layers(times(a=3.0, b=1.0), times(a=1.0, b=2.0))
    assert found.text.endswith(
        "it explains all of the added 1 ms a batch; other layers became faster"
    )
    assert found.explained == pytest.approx(2.0)
    nothing = slower_layers(times(a=3.0, b=1.0), times(a=1.0, b=3.0))
    assert nothing.text == (
        "slower layers: Conv a +2 ms (1 → 3); other layers became faster by as much"
    )
    assert nothing.explained == 0.0


def test_layers_of_one_engine_alone_count_in_full() -> None:
    found = slower_layers(times(a=1.0, new=9.0), times(a=1.0, gone=0.5))
    assert found.text == (
        "slower layers: Conv new +9 ms (0 → 9); it explains all of the added 8.5 ms a batch"
    )


def layer(name: str, nodes: tuple[str, ...], ms: float) -> LayerTime:
    return LayerTime(name, "kgen", nodes, (1e-3 * ms,))


def test_layers_that_two_engines_divide_differently_are_one() -> None:
    """One fuses a with b and leaves c, the other b with c: the three are compared together."""
    now = LayerTimes("", (layer("a + b", ("a", "b"), 4.0), layer("c", ("c",), 1.0)))
    before = LayerTimes(
        "", (layer("a", ("a",), 0.5), layer("b + c", ("b", "c"), 1.0), layer("d", ("d",), 0.1))
    )
    found = slower_layers(now, before)
    (one,) = found.named
    assert one.name == "a + b"
    assert one.seconds == pytest.approx(5e-3)
    assert one.expected_seconds == pytest.approx(1.5e-3)


def test_an_engine_with_other_names_shows_its_largest_layers() -> None:
    found = slower_layers(times(conv_1=2.0, conv_2=3.0), times(a=1.0, b=1.0))
    assert found.text == (
        "the engine compared with has other names of its layers; this engine's largest, of 5 ms a "
        "batch: Conv conv_2 3 ms, Conv conv_1 2 ms"
    )
    assert found.values() == {"untold": "the engine compared with has other names of its layers"}


def test_a_backend_that_does_not_tell_names_nothing() -> None:
    untold = LayerTimes(untold="openvino does not tell")
    for now, before in ((untold, times(a=1.0)), (times(a=1.0), untold)):
        found = slower_layers(now, before)
        assert (found.text, found.values()) == ("", {"untold": "openvino does not tell"})
    assert largest_layers(untold) == ""


class Profiled:
    """An engine whose layers take so long; it notes who is profiled when."""

    def __init__(self, name: str, log: list[str], found: LayerTimes) -> None:
        self.name, self.log, self.found = name, log, found
        self.counts: list[int] = []

    def layer_times(self, batch: Any, count: int) -> LayerTimes:
        self.log.append(self.name)
        self.counts.append(count)
        return self.found


def turns(*engines: Profiled) -> tuple[tuple[LayerTimes, ...], list[tuple[int, int]]]:
    reported: list[tuple[int, int]] = []
    found = layer_times_in_turns(
        cast("list[Engine]", list(engines)),
        np.zeros((1, 3, 8, 8), np.float32),
        lambda done, total: reported.append((done, total)),
    )
    return found, reported


@pytest.mark.parametrize(
    ("ms", "later"), [(0.01, MOST_RUNS), (100.0, 10), (2500.0, FEWEST_RUNS)], ids=str
)
def test_engines_take_turns_that_last_about_a_second(ms: float, later: int) -> None:
    log: list[str] = []
    engines = Profiled("a", log, times(x=ms)), Profiled("b", log, times(x=ms / 2, y=ms / 2))
    found, reported = turns(*engines)
    assert "".join(log) == "abbaabba"
    assert reported == [(done, 2 * TURNS) for done in range(1, 2 * TURNS + 1)]
    assert [engine.counts for engine in engines] == [[FEWEST_RUNS, later, later, later]] * 2
    assert [len(one.layers) for one in found] == [1, 2]
    assert {len(layer.seconds) for one in found for layer in one.layers} == {TURNS}


def test_an_engine_that_does_not_tell_has_one_turn() -> None:
    log: list[str] = []
    untold = Profiled("b", log, LayerTimes(untold="no"))
    (_, found), _ = turns(Profiled("a", log, times(x=1.0)), untold)
    assert (found.untold, log) == ("no", ["a", "b"])


def test_a_layer_that_a_turn_lacks_is_kept() -> None:
    class Changing(Profiled):
        def layer_times(self, batch: Any, count: int) -> LayerTimes:
            first = not self.counts
            self.counts.append(count)
            return self.found if first else times(x=1.0)

    ((found,), _) = turns(Changing("a", [], times(x=1.0, reorder=0.1)))
    assert {layer.name: len(layer.seconds) for layer in found.layers} == {"x": TURNS, "reorder": 1}
