"""``python -m tests.tensorrt_api``: our source, held against TensorRT's real bindings.

It ends with 0 if everything holds, and if there is no compiler or no package index: then it says
so. It ends with 1 and a line for each use that one of the bindings does not have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.tensorrt_api.bindings import ALL, Bindings, NoIndexError, download, unpack, why_not_here

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Return the exit code."""
    reason = why_not_here()
    with TemporaryDirectory() as work:
        if not reason:
            try:
                download(Path(work))
            except NoIndexError as error:
                reason = f"the package index does not answer: {error}"
        if reason:
            _say(f"skipped, TensorRT's API is not checked: {reason}")
            return 0
        found = [_held(Path(work), bindings) for bindings in ALL]
    problems = [problem for one in found for problem in one["problems"]]
    problems += [f"no version has {probe}" for probe in sorted(_never(found))]
    for one in problems:
        _say(one)
    return int(bool(problems))


def _held(work: Path, bindings: Bindings) -> dict[str, Any]:
    """Hold our source against bindings in a process of its own; they end in none other."""
    package, stubs = unpack(work, bindings, work)
    paths = [str(stubs), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.tensorrt_api.inside"),
            *(str(package), bindings.module, bindings.backend),
        ],
        cwd=ROOT,
        env=os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    name = f"{bindings.distribution} {found['version']}"
    found["problems"] = [f"{name}: {problem}" for problem in found["problems"]]
    without = [probe for probe, there in found["probes"].items() if not there]
    _say(
        f"{name}: {len(found['uses'])} uses hold, {len(found['problems'])} do not; without "
        f"{', '.join(without) or 'nothing that is asked for'}"
    )
    return found


def _never(found: list[dict[str, Any]]) -> set[str]:
    """Return what the source asks for and none has: a name that is wrong, or of the past."""
    asked = {probe for one in found for probe in one["probes"]}
    return {probe for probe in asked if not any(one["probes"].get(probe) for one in found)}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
