"""What the speed gates see: their operating characteristic on simulated machines.

    python docs/evidence/measure_speed_gates.py [--trials 2000]

Block times are drawn from machines of known noise and judged by the rules themselves, looks,
re-measurement and the family of a run's gates included. The log of a block's time is the engine's,
plus an effect of the session (shared by all that one test times, drawn anew for every stored
session and every test), an effect of the block and the noise of its round, all normal. On some
machines a part of the session's effect is one engine's alone, as where its weights came to lie in
memory, and does not cancel in the ratio; on another a spell, of which nothing tells, slows twelve
quads in a row. A trial is one run of `pytest suites/`. The table between the markers in
docs/evidence/speed.md is written by this script.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import Pool
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
from facenet_validate.gates.verdicts import Verdict, worst

PAGE = Path(__file__).parent / "speed.md"
MARKERS = "<!-- simulated: begin -->", "<!-- simulated: end -->"
LIMIT = 1.03
SLOWER = math.log(1.05)
FP32 = math.log(2.0)
"""Log latency of FP32; the engine's is zero."""


@dataclass(frozen=True)
class Machine:
    """Standard deviations of the logs of block times: between sessions, blocks, rounds.

    Then that of a session's effect on one engine alone, and the chance that twelve quads fall into
    a spell in which everything takes 10 % longer.
    """

    name: str
    session: float
    block: float
    round: float
    apart: float = 0.0
    spells: float = 0.0

    def times(
        self, random: np.random.Generator, quads: int, slower: float = 0.0, other: float = FP32
    ) -> NDArray[np.float64]:
        """Draw one session's quads, seconds, shape (quads, 4), in the order A, B, B, A."""
        noise = math.hypot(self.block, self.round)
        logs = random.normal(0.0, self.session) + random.normal(0.0, noise, (quads, 4))
        own = slower + random.normal(0.0, self.apart)
        logs += [own, other, other, own]
        spells = random.random(quads // LOOKS[0]) < self.spells
        logs += math.log(1.1) * np.repeat(spells, LOOKS[0])[:, None]
        return np.exp(logs)


MACHINES = (
    Machine("quiet", 0.004, 0.003, 0.005),
    Machine("typical", 0.012, 0.008, 0.010),
    Machine("noisy", 0.05, 0.03, 0.04),
)
OTHERS = (
    Machine("quiet, spells in 5 % of measurements", 0.004, 0.003, 0.005, spells=0.05),
    Machine("typical, 0.6 % on one engine alone", 0.012, 0.008, 0.010, apart=0.006),
    Machine("noisy, 2 % on one engine alone", 0.05, 0.03, 0.04, apart=0.02),
)
"""What the first three leave out; judged too, without a goal of their own."""

Verdicts = dict[str, Verdict]
"""What was compared → verdict."""

Test = Callable[[Machine, np.random.Generator, float, float], tuple[Verdicts, int]]
"""Machine, random numbers, slow-down of the engine, α of a gate → verdicts, quads taken."""


def latency(quads: NDArray[np.float64]) -> float:
    """Return what a session stores: the median block of the engine."""
    return float(np.median(quads[:, [0, 3]]))


def relative_latency(quads: NDArray[np.float64]) -> float:
    """Return its latency in relation to FP32."""
    return 1.0 / paired_ratio(quads).ratio


def stored(sessions: int, *, fp32: bool = False) -> Test:
    """Judge by so many stored sessions; what does not pass is measured again, once.

    FP32 is timed alone and has no ratio.
    """
    quantities = {"latency": latency} if fp32 else {"latency": latency, "ratio": relative_latency}

    def test(
        machine: Machine, random: np.random.Generator, slower: float, alpha: float
    ) -> tuple[Verdicts, int]:
        past = [machine.times(random, LOOKS[0]) for _ in range(sessions)]
        quads = machine.times(random, 2 * LOOKS[0], slower)

        def judged(part: slice) -> Verdicts:
            return {
                name: judge_shift(of(quads[part]), [of(s) for s in past], LIMIT, alpha).verdict
                for name, of in quantities.items()
            }

        first = judged(slice(LOOKS[0]))
        if worst(first.values()) is Verdict.PASS:
            return first, LOOKS[0]
        both, second = judged(slice(None)), judged(slice(LOOKS[0], None))
        found = {
            name: Verdict.INCONCLUSIVE
            if verdict is Verdict.FAIL and second[name] is not Verdict.FAIL
            else verdict
            for name, verdict in both.items()
        }
        return found, 2 * LOOKS[0]

    return test


def against(
    machine: Machine, random: np.random.Generator, slower: float, alpha: float
) -> tuple[Verdicts, int]:
    """Judge beside another engine of the same speed, look by look."""
    quads = machine.times(random, LOOKS[-1], slower, other=0.0)
    for look in LOOKS:
        result = slow_down(paired_ratio(quads[:look], alpha), gate="", limit=LIMIT)
        if result.verdict is not Verdict.INCONCLUSIVE:
            break
    return {"against": result.verdict}, look


@dataclass(frozen=True)
class Family:
    """The timing tests of a run.

    Attributes
    ----------
    name : str
        What is run.
    engines : tuple of tuple of Test
        The tests of each engine and batch size; the first engine is slowed.
    gates : int
        What the error probability is shared among, gates that cannot fail here included.
    common : bool
        Whether it is simulated on every machine.
    """

    name: str
    engines: tuple[tuple[Test, ...], ...]
    gates: int
    common: bool = False


def families(sessions: int) -> tuple[Family, ...]:
    """Return the runs with so many stored sessions.

    On a CPU, INT8 has a floor on its speed beside FP32 as well. It is no question of a few percent,
    and takes its share of the error probability all the same.
    """
    by_both, fp32 = stored(sessions), stored(sessions, fp32=True)
    found = (
        Family("one engine on a GPU", ((by_both,),), 2),
        Family("`int8` on a CPU", ((by_both,),), 3),
        Family("`fp16,int8` on a CPU", 2 * ((by_both,),), 5, common=True),
        Family("`fp16,int8`, batch sizes 1, 8, 64 on a CPU", 6 * ((by_both,),), 15),
        Family("`fp32` on a CPU", ((fp32,),), 1),
        Family("`fp32,fp16,int8` on a CPU, FP32 slower", ((fp32,), (by_both,), (by_both,)), 6),
        Family("`fp16,int8 --facenet-against` on a CPU", 2 * ((by_both, against),), 7, common=True),
    )
    return tuple(replace(one, name=f"{one.name}, {sessions} stored sessions") for one in found)


FAMILIES = (
    *families(5),
    *families(20),
    Family("`int8 --facenet-against` on a CPU", ((against,),), 4),
    Family("`fp16,int8 --facenet-against`, batch sizes 1, 8, 64 on a CPU", 6 * ((against,),), 21),
)
"""The last two have nothing stored yet."""


def _line(task: tuple[Machine, int, int]) -> str:
    machine, number, trials = task
    return row(FAMILIES[number], machine, trials, number)


def row(family: Family, machine: Machine, trials: int, seed: int) -> str:
    """Simulate runs without a slow-down and runs with one, and return their line."""
    random = np.random.default_rng([20180408, seed])
    alpha = ALPHA / family.gates

    def run(slower: float) -> list[list[tuple[Verdicts, int]]]:
        return [
            [test(machine, random, slower if place == 0 else 0.0, alpha) for test in tests]
            for place, tests in enumerate(family.engines)
        ]

    def verdict(outcomes: list[tuple[Verdicts, int]]) -> Verdict:
        return worst(verdict for verdicts, _ in outcomes for verdict in verdicts.values())

    false = undecided = failed = inconclusive = 0
    by: Counter[str] = Counter()
    quads = []
    for _ in range(trials):
        unchanged = run(0.0)
        false += any(verdict(outcomes) is Verdict.FAIL for outcomes in unchanged)
        undecided += verdict(unchanged[0]) is Verdict.INCONCLUSIVE
        slowed = run(SLOWER)[0]
        failed += verdict(slowed) is Verdict.FAIL
        inconclusive += verdict(slowed) is Verdict.INCONCLUSIVE
        by.update({k: v is Verdict.FAIL for vs, _ in slowed for k, v in vs.items()})
        quads.append(sum(taken for _, taken in slowed))
    alone = ", ".join(f"{name} {count / trials:.1%}" for name, count in by.items())
    line = (
        f"| {machine.name} | {family.name} | {family.gates} | {false / trials:.2%} "
        f"| {failed / trials:.1%}{f' ({alone})' if len(by) > 1 else ''} "
        f"| {inconclusive / trials:.1%} | {undecided / trials:.1%} | {np.mean(quads):.0f} |"
    )
    return re.sub(r"(?<=\d)%", " %", line)


def main() -> None:
    """Simulate, print, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000, help="runs a line (default: 2000)")
    trials = parser.parse_args().trials
    tasks = [
        (machine, number, trials)
        for machine in (*MACHINES, *OTHERS)
        for number, family in enumerate(FAMILIES)
        if machine in MACHINES or family.common
    ]
    lines = [
        f"{trials:,} simulated runs a line in which nothing changed, and as many in which one "
        "engine is 5 % slower.",
        "",
        "| machine | run | gates that share 1 % | nothing changed: runs that fail "
        "| 5 % slower: the engine fails | it is inconclusive "
        "| nothing changed: it is inconclusive | quads where slower, mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with Pool() as processes:
        for line in processes.imap(_line, tasks):
            lines.append(line)
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(MARKERS[0])
    tail = rest.split(MARKERS[1])[1]
    table = "\n".join(lines)
    PAGE.write_text(f"{head}{MARKERS[0]}\n{table}\n{MARKERS[1]}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
