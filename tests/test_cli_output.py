"""What the commands say, where it cannot be said: every command, on every kind of output."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from facenet_validate.cache import Cache
from facenet_validate.cli import main
from tests.history.sessions import write_project
from tests.models.small_facenet import small_facenet
from tests.reporting.small_reports import gate, report, write

# Every command, with what makes it say something and end with 0.
COMMANDS: dict[str, list[str]] = {
    "init": ["init", "project"],
    "doctor": ["doctor"],
    "prepare": ["prepare", "é.onnx", "-o", "out.onnx"],
    "inspect": ["inspect", "é.onnx"],
    "quantize": ["quantize", "é.onnx", "--precision", "fp16", "-o", "out.onnx"],
    "cache list": ["cache", "list"],
    "cache explain": ["cache", "explain"],
    "cache verify": ["cache", "verify"],
    "cache prune": ["cache", "prune", "--dry-run"],
    "cache clear": ["cache", "clear", "plan", "--yes"],
    "gates propose": ["gates", "propose", "report-é"],
    "history list": ["history", "list"],
    "history show": ["history", "show", "latest"],
    "history compare": ["history", "compare", "epoch:1", "epoch:2"],
    "history plot": ["history", "plot", "-o", "é.png"],
    "history export": ["history", "export"],
    "--help": ["--help"],
    "quantize --help": ["quantize", "--help"],
    "history list --help": ["history", "list", "--help"],
}
# It needs the internet; a model and faces; a report; shards.
NOT_HERE = {"fetch lfw", "diagnose", "embed", "report", "verify"}

ENTRY = "import sys; from facenet_validate.cli import main; sys.exit(main())"


@pytest.fixture
def folder(tmp_path: Path, shared_cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, sessions and a cache, all with names beyond ASCII."""
    write_project(tmp_path)
    onnx.save(small_facenet(), tmp_path / "é.onnx")
    cache = Cache(tmp_path / "cache-é")
    cache.get_or_build("plan", {"gpu": "é"}, "engine.plan", lambda path: path.touch())
    write(tmp_path / "report-é", report(gate("parity.cosine_min", "pass", 0.99)))
    (tmp_path / "baselines").mkdir(exist_ok=True)
    (tmp_path / "baselines" / "gates.toml").write_text("schema = 1\n[gates]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACENET_CACHE", str(cache.root))
    return tmp_path


def test_every_command_is_tried() -> None:
    found: list[argparse.ArgumentParser] = []

    def parse(parser: argparse.ArgumentParser, *arguments: object) -> None:
        found.append(parser)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(SystemExit):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        main([])
    names = set()
    for action in found[0]._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser in action.choices.items():
                actions = [a for a in parser._actions if a.dest in ("action", "dataset")]
                inner = actions[0].choices if actions else None
                names |= {f"{name} {one}" for one in inner or ()} or {name}
    assert names == {name for name in COMMANDS if "--help" not in name} | NOT_HERE


class _Full:
    """A standard output whose disk is full, over the descriptor of a file that may be replaced."""

    encoding = "utf-8"

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self.taken = 0

    def write(self, text: str) -> int:
        self.taken += len(text)
        return len(text)

    def flush(self) -> None:
        if self.taken:
            raise OSError(28, "No space left on device")

    def fileno(self) -> int:
        return self._file.fileno()

    def isatty(self) -> bool:
        return False


class _Left(_Full):
    """One whose reader has left."""

    def flush(self) -> None:
        if self.taken:
            raise BrokenPipeError(32, "Broken pipe")


def _code(arguments: list[str]) -> int:
    """Return how a command ends in a process of its own."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_output_is_an_error(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", _Full(folder / "stdout"))
    assert _code(COMMANDS[name]) == 2
    said = capsys.readouterr().err
    assert "standard output cannot be written (No space left on device)" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_closed_output_is_an_error_before_anything_is_done(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(folder.iterdir())
    monkeypatch.setattr(sys, "stdout", None)
    assert _code(COMMANDS[name]) == 2
    assert capsys.readouterr().err == (
        "facenet-validate: standard output is closed; send it to /dev/null if it is not wanted.\n"
    )
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_who_left_is_no_error(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", _Left(folder / "stdout"))
    assert _code(COMMANDS[name]) == 0
    assert "Broken pipe" not in capsys.readouterr().err


@pytest.mark.parametrize("stream", [None, _Full])
@pytest.mark.parametrize("name", [*COMMANDS, "wrong"])
def test_errors_that_cannot_be_told_change_no_exit_code(
    folder: Path,
    name: str,
    stream: Callable[[Path], object] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", stream and stream(folder / "stderr"))
    wrong = ["inspect", "nowhere.onnx"]
    assert _code(COMMANDS.get(name, wrong)) == (2 if name == "wrong" else 0)


QUICK = ["inspect", "cache list", "init", "--help", "history export"]


@pytest.mark.parametrize("name", ["doctor", "quantize", *QUICK])
def test_text_is_written_in_any_encoding(folder: Path, name: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, *COMMANDS[name]],
        capture_output=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    done.stdout.decode("ascii")
    done.stderr.decode("ascii")
    assert done.stdout


def test_an_error_is_told_in_any_encoding(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, "inspect", "ü.onnx"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )
    assert done.returncode == 2
    (line,) = done.stderr.decode("ascii").splitlines()
    assert line.startswith("facenet-validate: ")


@pytest.mark.parametrize(
    ("redirection", "code"),
    [(">/dev/full", 2), (">&-", 2), ("2>&-", 0), ("2>/dev/full", 0), ("<&- 2>&-", 0)],
)
@pytest.mark.parametrize("name", QUICK)
def test_what_python_does_at_its_exit_changes_no_exit_code(
    folder: Path, name: str, redirection: str, code: int
) -> None:
    shell = ["sh", "-c", f'"$@" {redirection}', "sh", sys.executable, "-c", ENTRY, *COMMANDS[name]]
    done = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == (code == 2)


@pytest.mark.parametrize("name", QUICK)
def test_a_pipe_that_is_closed_changes_no_exit_code(folder: Path, name: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = subprocess.run(
            [sys.executable, "-c", ENTRY, *COMMANDS[name]],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error", "/some/file"),
        ValueError("odd"),
        OverflowError("too large"),
        MemoryError(),
        RecursionError("too deep"),
        KeyError("a mistake of ours"),
        AttributeError("a mistake of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize(
    "command", ["inspect", "prepare", "quantize", "cache list", "history list"]
)
def test_no_error_is_a_bare_traceback(
    folder: Path,
    command: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    module = command.split(maxsplit=1)[0]
    monkeypatch.setattr(f"facenet_validate.commands.{module}.run", fail)
    assert _code(COMMANDS[command]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith(f"facenet-validate: {type(error).__name__}: ")
    # Only a mistake of ours is worth its traceback.
    assert ("Traceback" in said) == isinstance(error, KeyError | AttributeError)
    if isinstance(error, OSError):
        assert "/some/file: Input/output error" in said
