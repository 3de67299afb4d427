"""The rooms' order, held by import-linter: each contract of pyproject.toml is shown to be able to
fail, by an import that is planted in a copy of the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("importlinter", reason="import-linter is in the extra lint")

FOR_TYPING = """
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facenet_validate.run import settings
"""

# Contract, the files that are added or grow, and what is said of them.
PLANTED: dict[str, tuple[str, dict[str, str], str]] = {
    "an import upwards": (
        "rooms",
        {"base/digests.py": "\nfrom facenet_validate.gates import catalogue\n"},
        "facenet_validate.base.digests -> facenet_validate.gates.catalogue",
    ),
    "an import upwards for typing alone": (
        "rooms",
        {"metrics/roc.py": FOR_TYPING},
        "facenet_validate.metrics.roc -> facenet_validate.run.settings",
    ),
    "a room that has no place": ("rooms", {"utils.py": ""}, "- facenet_validate.utils"),
    "a circle inside a room": (
        "circles",
        {
            "gates/here.py": "from facenet_validate.gates import there\n",
            "gates/there.py": "from facenet_validate.gates import here\n",
        },
        "No cycles are allowed in facenet_validate.gates.",
    ),
    "a circle inside a room of a room": (
        "circles",
        {
            "engines/device/here.py": "from facenet_validate.engines.device import there\n",
            "engines/device/there.py": "from facenet_validate.engines.device import here\n",
        },
        "No cycles are allowed in facenet_validate.engines.device.",
    ),
    "a public name taken from the root": (
        "root",
        {"cache/here.py": "from facenet_validate import Verdict\n"},
        "facenet_validate.cache.here -> facenet_validate",
    ),
    "a backend's module outside engines": (
        "backends",
        {"run/here.py": "from facenet_validate.engines.tensorrt import plans\n"},
        "facenet_validate.run.here -> facenet_validate.engines.tensorrt.plans",
    ),
}  # fmt: skip


def _lint(folder: Path, *arguments: str) -> tuple[int, str]:
    """Return the exit code and the output of lint-imports on the package in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as main; main()",
    ]
    done = subprocess.run(
        [*command, "--no-cache", "--no-logo", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with the package's Python files and the contracts."""
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    shutil.copytree(
        REPOSITORY / "facenet_validate",
        tmp_path / "facenet_validate",
        ignore=lambda folder, names: {
            name
            for name in names
            if name == "__pycache__" or ("." in name and not name.endswith(".py"))
        },
    )
    return tmp_path


def test_the_package_keeps_every_contract() -> None:
    status, said = _lint(REPOSITORY)
    assert (status, "0 broken" in said) == (0, True), said


@pytest.mark.parametrize("case", PLANTED)
def test_what_breaks_a_contract_fails_it(package: Path, case: str) -> None:
    contract, planted, says = PLANTED[case]
    for name, source in planted.items():
        with (package / "facenet_validate" / name).open("a", encoding="utf-8") as file:
            file.write(source)
    status, said = _lint(package, "--contract", contract)
    assert status == 1
    assert says in said, said
