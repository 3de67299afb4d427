"""What the speed gates see on this machine: an engine beside itself, and one that was slowed.

    python docs/evidence/measure_speed_here.py --work FOLDER [--runs 10] [--slower 6]

Runs `pytest suites/test_performance.py` with INT8 at batch 8: once with ``--facenet-self-check``,
then so many times with ``--facenet-against``, the engine under test slowed by planted_delay.py and
compared with a copy of its file. This script writes the tables between the markers in
docs/evidence/speed.md. Leave the machine alone meanwhile; or do not, and see what the gates say.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from time import perf_counter
from typing import Any

import onnx

from facenet_validate.base.machine import cpu_identity

HERE = Path(__file__).parent
PAGE = HERE / "speed.md"
MARKERS = "<!-- here: begin -->", "<!-- here: end -->"
BATCH = 8


@dataclass(frozen=True)
class Run:
    """A run of the suite.

    Attributes
    ----------
    document : dict
        Its results.json.
    seconds : float
        How long the whole command took.
    exit_code : int
        pytest's.
    """

    document: dict[str, Any]
    seconds: float
    exit_code: int

    def gate(self, name: str) -> dict[str, Any]:
        """Return a gate's result."""
        found: dict[str, Any] = next(g for g in self.document["gates"] if g["gate"] == name)
        return found

    def measured(self, name: str) -> dict[str, Any]:
        """Return a measurement."""
        found: dict[str, Any] = next(m for m in self.document["measurements"] if m["name"] == name)
        return found


def suite(work: Path, *options: str, **environment: str) -> Run:
    """Run the performance suite."""
    report = work / "report"
    shutil.rmtree(report, ignore_errors=True)
    begin = perf_counter()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "suites/test_performance.py", "-q"),
            *(f"--facenet-batch-size={BATCH}", f"--facenet-report={report}", *options),
        ],
        cwd=HERE.parents[1],
        env={**os.environ, "FACENET_CACHE": str(work / "cache"), "PYTHONPATH": str(HERE)}
        | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = perf_counter() - begin
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout)
    return Run(json.loads((report / "results.json").read_text()), seconds, done.returncode)


def self_checks(work: Path, comparisons: int) -> tuple[list[str], dict[str, Any]]:
    """Compare the INT8 engine with itself; return the table and what the engine is."""
    run = suite(work, "--precision=int8", f"--facenet-self-check={comparisons}")
    found = run.measured("self-check")
    medians = [100.0 * (ratio - 1.0) for ratio in found["latency_ratios"]]
    lines = [
        f"| false failures of {comparisons} | their rate, 95 % bound | inconclusive | medians "
        "| quads, mean | the whole run |",
        "|---|---|---|---|---|---|",
        f"| {found['false_failures']} | {100 * found['false_failure_bound']:.1f} % "
        f"| {found['inconclusive']} | {min(medians):+.2f} to {max(medians):+.2f} % "
        f"| {mean(found['quads']):.0f} | {run.seconds:.0f} s |",
    ]
    return lines, run.document["engines"]["int8"]


def slowed(work: Path, engine: dict[str, Any], runs: int, percent: float) -> list[str]:
    """Compare a slowed engine with a copy of it, so many times."""
    copy = work / "as-it-was.onnx"
    model = onnx.load(engine["path"])
    model.doc_string = "the same engine under another digest"
    onnx.save(model, copy)
    lines = [
        f"| run, {percent:g} % slower | verdict | median | lower bound | quads | exit code | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for number in range(1, runs + 1):
        run = suite(
            work,
            "-p",
            "planted_delay",
            f"--facenet-engine={engine['path']}",
            f"--facenet-against={copy}",
            PLANTED_DELAY=f"{engine['sha256']}={percent / 100}",
        )
        gate = run.gate("performance.against")
        speeds = [m for m in run.document["measurements"] if m.get("beside") == "against"]
        lines.append(
            f"| {number} | {gate['verdict']} | {100 * (gate['observed'] - 1):+.1f} % "
            f"| {100 * (gate['interval'][0] - 1):+.1f} % | {speeds[0]['quads']} "
            f"| {run.exit_code} | {run.seconds:.0f} |"
        )
        sys.stdout.write(f"{lines[-1]}\n")
        sys.stdout.flush()
    return lines


def main() -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--self-checks", type=int, default=30)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--slower", type=float, default=6.0, help="per cent")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    suite(asked.work, "--precision=int8", "-k", "fp32")  # what is built once is built
    cpu = cpu_identity()
    checks, engine = self_checks(asked.work, asked.self_checks)
    sys.stdout.write("\n".join(checks) + "\n")
    sys.stdout.flush()
    tables = [
        f"INT8, batch {BATCH}, on {cpu.cores} cores of {cpu.name} ({cpu.details()}):",
        "",
        *checks,
        "",
        *slowed(asked.work, engine, asked.runs, asked.slower),
    ]
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(MARKERS[0])
    tail = rest.split(MARKERS[1])[1]
    table = "\n".join(tables)
    PAGE.write_text(f"{head}{MARKERS[0]}\n{table}\n{MARKERS[1]}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
