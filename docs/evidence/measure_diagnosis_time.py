"""What a diagnosis adds to a run: seconds, and what the failing test then says.

    python measure_diagnosis_time.py --work FOLDER [-o diagnosis-times.md]

Plants faults in the packaged model, runs parity and the contract on the ORL photos with
``--facenet-diagnose`` off, auto and full, and writes a table. The first run of an engine is not
counted: it fills the cache. Processor seconds are those of the run and its children; on a machine
that does something else they tell more than seconds on the clock. Works in FOLDER.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.models.prepared import load_onnx, prepare, source_model

MODES = ("off", "auto", "full")


@dataclass(frozen=True)
class Measured:
    """A run: seconds on the clock and of processors, and the cause that was told."""

    engine: str
    mode: str
    wall: float
    processors: float
    told: str


def plant(folder: Path, cache: Cache) -> dict[str, Path]:
    """Write engines: red and blue exchanged, and noise in the weights of the last layer."""
    source = prepare(source_model(None), cache, faces=proof_faces()).entry.path
    made = {}
    for name in ("red and blue exchanged", "noise in the bottleneck", "sound"):
        model = load_onnx(source)
        weights = {one.name: one for one in model.graph.initializer}
        if name.startswith("red"):
            first = next(node for node in model.graph.node if "input" in node.input)
            one = weights[first.input[1]]
            values = numpy_helper.to_array(one)[:, ::-1].copy()
            one.CopyFrom(numpy_helper.from_array(values, one.name))
        elif name.startswith("noise"):
            one = weights["bottleneck/weight"]
            values = numpy_helper.to_array(one)
            noise = np.random.default_rng(0).normal(scale=2 * values.std(), size=values.shape)
            noisy = (values + noise).astype(np.float32)
            one.CopyFrom(numpy_helper.from_array(noisy, one.name))
        made[name] = folder / f"{name.replace(' ', '-')}.onnx"
        onnx.save(model, made[name])
    return made


def measured(name: str, engine: Path, mode: str, folder: Path) -> Measured:
    """Run parity and the contract on an engine."""
    report = folder / f"report-{engine.stem}-{mode}"
    command = [
        *(sys.executable, "-m", "pytest", "suites/test_parity.py", "suites/test_contract.py", "-q"),
        *("-p", "no:cacheprovider", "--facenet-set", "orl", "--facenet-engine", str(engine)),
        *("--facenet-diagnose", mode, "--facenet-report", str(report)),
    ]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    ran = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    wall, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    (folder / f"{engine.stem}-{mode}.txt").write_text(ran.stdout + ran.stderr)
    document = json.loads((report / "results.json").read_text())
    told = [one["text"] for one in document["measurements"] if one["name"] == "diagnosis"]
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(name, mode, wall, seconds, "; ".join(told))


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("-o", dest="out", type=Path, default=Path("diagnosis-times.md"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    work = arguments.work.resolve()
    os.environ["FACENET_CACHE"] = str(work / "cache")
    rows = []
    for name, engine in plant(work, Cache(work / "cache")).items():
        measured(name, engine, "off", work)
        rows += [measured(name, engine, mode, work) for mode in MODES]
    head = "| engine | `--facenet-diagnose` | seconds | processor seconds | told |"
    lines = [head, "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {one.engine} | {one.mode} | {one.wall:.0f} | {one.processors:.0f} | {one.told} |"
        for one in rows
    ]
    arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
