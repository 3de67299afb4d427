"""Prepared model plus recipe → the graph an engine is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from facenet_validate.base.errors import ModelError
from facenet_validate.base.preprocessing import PREPROCESSING, standardize
from facenet_validate.base.versions import graph_tools, platform_text
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.cache import Cache, Entry
from facenet_validate.engines.embedding import Faces
from facenet_validate.models.passes import has_equal_names
from facenet_validate.models.prepared import PreparedModel, check_contract, load_onnx
from facenet_validate.models.quantization.recipes import Int8Recipe, int8_recipe
from facenet_validate.models.sizes import ModelSizes
from facenet_validate.models.sources import onnx_digest

Progress = Callable[[int, int], None]


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
    given : bool
        Whether it was built elsewhere.
    """

    path: Path
    digest: str
    graph: Path
    graph_digest: str
    precision: Precision
    recipe: str
    reason: str
    given: bool = False


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
        return _graph(model.entry, "fp32", "the prepared model")
    if precision == "fp16":
        return _fp16(model, cache)
    return _int8(model, int8_recipe(target), calibration(), cache, progress)


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
    progress: Progress | None,
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


def given_artefact(path: Path, precision: Precision, model: PreparedModel) -> Artefact:
    """Take an ONNX engine that was built elsewhere, after checking its contract.

    Raises
    ------
    ModelError
        If its input or output is not the contract's, or its embeddings have another size than
        those of the model it is compared with.
    """
    from facenet_validate.models.exported.graph_view import own_inputs

    graph = load_onnx(path)
    size = check_contract(graph, str(path))
    side = own_inputs(graph.graph)[0].type.tensor_type.shape.dim[2].dim_value
    check_fits(path, side, size, model.sizes)
    digest = onnx_digest(path)
    recipe = "built elsewhere"
    if has_equal_names(graph):
        recipe += "; nodes of equal names, which no runtime loads, got names of their own"
    return Artefact(path, digest, path, digest, precision, recipe, "given by the user", given=True)


def check_fits(path: Path, side: int, size: int, model: ModelSizes) -> None:
    """Check that an engine reads and gives what the model it is compared with does.

    Raises
    ------
    ModelError
        If the faces or embeddings have another size.
    """
    if side != model.image_size:
        raise ModelError(
            f"engine {path}: reads faces of {side} pixels, but {model.name}, which it is "
            f"compared with, reads {model.image_size}. Name its own FP32 model with "
            "--facenet-model."
        )
    if size != model.embedding_size:
        raise ModelError(
            f"engine {path}: embeddings of {size} values, but {model.name}, which it is "
            f"compared with, gives {model.embedding_size}. A different training? Name its own "
            "FP32 model with --facenet-model."
        )
