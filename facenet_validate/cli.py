"""``facenet-validate``: what is not a test run."""

from __future__ import annotations

import argparse
import shutil
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from facenet_validate.base.errors import FacenetValidateError, SettingsError
from facenet_validate.base.wording import refusal
from facenet_validate.commands import COMMANDS, output
from facenet_validate.commands.output import say, tell
from facenet_validate.commands.parsing import NamesPath, Parser, refuse_empty
from facenet_validate.gates.shipped import project_files, workflow_file

# What numbers, texts and memory can do beyond what was thought of; anything else is a mistake of
# ours, whose traceback is wanted.
_UNFORESEEN = (ValueError, ArithmeticError, RuntimeError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 with one line on standard error; 130 after Ctrl-C."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        # Before anything is said, be it help.
        output.prepare()
        refuse_empty(given)
        _run(_parser().parse_args(given))
    except FacenetValidateError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        tell("facenet-validate: interrupted; what was measured is kept\n")
        return 130
    except OSError as error:
        return _failed(f"{type(error).__name__}: {refusal(error)}")
    except _UNFORESEEN as error:
        return _failed(f"{type(error).__name__}: {error}")
    except Exception as error:
        # Python would exit with 1, which says that something was found.
        tell(traceback.format_exc())
        return _failed(f"{type(error).__name__}: {error}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="facenet-validate", description="Validate FaceNet engines: what is not a test run."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="copy the suites and gates.toml into a project")
    init.add_argument(
        "folder", action=NamesPath, nargs="?", default=Path(), help="default: the current folder"
    )
    init.add_argument(
        "--ci", choices=["github"], help="write a workflow too; suites that are there stay"
    )
    commands.add_parser("doctor", help="say what would run here and what is missing")
    for command in COMMANDS:
        command.arguments(commands.add_parser(command.name, help=command.help))
    return parser


def _run(parsed: argparse.Namespace) -> None:
    if parsed.command == "init":
        _init(parsed.folder, ci=parsed.ci is not None)
    elif parsed.command == "doctor":
        _doctor()
    else:
        next(command for command in COMMANDS if command.name == parsed.command).run(parsed)


def _failed(why: str) -> int:
    tell(f"facenet-validate: {why}\n")
    return 2


def _init(folder: Path, *, ci: bool) -> None:
    files = [(source, folder / path) for source, path in project_files()]
    kept = any(target.exists() for _, target in files) and ci
    files = [*([] if kept else files), *([_placed(folder)] if ci else [])]
    existing = [target for _, target in files if target.exists()]
    if existing:
        raise SettingsError(
            f"{existing[0]} exists; nothing was copied. Name another folder, or move it away."
        )
    said = []
    for source, target in files:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        except OSError as error:
            raise SettingsError(f"{target}: cannot be written ({error.strerror}).") from None
        said.append(f"wrote {target}\n")
    if kept:
        said.append("the suites and gates.toml that are there stay as they are\n")
    say("".join(said) + f"next: cd {folder} && pytest suites/ --precision int8\n")


def _placed(folder: Path) -> tuple[Path, Path]:
    source, path = workflow_file()
    return source, folder / path


def _doctor() -> None:
    from facenet_validate.base.machine import cpu_identity
    from facenet_validate.engines.backends import BACKENDS, choose_backend
    from facenet_validate.engines.device.driver import why_no_device
    from facenet_validate.engines.device.opening import find_bindings, why_no_bindings
    from facenet_validate.engines.device.probe import gpu
    from facenet_validate.models.pretrained import PRETRAINED, locate
    from facenet_validate.models.quantization.recipes import choose_target, int8_recipe

    for name in ("facenet-validate", "onnx", "numpy", "pytest-benchmark"):
        _fact(name, metadata.version(name))
    no_device = why_no_device()
    _fact("CUDA device", no_device or "usable")
    _fact("CUDA bindings", why_no_bindings() or find_bindings().text)
    for backend in BACKENDS:
        _fact(backend.name, backend.installation(no_device))
    cpu = cpu_identity()
    target, why = choose_target(cpu.flags)
    quota = f", quota {cpu.quota}" if cpu.quota else ""
    _fact("cpu", f"{cpu.name}, {cpu.cores} cores{quota}")
    _fact("INT8 target", f"{target}: {why}; {int8_recipe(target).why}")
    _fact("pretrained model", str(locate(PRETRAINED)))
    chosen = choose_backend("auto", "default", gpu())
    _fact("pytest suites/", f"would run {chosen.name}: {chosen.why}")


def _fact(subject: str, text: str) -> None:
    say(f"{subject:18} {text}\n")
