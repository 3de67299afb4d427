"""What a GPU that is at hand for a quarter of an hour is asked, in order of worth.

    python docs/evidence/first_gpu_session.py --steps check --host LIST       # what to carry
    python docs/evidence/first_gpu_session.py --steps prepare --work WORK     # without a GPU
    python docs/evidence/first_gpu_session.py --work WORK --out OUT --site SITE

Each step runs in a process of its own within a limit of time, and writes OUT/<step>.json and
OUT/<step>.log. A step that hangs or crashes ends alone. Steps can be run apart: ``--steps a,b``;
OUT keeps what earlier calls wrote. docs/evidence/gpu.md says what each step does and needs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]

from gpu_session.missing import lacking, read_list  # noqa: E402
from gpu_session.runner import Step, run_steps  # noqa: E402
from gpu_session.session import Session  # noqa: E402

STEPS = (
    Step(
        "prepare", "model, graphs, faces, expected embeddings", 3600, "inputs:prepare_step",
        device=False, asked_only=True,
    ),
    Step("facts", "host, GPU and its side; does RTX accept it?", 90, "facts:run"),
    Step("tests", "tests/gpu", 120, "suites:gpu_tests", rtx=True),
    Step("batch-64", "every engine at batch 64", 180, "speed:batch_64", rtx=True),
    Step("suites", "the suites on drawn faces", 240, "suites:suites", rtx=True),
    Step("self-checks", "engines beside themselves", 150, "suites:self_checks", rtx=True),
    Step("batches", "batches of 1, 8 and 256", 180, "speed:other_batches", rtx=True),
    Step("static", "batch 64 with a static profile", 90, "speed:static", rtx=True),
    Step("others", "other backends at batch 64", 150, "speed:others"),
    Step("baselines", "five stored sessions", 300, "suites:baselines", rtx=True),
    Step("write", "the tables of docs/evidence/gpu.md", 60, "page:write", device=False),
)  # fmt: skip
"""In order of worth for a GPU at hand for 15 minutes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the steps that are asked for; return 0, or 1 if one of them did not end well."""
    asked = _parser().parse_args(arguments)
    if asked.child:
        step = next(step for step in STEPS if step.name == asked.child)
        call(step, Session(asked.work, asked.out, asked.page))
        return 0
    if asked.site is not None:
        sys.path.append(str(asked.site))
    missing = _check(read_list(asked.host) if asked.host else None)
    names = asked.steps or [step.name for step in STEPS if not step.asked_only]
    if names == ["check"]:
        return int(missing)
    if asked.work is None or asked.out is None:
        raise SystemExit("--work and --out are needed: folders of inputs and of results.")
    session = Session(asked.work.resolve(), asked.out.resolve(), asked.page.resolve())
    # What ends this process ends the step that runs, too.
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        ended = run_steps(
            [step for step in STEPS if step.name in names],
            session,
            lambda step: _command(step, session),
            budget=asked.budget,
            environment=_environment(asked.site),
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    return int(any(one.status not in ("done", "skipped") for one in ended))


def call(step: Step, session: Session) -> None:
    """Run a step in this process."""
    module, _, function = step.function.partition(":")
    getattr(import_module(f"gpu_session.{module}"), function)(session)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="steps: " + "; ".join(f"{step.name}, {step.title}" for step in STEPS),
    )
    parser.add_argument("--steps", type=_names, help="names apart by commas; or check")
    parser.add_argument("--work", type=Path, help="folder of what `prepare` makes")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--site", type=Path, help="folder with packages that the host lacks")
    parser.add_argument("--host", type=Path, help="list of what another host has, for check")
    parser.add_argument("--budget", type=float, default=840.0, help="seconds in all (840)")
    page = Path(__file__).with_name("gpu.md")
    parser.add_argument("--page", type=Path, default=page, help="page that `write` writes into")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser


def _names(text: str) -> list[str]:
    names = text.split(",")
    known = ["check", *(step.name for step in STEPS)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected {', '.join(known)}")
    return names


def _check(host: dict[str, str] | None) -> bool:
    """Say which packages are missing."""
    missing = lacking(host)
    for one in missing:
        print(f"missing: {one.text()}", flush=True)  # noqa: T201
    return bool(missing)


def _command(step: Step, session: Session) -> list[str]:
    folders = {"--work": session.work, "--out": session.out, "--page": session.page}
    return [
        *(sys.executable, __file__, "--child", step.name),
        *(str(part) for pair in folders.items() for part in pair),
    ]


def _environment(site: Path | None) -> dict[str, str]:
    """Return the environment of steps: the checkout first, what was carried last."""
    paths = [str(ROOT), *([str(site.resolve())] if site else []), os.environ.get("PYTHONPATH", "")]
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("FACENET_")},
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
    }


if __name__ == "__main__":
    # A shell's background job ignores SIGINT, and so would the steps, which are ended by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
