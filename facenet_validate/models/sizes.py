"""What a source model reads and gives, told as cheaply as it can be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.models.pretrained import (
    PRETRAINED_EMBEDDING_SIZE,
    PRETRAINED_IMAGE_SIZE,
    PRETRAINED_NAME,
)

if TYPE_CHECKING:
    from facenet_validate.cache import Cache


@dataclass(frozen=True)
class ModelSizes:
    """What a source model reads and gives.

    Attributes
    ----------
    name : str
        What to call the model in an error.
    image_size : int
        Pixels a side.
    embedding_size : int
        Values of an embedding.
    """

    name: str
    image_size: int
    embedding_size: int


def model_sizes(path: Path | None, cache: Cache) -> ModelSizes:
    """Return what a source model reads and gives, before it is prepared.

    The packaged model's sizes are known; others are taken from the prepared model in the cache, or
    from the conversion that `prepare` begins with, without its proof.

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
    from facenet_validate.models.prepared import check_contract, load_onnx, prepared_inputs
    from facenet_validate.models.sources import raw_model, source_model

    source = source_model(path)
    kept = cache.find("prepared", prepared_inputs(source, None, None), "model.onnx")
    if kept is not None:
        model = load_onnx(kept.path)
        side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
        return ModelSizes(source.name, int(side), check_contract(model, str(path)))
    from facenet_validate.models.exported.canonical import canonical

    raw = raw_model(path, input_name=None, output_name=None)
    _, anatomy = canonical(raw.model, source=str(path))
    return ModelSizes(source.name, anatomy.image.size, anatomy.embedding.size)
