"""Source model → prepared model: canonical ONNX, proven to be the source, kept in the cache."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.digests import file_digest, short
from facenet_validate.base.errors import ModelError
from facenet_validate.base.versions import (
    distribution_version,
    graph_tools,
    onnxruntime_version,
    platform_text,
)
from facenet_validate.cache import Cache, Entry
from facenet_validate.models.contract import check_contract, image_size
from facenet_validate.models.exported.anatomy import Anatomy
from facenet_validate.models.exported.canonical import canonical
from facenet_validate.models.exported.graph_view import declared_shape, own_inputs
from facenet_validate.models.exported.image_input import find_image
from facenet_validate.models.exported.onnx_file import load_onnx
from facenet_validate.models.pretrained import (
    PRETRAINED_EMBEDDING_SIZE,
    PRETRAINED_IMAGE_SIZE,
    PRETRAINED_NAME,
)
from facenet_validate.models.proof import Proof, prove
from facenet_validate.models.sizes import ModelSizes
from facenet_validate.models.sources import (
    RawModel,
    SourceModel,
    check_kind,
    model_digest,
    raw_model,
    source_model,
    suffix_of,
)

__all__ = [
    "PreparedModel",
    "SourceModel",
    "check_contract",
    "load_onnx",
    "model_sizes",
    "prepare",
    "source_model",
]

CONVERTER_VERSION = 4
"""Changes when a converted model may change for the same source."""

PROOF_VERSION = 1
"""Changes when the way a prepared model is proven does."""

_ANATOMY = "facenet_validate.anatomy"
_STEPS = 4


@dataclass(frozen=True)
class PreparedModel:
    """Canonical ONNX: ``input`` float32 ``[N, 3, H, H]`` → ``embeddings`` float32 ``[N, D]``.

    Attributes
    ----------
    source : SourceModel
        The model it was made from.
    entry : Entry
        The ONNX file in the cache.
    embedding_size : int
        D.
    image_size : int
        H.
    proof : Proof
        The comparison that shows that it is the source.
    anatomy : tuple of (str, str)
        The parts found in the source: the name of each, and its description.
    """

    source: SourceModel
    entry: Entry
    embedding_size: int
    image_size: int
    proof: Proof
    anatomy: tuple[tuple[str, str], ...]

    @property
    def sizes(self) -> ModelSizes:
        """The sizes of its images and embeddings."""
        return ModelSizes(self.source.name, self.image_size, self.embedding_size)


def prepared_inputs(
    source: SourceModel, input_name: str | None, output_name: str | None
) -> dict[str, Any]:
    """Return the inputs that a prepared model's cache key is made of."""
    inputs = {
        "source model": source.digest,
        "converter": f"{CONVERTER_VERSION}, {graph_tools()}",
        "platform": platform_text(),
    }
    if _is_checkpoint(source):
        inputs["exporter"] = _torch()
    if input_name is not None:
        inputs["input"] = input_name
    if output_name is not None:
        inputs["output"] = output_name
    return inputs


def prepare(
    source: SourceModel,
    cache: Cache,
    *,
    faces: NDArray[np.uint8],
    input_name: str | None = None,
    output_name: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> PreparedModel:
    """Convert a source model to the prepared model and prove it, or take it from the cache.

    Parameters
    ----------
    source : SourceModel
        From `source_model`.
    faces : ndarray of shape (N, 160, 160, 3), uint8
        Aligned RGB faces to prove the model on; at least four. They do not change the model: the
        proof on other faces is another entry of the cache.
    input_name, output_name : str, optional
        The image input and the embedding's tensor, where the source leaves a choice.
    progress : callable, optional
        Called with (steps done, steps in all) of a conversion.

    Raises
    ------
    ModelError
        If the file is of no known kind, is no FaceNet, leaves a choice or changes meanwhile, or if
        the prepared model gives other embeddings than the source.
    """
    check_kind(source.path)
    name = str(source.path)

    @functools.cache  # the conversion needs it, and so does a proof on other faces
    def converted() -> tuple[RawModel, onnx.ModelProto, Anatomy]:
        progress(0, _STEPS)
        raw = raw_model(source.path, input_name=input_name, output_name=output_name)
        _check_unchanged(source)
        progress(1, _STEPS)
        output = output_name if suffix_of(source.path) == ".onnx" else None
        made, anatomy = canonical(raw.model, source=name, input_name=input_name, output_name=output)
        progress(2, _STEPS)
        return raw, made, anatomy

    def proof(path: Path, digest: str) -> Proof:
        def write_proof(out: Path) -> None:
            raw, _, anatomy = converted()
            run_source, how = raw.runner(anatomy)
            progress(3, _STEPS)
            found = prove(load_onnx(path), run_source, source=name, source_run=how, faces=faces)
            _check_unchanged(source)  # some runners read the file again
            out.write_text(found.to_json())
            progress(4, _STEPS)

        inputs = {
            "prepared": digest,
            "source model": source.digest,
            "faces": sha256(f"{faces.shape}".encode() + faces.tobytes()).hexdigest(),
            "proof": str(PROOF_VERSION),
            "run by": _runtimes(source),
        }
        entry = cache.get_or_build("proof", inputs, "proof.json", write_proof)
        return Proof.from_json(entry.path.read_text())

    def write_model(path: Path) -> None:
        _, made, anatomy = converted()
        made.metadata_props.add(key=_ANATOMY, value=json.dumps(anatomy.lines()))
        path.write_bytes(made.SerializeToString(deterministic=True))
        proof(path, file_digest(path))  # a model without a proof is not kept

    inputs = prepared_inputs(source, input_name, output_name)
    entry = cache.get_or_build("prepared", inputs, "model.onnx", write_model)
    model = load_onnx(entry.path)
    kept = {prop.key: prop.value for prop in model.metadata_props}
    return PreparedModel(
        source,
        entry,
        check_contract(model, name),
        image_size(model),
        proof(entry.path, entry.digest),
        tuple((subject, text) for subject, text in json.loads(kept[_ANATOMY])),
    )


def _is_checkpoint(source: SourceModel) -> bool:
    return suffix_of(source.path) in (".pt", ".pth")


def _torch() -> str:
    return f"torch {distribution_version('torch') or 'absent'}"


def _runtimes(source: SourceModel) -> str:
    """Return the libraries that run a prepared model and its source, and resize the faces."""
    by = [f"onnxruntime {onnxruntime_version()}", f"opencv {cv2.__version__}"]
    return ", ".join([*by, _torch()] if _is_checkpoint(source) else by)


def _check_unchanged(source: SourceModel) -> None:
    """Check that a source is still the file whose digest was taken."""
    found = model_digest(source.path)
    if found != source.digest:
        raise ModelError(
            f"{source.path}: it changed while it was read (sha256 {short(source.digest)} → "
            f"{short(found)}). Run it again once the file is written."
        )


# -- sizes before a model is prepared ------------------------------------------------------------


def model_sizes(path: Path | None, cache: Cache) -> ModelSizes:
    """Return the sizes of a source model's images and embeddings, before the model is prepared.

    The packaged model's sizes are known. The sizes of another model are taken from the first of
    these that has them: the prepared model in the cache; the shapes that an ONNX file states; the
    conversion that `prepare` begins with, without its proof.

    Parameters
    ----------
    path : Path or None
        The source; None for the packaged model.

    Raises
    ------
    ModelError
        As `prepare` does.
    """
    if path is None:
        return ModelSizes(PRETRAINED_NAME, PRETRAINED_IMAGE_SIZE, PRETRAINED_EMBEDDING_SIZE)
    source = source_model(path)
    kept = cache.find("prepared", prepared_inputs(source, None, None), "model.onnx")
    if kept is not None:
        model = load_onnx(kept.path)
        return ModelSizes(source.name, image_size(model), check_contract(model, str(path)))
    raw = raw_model(path, input_name=None, output_name=None)
    stated = _stated(raw.model, source.name)
    if stated is not None:
        return stated
    _, anatomy = canonical(raw.model, source=str(path))
    return ModelSizes(source.name, anatomy.image.size, anatomy.embedding.size)


def _stated(model: onnx.ModelProto, name: str) -> ModelSizes | None:
    """Return the sizes that a model's only input and output state; None where one is open."""
    image = find_image(model.graph, source=name, name=None)
    value = next(v for v in own_inputs(model.graph) if v.name == image.name)
    rows = [declared_shape(output) for output in model.graph.output]
    if image.size not in declared_shape(value) or len(rows) != 1 or len(rows[0]) != 2:
        return None
    size = rows[0][1]
    return ModelSizes(name, image.size, size) if isinstance(size, int) and size > 1 else None
