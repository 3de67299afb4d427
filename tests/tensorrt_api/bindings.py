"""The real bindings: from the package index, importable over stubs of the libraries they need."""

from __future__ import annotations

import ctypes
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from facenet_validate.engines.tensorrt.packages import PlanBackend

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
"""Versions, and the digests of their wheels."""

PYTHONS = ((3, 11), (3, 12), (3, 13))

REASON = "CUDA initialization failure with error: 35"
"""What the stubs warn of when a builder or runtime is asked of them, as with an old driver."""

_TOOLS = ("cc", "readelf", "nm")
_STUBBED = re.compile(r"nvinfer|nvonnxparser|tensorrt")
_REFUSING = ("createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL")


@dataclass(frozen=True)
class Bindings:
    """A wheel to hold our source against.

    Attributes
    ----------
    distribution : str
        Its name on the package index.
    module : str
        What it is imported as.
    backend : str
        Whose library it stands for.
    log_slot : int
        Where ``ILogger::log`` stands among the virtual functions. It is the first in 10. In 11 and
        RTX, two functions and two destructors of ``IVersionedInterface`` come before it.
    """

    distribution: str
    module: str
    backend: PlanBackend
    log_slot: int


ALL = (
    Bindings("tensorrt-cu13-bindings", "tensorrt_bindings", "tensorrt", 0),
    Bindings("tensorrt-cu12-bindings", "tensorrt_bindings", "tensorrt", 4),
    Bindings("tensorrt-rtx-cu13-bindings", "tensorrt_rtx_bindings", "tensorrt-rtx", 4),
)


class NoIndexError(Exception):
    """The package index does not answer."""


def why_not_here() -> str:
    """Return why the bindings cannot be made importable here; empty string if they can."""
    machine = f"{platform.system()} {platform.machine()}"
    if machine != "Linux x86_64" or sys.version_info[:2] not in PYTHONS:
        return (
            f"the wheels are pinned for Linux x86_64 and Python 3.11 to 3.13, this is {machine}, "
            f"Python {platform.python_version()}"
        )
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    return f"{', '.join(missing)} not installed: install a C compiler" if missing else ""


def download(folder: Path) -> None:
    """Download the wheels, and check them against their digests.

    Raises
    ------
    NoIndexError
        If the index does not answer.
    RuntimeError
        If a wheel has another digest.
    """
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--timeout=30"]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    done = subprocess.run(
        [*pip, "download", *options, "-r", str(REQUIREMENTS), "-d", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        if "hash" in done.stderr.lower():
            raise RuntimeError(f"{REQUIREMENTS.name}: {done.stderr.strip()}")
        told = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NoIndexError((told or ["pip gave no reason"])[-1].removeprefix("ERROR: "))


def unpack(wheels: Path, bindings: Bindings, folder: Path) -> tuple[Path, Path]:
    """Unpack a wheel, and compile stubs of what it needs; return the folders of both."""
    (wheel,) = wheels.glob(f"{bindings.distribution.replace('-', '_')}-*.whl")
    package, stubs = folder / bindings.distribution, folder / f"{bindings.distribution}-stubs"
    stubs.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(package)
    (binary,) = (package / bindings.module).glob("*.so")
    source = stubs / "stub.c"
    source.write_text(_stub(_undefined(binary), bindings.log_slot))
    first, *others = [stubs / name for name in _needed(binary)]
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(first), str(source)], check=True)
    for other in others:
        shutil.copy(first, other)
    return package, stubs


def _needed(binary: Path) -> list[str]:
    """Return TensorRT's libraries among those that a shared object needs."""
    told = _told("readelf", "-d", str(binary))
    return [name for name in re.findall(r"\(NEEDED\).*\[(.*)\]", told) if _STUBBED.search(name)]


def _undefined(binary: Path) -> list[str]:
    """Return symbols that a shared object wants from others and that this process has not."""
    told = _told("nm", "-D", "--undefined-only", str(binary))
    # A symbol with a version is that of a system library; a weak one may be absent.
    wanted = re.findall(r"^ *U ([^@\s]+)$", told, re.MULTILINE)
    here = ctypes.CDLL(None)
    return [name for name in wanted if not hasattr(here, name)]


def _stub(symbols: list[str], log_slot: int) -> str:
    lines = ["typedef void (*Log)(void *, int, const char *);"]
    for name in symbols:
        log = f'(*(Log **)logger)[{log_slot}](logger, 2, "{REASON}"); '
        body = log if name in _REFUSING else ""
        lines.append(f"void *{name}(void *logger) {{ {body}return 0; }}")
    return "\n".join(lines) + "\n"


def _told(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
