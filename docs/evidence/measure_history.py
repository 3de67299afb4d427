"""How often change points are found: where there is none, and where the level moved by 5 %.

    python docs/evidence/measure_history.py [--trials 10000]

Simulated series of independent sessions, with a fixed seed. This script prints the table of
docs/evidence/history.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from facenet_validate.history.changes import level_changes

Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]

ALPHA = 0.01
STEP = float(np.log(1.05))
CORRELATION = 0.5


def normal(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return independent normal values of variance one."""
    return chance.normal(size=count)


def heavy_tailed(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return Student's t with three degrees of freedom, scaled to variance one."""
    return np.asarray(chance.standard_t(3, count) / np.sqrt(3.0), dtype=np.float64)


def correlated(chance: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return a first-order autoregression of variance one: days resemble the day before."""
    values = chance.normal(size=count)
    for place in range(1, count):
        new = np.sqrt(1.0 - CORRELATION**2) * values[place]
        values[place] = CORRELATION * values[place - 1] + new
    return values


NOISES: dict[str, Noise] = {
    "normal": normal,
    "t, 3 degrees of freedom": heavy_tailed,
    f"correlated, {CORRELATION:g}": correlated,
}


def shares(noise: Noise, sessions: int, spread: float, trials: int, seed: int) -> list[float]:
    """Return the share of series with a false alarm; with a step found; with it found in place.

    The step comes half way; in place is within one session of it.
    """
    chance = np.random.default_rng(seed)
    half = sessions // 2
    step = np.where(np.arange(sessions) < half, 0.0, STEP)
    alarms = found = placed = 0
    for _ in range(trials):
        alarms += bool(level_changes(spread * noise(chance, sessions), ALPHA))
        changes = level_changes(spread * noise(chance, sessions) + step, ALPHA)
        found += bool(changes)
        placed += any(abs(place - half) <= 1 for place in changes)
    return [count / trials for count in (alarms, found, placed)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    _row("noise", "sessions", "sd", "false alarms", "+5 % found", "within a session of its place")
    _row("---", *["---:"] * 5)
    for name, noise in NOISES.items():
        for sessions in (20, 200):
            for seed, spread in enumerate((0.004, 0.012, 0.05)):
                found = [
                    f"{100.0 * s:.2f} %" for s in shares(noise, sessions, spread, trials, seed)
                ]
                _row(name, str(sessions), f"{100.0 * spread:.1f} %", *found)


def _row(*cells: str) -> None:
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
