"""Cases of the small network: an engine of any graph, and one that computes another graph."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.diagnosis.case import Case
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.models.prepared import PreparedModel, load_onnx
from facenet_validate.models.quantization.int8 import calibrate, to_int8
from facenet_validate.models.quantization.recipes import int8_recipe
from tests.models.small_facenet import SIZE

FACES = 8


@functools.cache
def faces() -> NDArray[np.uint8]:
    """Drawn faces (8, 160, 160, 3)."""
    return np.stack([render_photo(person, 1) for person in range(FACES)])


@functools.cache
def calibration() -> NDArray[np.float32]:
    """Sixteen other drawn faces, standardized."""
    return standardize(np.stack([render_photo(p, 0) for p in range(20, 36)]), SIZE)


def graph_of(model: PreparedModel) -> onnx.ModelProto:
    """Return the prepared model's graph, of the test's own."""
    return load_onnx(model.entry.path)


def int8_of(graph: onnx.ModelProto, target: Target = "cpu") -> onnx.ModelProto:
    """Return the INT8 graph of a target's recipe, calibrated on drawn faces."""
    return to_int8(calibrate(graph, calibration(), equalized=True), int8_recipe(target))


def engine_of(path: Path, precision: Precision, target: Target = "cpu") -> OnnxRuntimeEngine:
    """Return an engine of a graph."""
    return OnnxRuntimeEngine(
        path,
        digest="0" * 64,
        precision=precision,
        artefact=path.name,
        device="here",
        threads=1,
        target=target,
    )


def case_of(
    folder: Path,
    model: PreparedModel,
    graph: onnx.ModelProto | bytes,
    precision: Precision,
    *,
    target: Target = "cpu",
    computes: onnx.ModelProto | None = None,
    cache: Cache | None = None,
) -> Case:
    """Return a case of an engine.

    Parameters
    ----------
    graph : onnx.ModelProto or bytes
        What it says to be made from.
    computes : onnx.ModelProto, optional
        What it computes in its place.
    """
    path = folder / "engine.onnx"
    path.write_bytes(graph if isinstance(graph, bytes) else graph.SerializeToString())
    run = path
    if computes is not None:
        run = folder / "computed.onnx"
        onnx.save(computes, run)
    return Case(
        engine_of(run, precision, target),
        engine_of(model.entry.path, "fp32"),
        model,
        faces(),
        tuple(f"face {place}" for place in range(FACES)),
        path,
        cache,
    )
