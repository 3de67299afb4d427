"""What the speed gates see: their operating characteristic on simulated machines.

    python docs/measure_speed_gates.py [--trials 2000]

Block times are drawn from machines of known noise and judged by the rules themselves, looks,
re-measurement and the family of a run's gates included. The log of a block's time is the engine's,
plus an effect of the session (shared by all that one test times, drawn anew for every stored
session and every test), an effect of the block and the noise of its round, all normal. A trial is
one run of `pytest suites/`. The table between the markers in docs/speed.md is written by this
script.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facenet_validate.benchmarking.paired_ratio import (
    ALPHA,
    LOOKS,
    paired_ratio,
    slow_down,
)
from facenet_validate.benchmarking.shift import judge_shift
from facenet_validate.verdicts import Verdict, worst

PAGE = Path(__file__).parent / "speed.md"
MARKERS = "<!-- simulated: begin -->", "<!-- simulated: end -->"
LIMIT = 1.03
SLOWER = math.log(1.05)
FP32 = math.log(2.0)
"""Log latency of FP32; the engine's is zero."""


@dataclass(frozen=True)
class Machine:
    """Standard deviations of the logs of block times: between sessions, blocks, rounds."""

    name: str
    session: float
    block: float
    round: float

    def times(
        self, random: np.random.Generator, quads: int, slower: float = 0.0, other: float = FP32
    ) -> NDArray[np.float64]:
        """Draw one session's quads, seconds, shape (quads, 4), in the order A, B, B, A."""
        noise = math.hypot(self.block, self.round)
        logs = random.normal(0.0, self.session) + random.normal(0.0, noise, (quads, 4))
        logs += [slower, other, other, slower]
        return np.exp(logs)


MACHINES = (
    Machine("quiet", 0.004, 0.003, 0.005),
    Machine("typical", 0.012, 0.008, 0.010),
    Machine("noisy", 0.05, 0.03, 0.04),
)


@dataclass(frozen=True)
class Outcome:
    """What one test's gates said, and the quads it took."""

    verdicts: tuple[Verdict, ...]
    quads: int

    @property
    def worst(self) -> Verdict:
        """The test's verdict."""
        return worst(self.verdicts)


Test = Callable[[Machine, np.random.Generator, float, float], Outcome]
"""Machine, random numbers, slow-down of the engine, α of a gate → outcome."""


def latency(quads: NDArray[np.float64]) -> float:
    """Return what a session stores: the median block of the engine."""
    return float(np.median(quads[:, [0, 3]]))


def relative_latency(quads: NDArray[np.float64]) -> float:
    """Return its latency in relation to FP32."""
    return 1.0 / paired_ratio(quads).ratio


def stored(sessions: int) -> Test:
    """Judge by so many stored sessions; what does not pass is measured again, once."""

    def test(machine: Machine, random: np.random.Generator, slower: float, alpha: float) -> Outcome:
        past = [machine.times(random, LOOKS[0]) for _ in range(sessions)]
        quads = machine.times(random, 2 * LOOKS[0], slower)

        def judged(taken: int) -> tuple[Verdict, ...]:
            return tuple(
                judge_shift(of(quads[:taken]), [of(each) for each in past], LIMIT, alpha).verdict
                for of in (latency, relative_latency)
            )

        first = judged(LOOKS[0])
        if worst(first) is Verdict.PASS:
            return Outcome(first, LOOKS[0])
        return Outcome(judged(2 * LOOKS[0]), 2 * LOOKS[0])

    return test


def against(machine: Machine, random: np.random.Generator, slower: float, alpha: float) -> Outcome:
    """Judge beside another engine of the same speed, look by look."""
    quads = machine.times(random, LOOKS[-1], slower, other=0.0)
    for look in LOOKS:
        result = slow_down(paired_ratio(quads[:look], alpha), gate="", limit=LIMIT)
        if result.verdict is not Verdict.INCONCLUSIVE:
            break
    return Outcome((result.verdict,), look)


@dataclass(frozen=True)
class Family:
    """The timing tests of a run.

    Attributes
    ----------
    name : str
        What is run.
    test : Test
        What each test does.
    tests : int
        How many there are; the engine of the first is slowed.
    gates : int
        What the error probability is shared among, gates that cannot fail here included.
    """

    name: str
    test: Test
    tests: int
    gates: int


# On a CPU, INT8 has a floor on its speed beside FP32 as well. It is no question of a few percent,
# and takes its share of the error probability all the same.
FAMILIES = (
    *(
        Family(f"{name}, {sessions} stored sessions", stored(sessions), tests, gates)
        for sessions in (5, 20)
        for name, tests, gates in (
            ("one engine on a GPU", 1, 2),
            ("`--precision int8` on a CPU", 1, 3),
            ("`fp16,int8` on a CPU", 2, 5),
            ("`fp16,int8`, batch sizes 1, 8, 64 on a CPU", 6, 15),
        )
    ),
    Family("`--facenet-against`, `int8` on a CPU", against, 1, 4),
    Family("`--facenet-against`, `fp16,int8`, batch sizes 1, 8, 64 on a CPU", against, 6, 21),
)


def row(family: Family, machine: Machine, trials: int, seed: int) -> str:
    """Simulate runs without a slow-down and runs with one, and return their line."""
    random = np.random.default_rng([20180408, seed])
    alpha = ALPHA / family.gates

    def run(slower: float) -> list[Outcome]:
        return [
            family.test(machine, random, slower if place == 0 else 0.0, alpha)
            for place in range(family.tests)
        ]

    def share(found: list[Outcome], verdict: Verdict) -> float:
        return sum(outcome.worst is verdict for outcome in found) / trials

    unchanged = [run(0.0) for _ in range(trials)]
    slowed = [run(SLOWER)[0] for _ in range(trials)]
    false = sum(any(o.worst is Verdict.FAIL for o in outcomes) for outcomes in unchanged)
    by_latency = sum(outcome.verdicts[0] is Verdict.FAIL for outcome in slowed) / trials
    by_ratio = sum(outcome.verdicts[-1] is Verdict.FAIL for outcome in slowed) / trials
    alone = "" if family.test is against else f" ({by_latency:.1%}, {by_ratio:.1%})"
    undecided = share([outcomes[0] for outcomes in unchanged], Verdict.INCONCLUSIVE)
    taken = np.mean([outcome.quads for outcome in slowed])
    return (
        f"| {machine.name} | {family.name} | {family.gates} | {false / trials:.2%} "
        f"| {share(slowed, Verdict.FAIL):.1%}{alone} | {share(slowed, Verdict.INCONCLUSIVE):.1%} "
        f"| {undecided:.1%} | {taken:.0f} |"
    ).replace("%", " %")


def main() -> None:
    """Simulate, print, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000, help="runs a line (default: 2000)")
    trials = parser.parse_args().trials
    lines = [
        f"{trials:,} simulated runs a line in which nothing changed, and as many in which one "
        "engine is 5 % slower.",
        "",
        "| machine | run | gates that share 1 % | nothing changed: runs that fail "
        "| 5 % slower: the test fails (by latency, by latency / FP32's) | inconclusive "
        "| nothing changed: a test is inconclusive | quads where slower, mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for machine in MACHINES:
        for number, family in enumerate(FAMILIES):
            lines.append(row(family, machine, trials, number))
            sys.stdout.write(lines[-1] + "\n")
            sys.stdout.flush()
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(MARKERS[0])
    tail = rest.split(MARKERS[1])[1]
    table = "\n".join(lines)
    PAGE.write_text(f"{head}{MARKERS[0]}\n{table}\n{MARKERS[1]}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
