"""Runs steps one after another, each in a process of its own, within limits of time.

A step that hangs, crashes or fails ends alone. What it wrote stays, and the next step begins.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from gpu_session.session import Session, read_json, write_json

GRACE = 10.0
"""Seconds that a step has to write its reports once it is interrupted."""

ABORTING = 5.0
"""Seconds that it has to write where it hangs, once it is aborted."""

SHORTEST = 10.0
"""Seconds: with less of the budget left, no step begins."""


@dataclass(frozen=True)
class Step:
    """A part of a session.

    Attributes
    ----------
    name : str
        As ``--steps`` has it.
    title : str
        What it does, for people.
    seconds : float
        How long it may take.
    function : str
        ``module:function`` of this package; it is given the `Session`.
    rtx : bool
        Whether it needs TensorRT for RTX on this GPU.
    device : bool
        Whether it needs the GPU's machine: then its time is taken from the budget.
    asked_only : bool
        Whether it runs only where ``--steps`` names it.
    """

    name: str
    title: str
    seconds: float
    function: str
    rtx: bool = False
    device: bool = True
    asked_only: bool = False


@dataclass(frozen=True)
class Ended:
    """How a step ended.

    Attributes
    ----------
    step, status : str
        ``done``, ``failed``, ``crashed``, ``stopped at its limit`` or ``skipped``.
    why : str
        More about it; empty for a step that is done.
    seconds, limit : float
        How long it took, and how long it might.
    """

    step: str
    status: str
    why: str = ""
    seconds: float = 0.0
    limit: float = 0.0


Command = Callable[[Step], Sequence[str]]
"""Gives the command line that runs a step."""


def run_steps(
    steps: Sequence[Step],
    session: Session,
    command: Command,
    *,
    budget: float,
    environment: Mapping[str, str],
    grace: float = GRACE,
    say: Callable[[str], object] = lambda line: print(line, flush=True),  # noqa: T201
) -> list[Ended]:
    """Run steps, and write ``session.json`` after each.

    Parameters
    ----------
    budget : float
        Seconds for all steps on the device's machine.
    environment : mapping
        Of the steps' processes.
    grace : float
        Seconds from the interruption of a step to its end.
    say : callable
        Shows a line.
    """
    begin = time.monotonic()
    ended = []
    for step in steps:
        left = budget - (time.monotonic() - begin)
        one = _run(step, session, command, left, environment, grace)
        _keep(session.out / "session.json", one)
        ended.append(one)
        took = f" in {one.seconds:.1f} s" if one.seconds else ""
        told = session.results(step.name) or {}
        shown = "; ".join(part for part in (one.why, told.get("says", ""), _problems(told)) if part)
        say(f"{step.name}: {one.status}{took}" + (f": {shown}" if shown else ""))
    return ended


def _run(
    step: Step,
    session: Session,
    command: Command,
    left: float,
    environment: Mapping[str, str],
    grace: float,
) -> Ended:
    if step.device and left < SHORTEST:
        return Ended(step.name, "skipped", f"{max(left, 0):.0f} s of the budget are left")
    refusal = session.refusal() if step.rtx else ""
    if refusal:
        return Ended(step.name, "skipped", f"TensorRT for RTX cannot be used: {refusal}")
    limit = min(step.seconds, left) if step.device else step.seconds
    session.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with (session.out / f"{step.name}.log").open("wb") as log:
        code = _wait(command(step), log, limit, environment, grace)
    seconds = time.monotonic() - begin
    status, why = _status(code, session.out / f"{step.name}.log")
    return Ended(step.name, status, why, round(seconds, 1), round(limit, 1))


def _wait(
    command: Sequence[str],
    log: IO[bytes],
    limit: float,
    environment: Mapping[str, str],
    grace: float,
) -> int | None:
    """Return a command's exit code; None if it was ended at its limit."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=environment,
        # A group of its own, so that what it started ends with it.
        process_group=0,
    )
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(child, grace)


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    """End a command and all it started.

    Interrupted, pytest writes its reports. Aborted, Python writes where each thread is. A process
    that hangs inside a driver cannot even be killed: the session goes on without it.
    """
    for number, seconds in ((signal.SIGINT, grace), (signal.SIGABRT, ABORTING)):
        if child.poll() is None:
            os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(ABORTING)


def _status(code: int | None, log: Path) -> tuple[str, str]:
    if code is None:
        return "stopped at its limit", f"see {log}"
    if code < 0:
        return "crashed", f"{signal.Signals(-code).name}; see {log}"
    return ("failed", f"exit code {code}; see {log}") if code else ("done", "")


def _problems(told: Mapping[str, Any]) -> str:
    problems = told.get("problems", [])
    return f"not done ({len(problems)}): {' | '.join(problems)}" if problems else ""


def _keep(path: Path, ended: Ended) -> None:
    """Write how a step ended beside those of earlier calls."""
    steps = (read_json(path) or {"steps": {}})["steps"]
    write_json(
        path, {"python": sys.version.split()[0], "steps": steps | {ended.step: asdict(ended)}}
    )
