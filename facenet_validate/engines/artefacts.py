"""Prepared model plus recipe → the graph an engine is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from facenet_validate.base.preprocessing import PREPROCESSING, standardize
from facenet_validate.base.progress import Report
from facenet_validate.base.versions import graph_tools, platform_text
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.cache import Cache, Entry
from facenet_validate.engines.embedding import Faces
from facenet_validate.models.prepared import PreparedModel, load_onnx
from facenet_validate.models.quantization.recipes import Around, Int8Recipe, int8_recipe


@dataclass(frozen=True)
class Artefact:
    """What an engine is loaded from.

    Attributes
    ----------
    path : Path
        What is loaded: an ONNX file, or a TensorRT plan.
    digest : str
        SHA-256 of its bytes.
    graph : Path
        The ONNX file it was made from; ``path`` itself where that is loaded.
    graph_digest : str
        SHA-256 of the graph.
    precision : str
        What it is typed in.
    recipe : str
        How it was made, for people.
    reason : str
        Why the cache hit or missed, or that it came from the user.
    supplied : bool
        Whether it was built elsewhere.
    """

    path: Path
    digest: str
    graph: Path
    graph_digest: str
    precision: Precision
    recipe: str
    reason: str
    supplied: bool = False


def build_artefact(
    precision: Precision,
    model: PreparedModel,
    target: Target,
    calibration: Callable[[], Faces],
    cache: Cache,
    *,
    around: Around | None = None,
    progress: Report | None = None,
) -> Artefact:
    """Build an engine artefact of the prepared model, or take it from the cache.

    Parameters
    ----------
    calibration : callable
        Returns the calibration faces; called for INT8 only.
    around : str or None
        Floating point around INT8; None for the target's own.
    """
    if precision == "fp32":
        return _graph(model.entry, "fp32", "the prepared model")
    if precision == "fp16":
        return _fp16(model, cache)
    return _int8(model, int8_recipe(target, around), calibration(), cache, progress)


def _fp16(model: PreparedModel, cache: Cache) -> Artefact:
    from facenet_validate.models.quantization.precision import FP16_VERSION

    inputs = {
        "model": model.entry.digest,
        "recipe": {"precision": "fp16", "version": FP16_VERSION},
        "converter": graph_tools(),
        "platform": platform_text(),
    }

    def build(path: Path) -> None:
        path.write_bytes(fp16_graph(load_onnx(model.entry.path)))

    entry = cache.get_or_build("fp16", inputs, "model.onnx", build)
    return _graph(entry, "fp16", "typed FP16; bottleneck, batch norm and L2 norm in FP32")


def fp16_graph(model: onnx.ModelProto) -> bytes:
    """Return the bytes of the typed FP16 graph; the same model gives the same bytes."""
    from facenet_validate.models.quantization.precision import to_fp16

    data: bytes = to_fp16(model).SerializeToString(deterministic=True)
    return data


def _graph(entry: Entry, precision: Precision, recipe: str) -> Artefact:
    path, digest = entry.path, entry.digest
    return Artefact(path, digest, path, digest, precision, recipe, entry.reason)


def _int8(
    model: PreparedModel,
    recipe: Int8Recipe,
    faces: Faces,
    cache: Cache,
    progress: Report | None,
) -> Artefact:
    from facenet_validate.models.quantization.int8 import calibrate, to_int8

    count = len(faces.names)
    inputs = {
        "model": model.entry.digest,
        "recipe": {"precision": "int8", **recipe.inputs()},
        "calibration": faces.digest,
        "preprocessing": PREPROCESSING,
        "quantizer": graph_tools(),
        "platform": platform_text(),
    }

    def build(path: Path) -> None:
        calibrated = calibrate(
            load_onnx(model.entry.path),
            standardize(faces.load(np.arange(count)), model.image_size),
            equalized=recipe.equalized,
            progress=progress,
        )
        path.write_bytes(to_int8(calibrated, recipe).SerializeToString(deterministic=True))

    entry = cache.get_or_build("int8", inputs, "model.onnx", build)
    return _graph(entry, "int8", recipe.text(count))
