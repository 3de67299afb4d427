"""Prepared model plus recipe → engine artefact → engine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from facenet_validate.cache import Cache
from facenet_validate.datasets.images import PREPROCESSING, standardize
from facenet_validate.engines.embedding import Faces
from facenet_validate.engines.onnxruntime import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine
from facenet_validate.errors import ModelError
from facenet_validate.models.network import int8_share
from facenet_validate.models.prepared import PreparedModel, check_contract, load_onnx
from facenet_validate.models.quantization.recipes import Int8Recipe, Precision, Target, int8_recipe
from facenet_validate.models.sources import model_digest

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Artefact:
    """What an engine is loaded from.

    Attributes
    ----------
    path : Path
        ONNX file.
    digest : str
        SHA-256 of its bytes.
    precision : str
        What it is typed in.
    recipe : str
        How it was made, for people.
    reason : str
        Why the cache hit or missed, or that it came from the user.
    """

    path: Path
    digest: str
    precision: Precision
    recipe: str
    reason: str


def build_artefact(
    precision: Precision,
    model: PreparedModel,
    target: Target,
    calibration: Callable[[], Faces],
    cache: Cache,
    *,
    progress: Progress | None = None,
) -> Artefact:
    """Build an engine artefact of the prepared model, or take it from the cache.

    Parameters
    ----------
    calibration : callable
        Returns the calibration faces; called for INT8 only.
    """
    if precision == "fp32":
        entry = model.entry
        return Artefact(entry.path, entry.digest, "fp32", "the prepared model", entry.reason)
    if precision == "fp16":
        return _fp16(model, cache)
    return _int8(model, int8_recipe(target), calibration(), cache, progress)


def _fp16(model: PreparedModel, cache: Cache) -> Artefact:
    from facenet_validate.models.quantization.precision import FP16_VERSION, to_fp16

    inputs = {
        "model": model.entry.digest,
        "recipe": {"precision": "fp16", "version": FP16_VERSION},
        "converter": _versions(),
    }

    def build(path: Path) -> None:
        converted = to_fp16(load_onnx(model.entry.path))
        path.write_bytes(converted.SerializeToString(deterministic=True))

    entry = cache.get_or_build("fp16", inputs, "model.onnx", build)
    recipe = "typed FP16; bottleneck, batch norm and L2 norm in FP32"
    return Artefact(entry.path, entry.digest, "fp16", recipe, entry.reason)


def _versions() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name in ("onnx", "onnxruntime"))


def _int8(
    model: PreparedModel,
    recipe: Int8Recipe,
    faces: Faces,
    cache: Cache,
    progress: Progress | None,
) -> Artefact:
    from facenet_validate.models.quantization.int8 import calibrate, to_int8

    count = len(faces.names)
    inputs = {
        "model": model.entry.digest,
        "recipe": {"precision": "int8", **recipe.inputs()},
        "calibration": faces.digest,
        "preprocessing": PREPROCESSING,
        "quantizer": _versions(),
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
    return Artefact(entry.path, entry.digest, "int8", recipe.text(count), entry.reason)


def given_artefact(path: Path, precision: Precision, model: PreparedModel) -> Artefact:
    """Take an ONNX engine that was built elsewhere, after checking its contract.

    Raises
    ------
    ModelError
        If its input or output is not the contract's, or its embeddings have another size than
        those of the model it is compared with.
    """
    graph = load_onnx(path)
    size = check_contract(graph, str(path))
    side = graph.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    if side != model.image_size:
        raise ModelError(
            f"engine {path}: reads faces of {side} pixels, but {model.source.name}, which it is "
            f"compared with, reads {model.image_size}. Name its own FP32 model with "
            "--facenet-model."
        )
    if size != model.embedding_size:
        raise ModelError(
            f"engine {path}: embeddings of {size} values, but {model.source.name}, which it is "
            f"compared with, gives {model.embedding_size}. A different training? Name its own "
            "FP32 model with --facenet-model."
        )
    return Artefact(path, model_digest(path), precision, "built elsewhere", "given by the user")


def load_engine(artefact: Artefact, *, device: str, threads: int, target: Target) -> Engine:
    """Load an artefact on ONNX Runtime's CPU provider; one for TensorRT is emulated."""
    share = None
    if artefact.precision == "int8":
        # A runtime's own operators hide the sizes behind them; the gate then is not evaluated.
        with suppress(ModelError):
            share = int8_share(load_onnx(artefact.path))
    return OnnxRuntimeEngine(
        artefact.path,
        digest=artefact.digest,
        precision=artefact.precision,
        artefact=artefact.path.name if artefact.recipe == "built elsewhere" else artefact.recipe,
        device=device,
        threads=threads,
        target=target,
        int8_share=share,
    )
