"""How many healthy engines pass limits that `gates propose` makes of others.

    python docs/evidence/measure_margins.py

Reads the engines of docs/evidence/recipes.md: three targets, each calibrated in 7 or 8 ways.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from facenet_validate.gates.catalogue import row
from facenet_validate.gates.margins import propose

GATES = (
    "parity.cosine_min",
    "parity.cosine_p1",
    "parity.cosine_mean",
    "accuracy.acc",
    "accuracy.auc",
)
COUNTS = (1, 2, 3, 5, 6)
RECIPES = Path(__file__).with_name("recipes.md")
_ROW = re.compile(
    r"\| `(cpu|cpu-vnni|tensorrt)` \| [^|]+ \| [^|]+ \| ([\d.]+) / ([\d.]+) / ([\d.]+) \| ([\d.]+) "
    r"\| ([\d.]+) \|"
)


def engines() -> dict[str, list[Sequence[float]]]:
    """Return target → the values of its engines, in the order of `GATES`."""
    found: dict[str, list[Sequence[float]]] = {}
    for line in RECIPES.read_text(encoding="utf-8").splitlines():
        match = _ROW.match(line)
        if match:
            found.setdefault(match[1], []).append([float(one) for one in match.groups()[1:]])
    return found


def passing(of: Mapping[str, Sequence[Sequence[float]]], gate: int, count: int) -> str:
    """Return how many engines pass the limits made of `count` others of their target."""
    held = tried = 0
    for measured in of.values():
        values = [one[gate] for one in measured]
        for chosen in combinations(range(len(values)), count):
            limit = propose(row(GATES[gate]), [values[one] for one in chosen]).limit
            others = [value for place, value in enumerate(values) if place not in chosen]
            held += sum(limit is None or value >= limit for value in others)
            tried += len(others)
    return f"{100 * held / tried:.0f} %"


def table(of: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Return the shares of engines that pass, by gate and by how many engines made the limit."""
    lines = [
        "| gate | " + " | ".join(f"{count}" for count in COUNTS) + " |",
        "| --- |" + " --- |" * len(COUNTS),
    ]
    for place, name in enumerate(GATES):
        cells = [passing(of, place, count) for count in COUNTS]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(engines()))  # noqa: T201
