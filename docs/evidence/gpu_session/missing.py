"""The step `check`: which packages a host lacks, so that they can be carried to it.

It needs neither a GPU nor any package, and can be run on another machine with a list of what the
host has.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[3]

FURTHER = ("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings", "hypothesis", "nvidia-ml-py")
"""What a session needs beside the package's own dependencies: for RTX, the tests, and NVML."""

SIDES = ("cuda-bindings", "pycuda")
"""Of which one is needed."""

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
_AT_LEAST = re.compile(r">= ?([0-9.]+)")
_ELSEWHERE = ("extra", "win32", "Windows", "emscripten", "darwin", "python_version <")
"""What a marker says of a requirement that a session on Linux does not have."""


@dataclass(frozen=True)
class Lack:
    """A package that a host lacks.

    Attributes
    ----------
    name : str
        Of the distribution.
    needed_by : str
        Who needs it.
    found : str
        The host's version, where it has one that is too old.
    version : str
        The one installed where this runs; empty where it is not installed.
    pure : bool
        Whether that one is plain Python, whose files run on any host.
    megabytes : float
        Its files, as installed here.
    """

    name: str
    needed_by: str
    found: str = ""
    version: str = ""
    pure: bool = False
    megabytes: float = 0.0

    def text(self) -> str:
        """Return it as a line."""
        parts = [f"needed by {self.needed_by}"]
        if self.found:
            parts.append(f"the host has {self.found}, which is too old")
        if self.version:
            kind = "pure Python" if self.pure else "compiled: carry the host's wheel"
            parts.append(f"here {self.version}, {self.megabytes:.1f} MB, {kind}")
        return f"{self.name}: {'; '.join(parts)}"


def lacking(host: Mapping[str, str] | None = None) -> list[Lack]:
    """Return what a host lacks of what a session needs, and what that needs in turn.

    Parameters
    ----------
    host : mapping, optional
        Names of its distributions → versions, which may be empty; by default those found here.
    """
    there = installed() if host is None else {plain(name): host[name] for name in host}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    queue = [(name, least, "facenet-validate") for name, least in _needs(project["dependencies"])]
    queue += [(name, "", "a session") for name in FURTHER]
    if not any(side in there for side in SIDES):
        queue.append((SIDES[0], "", "the GPU's side"))
    found: dict[str, Lack] = {}
    while queue:
        name, least, by = queue.pop(0)
        # What a host has, it has with what that needs.
        if name in found or (name in there and not _older(there[name], least)):
            continue
        found[name] = _lack(name, by, there.get(name, ""))
        queue += [(needed, oldest, name) for needed, oldest in _needs(_requires(name))]
    return list(found.values())


def installed() -> dict[str, str]:
    """Return the distributions on ``sys.path``, by their plain names."""
    return {plain(one.name): one.version for one in metadata.distributions() if one.name}


def read_list(path: Path) -> dict[str, str]:
    """Read a list of distributions: ``pip list``, ``pip freeze``, or names apart by commas."""
    found = {}
    for part in re.split(r"[\n,]", path.read_text()):
        name = _NAME.match(part.strip())
        if name:
            found[plain(name[0])] = part.strip()[name.end() :].strip(" =.")
    return found


def plain(name: str) -> str:
    """Return a distribution's name as they are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _needs(requirements: Iterable[str]) -> list[tuple[str, str]]:
    """Return the names of requirements on Linux without an extra, and their oldest versions."""
    needs = []
    for requirement in requirements:
        wanted, _, marker = requirement.partition(";")
        name, least = _NAME.match(wanted), _AT_LEAST.search(wanted)
        if name and not any(word in marker for word in _ELSEWHERE):
            needs.append((plain(name[0]), least[1] if least else ""))
    return needs


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []


def _older(version: str, least: str) -> bool:
    """Say whether a version is older than another; False where one of them is not told."""
    numbers = [[int(part) for part in re.findall(r"\d+", text)] for text in (version, least)]
    return all(numbers) and numbers[0] < numbers[1]


def _lack(name: str, by: str, found: str) -> Lack:
    try:
        here = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return Lack(name, by, found)
    size = sum(file.size or 0 for file in here.files or ()) / 1e6
    return Lack(name, by, found, here.version, "-none-any" in (here.read_text("WHEEL") or ""), size)
