"""Which layers explain the time that one engine takes more than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from facenet_validate.base.progress import Report, silent
from facenet_validate.engines.protocol import Engine, LayerTime, LayerTimes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TURNS = 4
"""How often each engine is loaded anew and its layers are timed: loads of one file differ."""

TURN_SECONDS = 1.0
"""How long a turn runs, about."""

FEWEST_RUNS, MOST_RUNS = 3, 25

ENOUGH = 0.9
"""Share of the added time beyond which no further layer is named."""

MOST_NAMED = 5

STANDS_OUT = 1.05
"""A layer that is named takes longer than is expected of it, by this factor at least …"""

LEAST_SHARE = 0.05
"""… and adds at least this share of the added time."""

_MATCHED = 0.5
"""Share of the other engine's time in layers that both have, below which names do not match."""

_ALIKE = "none stands out; the added time is in all of them alike"
_NOT_LONGER = (
    "none; timed one by one they add nothing, so the added time is between them, or is gone"
)


@dataclass(frozen=True)
class SlowerLayer:
    """A layer, or several that the two engines divide in different ways.

    Attributes
    ----------
    name, kind : str
        Of the largest one.
    seconds : float
        A batch, in its fastest run.
    expected_seconds : float
        What the other engine's layer allows; zero where that engine has none.
    """

    name: str
    kind: str
    seconds: float
    expected_seconds: float

    @property
    def added_seconds(self) -> float:
        """Time beyond what is expected."""
        return self.seconds - self.expected_seconds


@dataclass(frozen=True)
class SlowerLayers:
    """The layers that explain the added time, as far as they can be told.

    Attributes
    ----------
    named : tuple of SlowerLayer
        The largest additions first, until they explain 90 % of the added time, five at most.
    added_seconds : float
        Of all layers together, a batch.
    text : str
        In words; empty where the backend does not tell how long layers take.
    untold : str
        Why no layers are named; empty if there are some.
    """

    named: tuple[SlowerLayer, ...] = ()
    added_seconds: float = 0.0
    text: str = ""
    untold: str = ""

    @property
    def explained(self) -> float:
        """Share of the added time in the layers that are named; above 1 where others gained.

        Zero where all layers together add nothing.
        """
        named = sum(layer.added_seconds for layer in self.named)
        return named / self.added_seconds if self.added_seconds > 0.0 else 0.0

    def values(self) -> dict[str, Any]:
        """Return what reports hold, in milliseconds."""
        if self.untold:
            return {"untold": self.untold}
        return {
            "added_ms": 1e3 * self.added_seconds,
            "explained": self.explained,
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "ms": 1e3 * layer.seconds,
                    "expected_ms": 1e3 * layer.expected_seconds,
                }
                for layer in self.named
            ],
        }


def slower_layers(
    now: LayerTimes,
    before: LayerTimes,
    *,
    allowed: float = 1.0,
    heading: str = "slower layers",
) -> SlowerLayers:
    """Name the layers that explain why an engine takes longer than another allows.

    Times are those of the fastest runs, because what disturbs a run only adds time. Layers that
    share an ONNX node are matched, several on either side where they are divided in different
    ways; the others are matched by name. A layer that only one engine has counts in full.

    Parameters
    ----------
    now, before : LayerTimes
        Of the engine that is too slow, and of the engine it is compared with.
    allowed : float
        How long a layer may take in relation to the other engine's: 1 where both should be
        equally fast, 1 / 1.5 where the engine has to be 1.5 times as fast.
    heading : str
        What the text begins with.
    """
    if reason := now.untold or before.untold:
        return SlowerLayers(untold=reason)
    groups = _matched(now.layers, before.layers)
    both = sum(_fastest(group.before) for group in groups if group.now)
    if both < _MATCHED * before.fastest:
        reason = "the engine compared with has other names of its layers"
        return SlowerLayers(text=f"{reason}; {largest_layers(now)}", untold=reason)
    layers = [group.layer(allowed) for group in groups]
    added = now.fastest - allowed * before.fastest
    # Where others gained as much, nothing is added; what stands out is told all the same.
    gross = sum(max(layer.added_seconds, 0.0) for layer in layers)
    named = _named(layers, added if added > 0.0 else gross)
    if not named:
        reason = _ALIKE if added > 0.0 else _NOT_LONGER
        return SlowerLayers((), added, f"{heading}: {reason}", reason)
    found = SlowerLayers(named, added)
    return SlowerLayers(named, added, f"{heading}: {_in_words(found)}")


def _named(layers: Sequence[SlowerLayer], added: float) -> tuple[SlowerLayer, ...]:
    """Return the layers that stand out, the largest first, as far as they are needed."""
    named: list[SlowerLayer] = []
    for layer in sorted(layers, key=lambda one: one.added_seconds, reverse=True):
        explained = sum(one.added_seconds for one in named)
        if explained >= ENOUGH * added or len(named) == MOST_NAMED:
            break
        stands_out = layer.seconds >= STANDS_OUT * layer.expected_seconds
        if stands_out and layer.added_seconds >= LEAST_SHARE * added:
            named.append(layer)
    return tuple(named)


def largest_layers(times: LayerTimes) -> str:
    """Return the layers of an engine that take longest, in words; empty where it does not tell."""
    if times.untold:
        return ""
    layers = sorted(times.layers, key=lambda layer: layer.fastest, reverse=True)
    largest = ", ".join(
        f"{_called(layer)} {_ms(layer.fastest)} ms" for layer in layers[:MOST_NAMED]
    )
    return f"this engine's largest, of {_ms(times.fastest)} ms a batch: {largest}"


def layer_times_in_turns(
    engines: Sequence[Engine], batch: NDArray[np.float32], report: Report = silent
) -> tuple[LayerTimes, ...]:
    """Time the layers of engines in turns, A B B A …, so that a drift of the machine meets all.

    The first turn shows how many runs the others have: as many as a second takes, 3 to 25.

    Parameters
    ----------
    batch : ndarray of shape (N, 3, H, W)
        float32.
    report : callable
        Called with (turns of an engine that were taken, all).

    Returns
    -------
    tuple of LayerTimes
        Of each engine, with the runs of all its turns.

    Raises
    ------
    EngineError
        If a run fails.
    """
    found: list[list[LayerTimes]] = [[] for _ in engines]
    runs = [FEWEST_RUNS] * len(engines)
    for turn in range(TURNS):
        places = range(len(engines)) if turn % 2 == 0 else reversed(range(len(engines)))
        for place in places:
            times = engines[place].layer_times(batch, runs[place])
            found[place].append(times)
            fitting = int(TURN_SECONDS / max(times.fastest, 1e-9))
            runs[place] = min(max(fitting, FEWEST_RUNS), MOST_RUNS)
            report(sum(map(len, found)), TURNS * len(engines))
        if any(turns[0].untold for turns in found):
            break
    return tuple(map(_together, found))


def _together(turns: Sequence[LayerTimes]) -> LayerTimes:
    """Return the runs of all turns; of a layer that one of them lacks, those of the others."""
    layers: dict[str, LayerTime] = {}
    for layer in (layer for turn in turns for layer in turn.layers):
        known = layers.get(layer.name)
        seconds = layer.seconds if known is None else (*known.seconds, *layer.seconds)
        layers[layer.name] = LayerTime(layer.name, layer.kind, layer.nodes, seconds)
    return LayerTimes(turns[0].source, tuple(layers.values()), turns[0].untold)


@dataclass
class _Group:
    """Layers of both engines that compute the same nodes."""

    keys: set[str]
    now: list[LayerTime] = field(default_factory=list)
    before: list[LayerTime] = field(default_factory=list)

    def layer(self, allowed: float) -> SlowerLayer:
        """Return the group as one layer."""
        largest = max(self.now or self.before, key=lambda layer: layer.fastest)
        expected = allowed * _fastest(self.before)
        return SlowerLayer(largest.name, largest.kind, _fastest(self.now), expected)


def _matched(now: Sequence[LayerTime], before: Sequence[LayerTime]) -> list[_Group]:
    """Return groups of layers; those that share a node are in one."""
    groups: list[_Group] = []
    for side, layers in (("now", now), ("before", before)):
        for layer in layers:
            group = _Group({*layer.nodes} or {layer.name})
            getattr(group, side).append(layer)
            for known in [one for one in groups if one.keys & group.keys]:
                groups.remove(known)
                group = _Group(
                    known.keys | group.keys, known.now + group.now, known.before + group.before
                )
            groups.append(group)
    return groups


def _fastest(layers: Sequence[LayerTime]) -> float:
    return sum(layer.fastest for layer in layers)


def _in_words(found: SlowerLayers) -> str:
    named = ", ".join(
        f"{_called(layer)} +{_ms(layer.added_seconds)} ms "
        f"({_ms(layer.expected_seconds)} → {_ms(layer.seconds)})"
        for layer in found.named
    )
    if found.added_seconds <= 0.0:
        return f"{named}; other layers became faster by as much"
    these = "these explain" if len(found.named) > 1 else "it explains"
    added = f"the added {_ms(found.added_seconds)} ms a batch"
    if found.explained < 1.0:
        return f"{named}; {these} {100 * found.explained:.0f} % of {added}"
    gained = "; other layers became faster" if found.explained > 1.0 / ENOUGH else ""
    return f"{named}; {these} all of {added}{gained}"


def _called(layer: LayerTime | SlowerLayer) -> str:
    return layer.name if layer.name == layer.kind else f"{layer.kind} {layer.name}"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"
