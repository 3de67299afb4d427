"""Run the tutorial's commands as written, and compare what they print with the page.

    python docs/tutorial/run.py [PAGE] [--work FOLDER]

Every ``sh`` block of the page is run by bash, in order, in an empty folder that has this checkout
as ``facenet_validate``. Variables and the current folder last from block to block. A block fails
at its first command that fails; ``<!-- exits with 1 -->`` above a block says that its last command
does so.

A ``text`` block below it has lines of the output: each must come, in this order. There a number
stands for any number, white space for any other, and ``…`` for anything.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).with_name("README.md")
REPOSITORY = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"(?:^<!-- exits with (?P<code>\d+) -->\n+)?^```(?P<kind>sh|text)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = r"(?<!\w)\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w)"
_LOOSE = re.compile(rf"(…|{_NUMBER}|\s+)")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_OURS = re.compile(
    r"FACENET_|PYTEST|PYTHON|GITHUB_|VIRTUAL_ENV|CI$|COLUMNS$|NO_COLOR$|FORCE_COLOR$"
)


class TutorialError(Exception):
    """A command of the tutorial failed, or its output is not that of the page."""


@dataclass(frozen=True)
class Step:
    """A block of commands, and what the page says of its output.

    Attributes
    ----------
    line : int
        Line of the page, from 1.
    commands : str
        What bash runs.
    exit_code : int
        Of the last command.
    expected : tuple of str
        Lines of the output, in order.
    """

    line: int
    commands: str
    exit_code: int = 0
    expected: tuple[str, ...] = ()


def steps(page: str) -> list[Step]:
    """Return the steps of a page.

    Raises
    ------
    TutorialError
        If a text block has no commands above it.
    """
    found: list[Step] = []
    for block in _BLOCK.finditer(page):
        line = page.count("\n", 0, block.start("kind")) + 1
        if block["kind"] == "sh":
            found.append(Step(line, block["body"], int(block["code"] or 0)))
        elif not found or found[-1].expected:
            raise TutorialError(f"line {line}: a text block without commands above it")
        else:
            last = found.pop()
            lines = tuple(text for text in block["body"].splitlines() if text.strip(" …"))
            found.append(Step(last.line, last.commands, last.exit_code, lines))
    return found


def first_missing(expected: Iterable[str], printed: str) -> str | None:
    """Return the first expected line that does not come behind those before it; None if all do."""
    lines = iter(_COLOUR.sub("", printed).splitlines())
    for one in expected:
        pattern = _pattern(one)
        if not any(pattern.fullmatch(line.strip()) for line in lines):
            return one
    return None


def _pattern(expected: str) -> re.Pattern[str]:
    def loose(piece: str) -> str:
        if piece == "…":
            return ".*"
        if piece.isspace():
            return r"\s+"
        return _NUMBER if re.fullmatch(_NUMBER, piece) else re.escape(piece)

    return re.compile("".join(map(loose, _LOOSE.split(expected.strip()))))


def environment(folder: Path) -> dict[str, str]:
    """Return a newcomer's environment: no setting of ours, and a cache that is empty."""
    kept = {name: text for name, text in os.environ.items() if not _OURS.match(name)}
    return {**kept, "FACENET_CACHE": str(folder / "cache")}


def run(step: Step, folder: Path, variables: Mapping[str, str]) -> str:
    """Run a step where the step before it ended; return what it printed.

    Parameters
    ----------
    step : Step
        Of the page.
    folder : Path
        Where the first step starts; holds the state between steps in ``.state``.
    variables : mapping
        Environment of the first step.

    Raises
    ------
    TutorialError
        If it ends with another exit code, or prints something else.
    """
    state = folder / ".state"
    script = (
        f'[ ! -f "{state}" ] || . "{state}"\n'
        f'trap \'{{ export -p; printf "cd %q\\n" "$PWD"; }} > "{state}"\' EXIT\n'
        f"set -e -o pipefail\n{step.commands}"
    )
    ended = subprocess.run(
        ["/bin/bash", "--noprofile", "--norc", "-c", script],
        cwd=folder,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode != step.exit_code:
        raise TutorialError(
            f"line {step.line}: ended with {ended.returncode}, expected {step.exit_code}:\n"
            f"{step.commands}\nIt printed:\n{ended.stdout}"
        )
    if (missing := first_missing(step.expected, ended.stdout)) is not None:
        raise TutorialError(
            f"line {step.line}: not printed, or not in this order:\n{missing}\n"
            f"It printed:\n{ended.stdout}"
        )
    return ended.stdout


def main(arguments: list[str] | None = None) -> int:
    """Run a page's steps; return 1 where one is not as the page says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path, nargs="?", default=PAGE)
    parser.add_argument("--work", type=Path, help="an empty folder; default: a temporary one")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.work or Path(temporary)).resolve()
        (folder / "facenet_validate").symlink_to(REPOSITORY)
        variables = environment(folder)
        begun = _clocks()
        try:
            for step in steps(given.page.read_text("utf-8")):
                started = _clocks()
                run(step, folder, variables)
                _say(f"{_took(started)}  line {step.line}: {step.commands.splitlines()[0]}")
        except TutorialError as error:
            _say(f"{given.page}: {error}")
            return 1
        _say(f"{_took(begun)}  in all")
    return 0


def _clocks() -> tuple[float, float]:
    """Return the time, and the processor time of the commands so far, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), used.ru_utime + used.ru_stime


def _took(started: tuple[float, float]) -> str:
    """Return the seconds since then: where a machine has other work, processors' tell more."""
    wall, processors = (now - then for now, then in zip(_clocks(), started, strict=True))
    return f"{wall:5.0f} s, {processors:5.0f} s of processors"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
