"""One of TensorRT's bindings, in a process of its own: our source and our calls, held against it.

Run as ``python -m tests.tensorrt_api.inside FOLDER MODULE BACKEND``; it prints JSON.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections import Counter, OrderedDict, deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import numpy as np

import facenet_validate
from facenet_validate.base.errors import EngineError
from facenet_validate.engines.tensorrt.library import Features, Library, describe_library
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.engines.tensorrt.monitor import Monitor, progress_monitor
from facenet_validate.engines.tensorrt.network import shape_of
from facenet_validate.engines.tensorrt.packages import PlanBackend
from facenet_validate.engines.tensorrt.start import start_builder, start_runtime
from tests.tensorrt_api.bindings import REASON
from tests.tensorrt_api.holding import Held
from tests.tensorrt_api.uses import hold
from tests.tensorrt_api.values import strings, unnamed

PACKAGE = Path(facenet_validate.__file__).parent
READ = PACKAGE / "engines" / "tensorrt"

PYTHONS_OWN = (str, list, dict, bytes, set, Path, np.ndarray, Counter, OrderedDict, deque)

NAMED = {
    ("log.py", "_SHOWN"): "ILogger.Severity",
    ("network.py", "_INDICES"): "DataType",
    ("validity.py", "_CAUSES"): "EngineInvalidityDiagnostics",
}
"""Constants of ours that name members, where nothing in the source compares them directly."""

FEATURES: dict[PlanBackend, Features] = {
    "tensorrt": Features(
        strong_typing_flag=True,
        timing_cache=True,
        compute_capabilities=False,
        tf32=True,
        engine_validity=False,
    ),
    "tensorrt-rtx": Features(
        strong_typing_flag=True,
        timing_cache=False,
        compute_capabilities=True,
        tf32=True,
        engine_validity=True,
    ),
}
"""What docs/explanation/tensorrt.md says of each."""


def own_names() -> frozenset[str]:
    """Return the attributes that objects of ours, and of Python's own, have."""
    names = {name for cls in PYTHONS_OWN for name in dir(cls)}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
                names.add(node.attr)
    return frozenset(names)


def held_source(module: Any) -> Held:
    """Hold the source of ``engines/tensorrt`` against a module."""
    sources = {path.name: path.read_text() for path in sorted(READ.glob("*.py"))}
    held = hold(module, sources, own_names())
    for (file, constant), path in NAMED.items():
        texts = strings(ast.parse(sources[file])).get(constant)
        if texts is None:
            held.problems.append(f"{file}: {constant} is gone: correct NAMED of {__name__}")
            continue
        held.problems += unnamed(module, path, texts, f"{file}: {constant}")
    return held


def answers(module: Any, backend: PlanBackend) -> list[str]:
    """Return what answers otherwise than our code expects, of what needs no driver."""
    library = describe_library(module, backend)
    found = []
    if library.features != FEATURES[backend]:
        found.append(f"features are {library.features}, expected {FEATURES[backend]}")
    found += [one for one in map(_refusal, (library,) * 2, ("builder", "runtime")) if one]
    with listening(library.logger) as messages:
        library.logger.log(module.ILogger.Severity.WARNING, "said")
    if messages.shown != ("warning: said",):
        found.append(f"the logger kept {messages.shown}, expected one warning")
    monitor = Monitor(None)
    theirs: Any = progress_monitor(module, monitor)  # the stubs want a parent of every phase
    theirs.phase_start("Building", None, 2)
    going = theirs.step_complete("Building", 0)
    monitor.cancel(KeyboardInterrupt())
    if not going or theirs.step_complete("Building", 1):
        found.append("the progress monitor does not stop a build when it is cancelled")
    dims = SimpleNamespace(shape=module.Dims((-1, 3, 160, 160)))
    if shape_of(cast("Any", dims)) != (-1, 3, 160, 160):
        found.append(f"Dims are {shape_of(cast('Any', dims))}")
    if 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED) not in (1, 2):
        found.append("STRONGLY_TYPED is no bit that networks are made with")
    return [f"asked: {one}" for one in found]


def _refusal(library: Library, what: str) -> str:
    """Have the stubs refuse a builder or runtime; return what is wrong with our error."""
    start: Any = {"builder": start_builder, "runtime": start_runtime}[what]
    try:
        start(library)
    except EngineError as error:
        told = f"cannot start a {what}: {REASON}."
        return "" if told in str(error) else f"expected {told!r} in {str(error)!r}"
    return f"a {what} was made of nothing"


def main(folder: str, name: str, backend: str) -> None:
    """Print what holds and what does not."""
    sys.path.insert(0, folder)
    # Real libraries that are installed beside would be loaded instead of the stubs.
    sys.modules |= dict.fromkeys(("tensorrt_libs", "tensorrt_rtx_libs"))  # type: ignore[arg-type]
    module = importlib.import_module(name)
    if not Path(str(module.__file__)).is_relative_to(folder):
        raise SystemExit(f"{name} was imported from {module.__file__}, not from {folder}")
    held = held_source(module)
    (known,) = [one for one in get_args(PlanBackend) if one == backend]
    told = {
        "version": module.__version__,
        "problems": held.problems + answers(module, known),
        "uses": sorted(held.uses),
        "probes": held.probes,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
