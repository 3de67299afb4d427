"""What a run measured: each measurement becomes a block of figures and tables in its suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from facenet_validate.reporting.page.blocks import accuracy, replacement, robustness, speed
from facenet_validate.reporting.page.blocks.place import Place
from facenet_validate.reporting.page.blocks.plain import unknown
from facenet_validate.reporting.page.gates import run_of
from facenet_validate.reporting.page.model import Block
from facenet_validate.reporting.page.parts import Part

_OTHER_VALUES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Raised where a user's suite records other values than ours under a name of ours."""


def blocks(document: Part) -> tuple[tuple[tuple[str, Block], ...], tuple[Block, ...]]:
    """Return what was measured: by suite, and what belongs to no suite of ours.

    Parameters
    ----------
    document : Part
        The whole.
    """
    of_suites, other = [], []
    for place, measured in enumerate(document["measurements"]):
        name = measured["name"].text
        if name == "diagnosis":
            continue  # it stands beside the failures
        where = Place(document, measured, f"m{place}")
        if name in _MAKERS:
            suite, make = _MAKERS[name]
            try:
                block = make(where)
            except _OTHER_VALUES:
                block = unknown(where)
            if block is not None:
                of_suites.append((suite, replace(block, run=run_of(document, measured))))
        else:
            other.append(replace(unknown(where), run=run_of(document, measured)))
    return tuple(of_suites), tuple(other)


def _plain(title: str) -> Callable[[Place], Block]:
    def make(at: Place) -> Block:
        return unknown(at, f"{title}, {at.where}")

    return make


_MAKERS: Mapping[str, tuple[str, Callable[[Place], Block | None]]] = {
    "verification": ("accuracy", accuracy.verification),
    "paired comparison": ("accuracy", accuracy.paired),
    "stored templates": ("accuracy", replacement.templates),
    "groups": ("accuracy", replacement.groups),
    "all pairs": ("accuracy", accuracy.all_pairs),
    "row cosines": ("parity", accuracy.cosines),
    "pair distances": ("parity", accuracy.pair_distances),
    "operating point": ("operating", replacement.operating),
    "identification": ("identification", replacement.identification),
    "corruptions": ("robustness", robustness.corruptions),
    "speed": ("performance", speed.speed),
    "latency": ("performance", speed.latency),
    "slower layers": ("performance", speed.slower),
    "self-check": ("performance", _plain("Self-check")),
    "build": ("build", _plain("Build")),
    "loaded precision": ("contract", _plain("Loaded precision")),
    "half range": ("contract", _plain("Range of FP16")),
}
