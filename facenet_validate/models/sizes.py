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
    import onnx

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

    The packaged model's sizes are known. Others are taken from the prepared model in the cache,
    from what an ONNX file states where that leaves no choice, or from the conversion that
    `prepare` begins with, without its proof.

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
    stated = _stated(raw.model, source.name)
    if stated is not None:
        return stated
    _, anatomy = canonical(raw.model, source=str(path))
    return ModelSizes(source.name, anatomy.image.size, anatomy.embedding.size)


def _stated(model: onnx.ModelProto, name: str) -> ModelSizes | None:
    """Return the sizes that a model's only input and output state; None where one is open."""
    from facenet_validate.models.exported.anatomy import find_image
    from facenet_validate.models.exported.graph_view import declared_shape, own_inputs

    image = find_image(model.graph, source=name, name=None)
    value = next(v for v in own_inputs(model.graph) if v.name == image.name)
    rows = [declared_shape(output) for output in model.graph.output]
    if image.size not in declared_shape(value) or len(rows) != 1 or len(rows[0]) != 2:
        return None
    size = rows[0][1]
    return ModelSizes(name, image.size, size) if isinstance(size, int) and size > 1 else None
