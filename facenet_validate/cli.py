"""``facenet-validate``: what is not a test run."""

from __future__ import annotations

import argparse
import shutil
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from facenet_validate.commands import COMMANDS
from facenet_validate.errors import FacenetValidateError, SettingsError

# What files, disks and numbers can do beyond what was thought of; anything else is a mistake of
# ours, whose traceback is wanted.
_UNFORESEEN = (OSError, ValueError, ArithmeticError, RuntimeError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 2 with one line on standard error; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="facenet-validate", description="Validate FaceNet engines: what is not a test run."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="copy the suites and gates.toml into a project")
    init.add_argument(
        "folder", type=Path, nargs="?", default=Path(), help="default: the current folder"
    )
    commands.add_parser("doctor", help="say what would run here and what is missing")
    table = {command.name: command for command in COMMANDS}
    for command in COMMANDS:
        command.arguments(commands.add_parser(command.name, help=command.help))
    parsed = parser.parse_args(arguments)
    try:
        if parsed.command == "init":
            _init(parsed.folder)
        elif parsed.command == "doctor":
            _doctor()
        else:
            table[parsed.command].run(parsed)
    except FacenetValidateError as error:
        print(f"facenet-validate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("facenet-validate: interrupted; what was measured is kept", file=sys.stderr)
        return 130
    except Exception as error:
        if parsed.command != "history":
            raise
        # Python would exit with 1, which says that a comparison found a regression.
        if not isinstance(error, _UNFORESEEN):
            traceback.print_exc()
        print(f"facenet-validate: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


def project_files() -> list[tuple[Path, Path]]:
    """Return what ``init`` copies: source files and their paths in a project.

    Raises
    ------
    SettingsError
        If the suites did not come with this installation.
    """
    package = Path(__file__).parent
    roots = [package / "_project", package.parent]
    for root in roots:
        suites = sorted((root / "suites").glob("*.py"))
        if suites and (root / "baselines" / "gates.toml").is_file():
            files = [*suites, root / "baselines" / "gates.toml"]
            return [(path, path.relative_to(root)) for path in files]
    raise SettingsError(f"no suites in {roots[0]} or {roots[1]}. Install the package again.")


def _init(folder: Path) -> None:
    files = [(source, folder / path) for source, path in project_files()]
    existing = [target for _, target in files if target.exists()]
    if existing:
        raise SettingsError(
            f"{existing[0]} exists; nothing was copied. Name another folder, or move it away."
        )
    for source, target in files:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        except OSError as error:
            raise SettingsError(f"{target}: cannot be written ({error.strerror}).") from None
        print(f"wrote {target}")
    print(f"next: cd {folder} && pytest suites/ --precision int8")


def _doctor() -> None:
    from facenet_validate.backends import BACKENDS, INSTALL, choose_backend, installed_version
    from facenet_validate.benchmarking.machine import cpu_identity
    from facenet_validate.engines.device.cuda import gpu, why_no_device
    from facenet_validate.models.pretrained import PRETRAINED, locate
    from facenet_validate.models.quantization.recipes import choose_target, int8_recipe

    for name in ("facenet-validate", "onnx", "numpy", "pytest-benchmark"):
        print(f"{name:18} {metadata.version(name)}")
    no_device = why_no_device()
    print(f"{'CUDA device':18} {no_device or 'usable'}")
    for backend in BACKENDS:
        version = installed_version(backend)
        text = version or f"not installed ({INSTALL[backend]})"
        if version and no_device and backend != "onnxruntime":
            text += ": its engines cannot be run here"
            if backend == "tensorrt-rtx":
                text += ", but can be built"
        print(f"{backend:18} {text}")
    cpu = cpu_identity()
    target, why = choose_target(cpu.flags)
    print(
        f"{'cpu':18} {cpu.name}, {cpu.cores} cores" + (f", quota {cpu.quota}" if cpu.quota else "")
    )
    print(f"{'INT8 target':18} {target}: {why}; {int8_recipe(target).why}")
    print(f"{'pretrained model':18} {locate(PRETRAINED)}")
    chosen = choose_backend("auto", "default", gpu())
    print(f"{'pytest suites/':18} would run {chosen.name}: {chosen.why}")
