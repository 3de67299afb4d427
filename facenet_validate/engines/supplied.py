"""Engines built elsewhere: what their files tell, and the artefacts they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.errors import EngineError, ModelError
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.engines.artefacts import Artefact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facenet_validate.engines.protocol import Engine
    from facenet_validate.models.prepared import PreparedModel
    from facenet_validate.models.sizes import ModelSizes


@dataclass(frozen=True)
class SuppliedEngine:
    """What the file of a supplied engine tells.

    Attributes
    ----------
    path : Path
        The file.
    precision : str or None
        None for a plan, which does not tell it before a device has loaded it; except one of our
        own cache, which has its build's facts beside it.
    target : str or None
        What its recipe is for, where it says so.
    backend : str or None
        The one backend that loads it; None for an ONNX graph, which several load.
    version : str
        Version of that backend's library which built it.
    image_size, embedding_size : int or None
        What it reads and gives; None of a plan from elsewhere, which tells it on a device.
    """

    path: Path
    precision: Precision | None
    target: Target | None
    backend: str | None
    version: str = ""
    image_size: int | None = None
    embedding_size: int | None = None


def supplied_artefact(
    path: Path, precision: Precision, model: PreparedModel, *, any_embedding_size: bool = False
) -> Artefact:
    """Take an ONNX engine that was built elsewhere, after checking its contract.

    Parameters
    ----------
    any_embedding_size : bool
        Whether its embeddings may have another size than the model's.

    Raises
    ------
    ModelError
        If its input or output is not the contract's, or its embeddings have another size than
        those of the model it is compared with.
    """
    from facenet_validate.models.exported.graph_view import own_inputs
    from facenet_validate.models.passes import has_equal_names
    from facenet_validate.models.prepared import check_contract, load_onnx
    from facenet_validate.models.sources import onnx_digest

    graph = load_onnx(path)
    size = check_contract(graph, str(path))
    side = own_inputs(graph.graph)[0].type.tensor_type.shape.dim[2].dim_value
    check_fits(path, side, None if any_embedding_size else size, model.sizes)
    digest = onnx_digest(path)
    recipe = "built elsewhere"
    if has_equal_names(graph):
        recipe += "; nodes of equal names, which no runtime loads, got names of their own"
    return Artefact(
        path, digest, path, digest, precision, recipe, "given by the user", supplied=True
    )


def check_fits(path: Path, side: int, size: int | None, model: ModelSizes) -> None:
    """Check that an engine reads and gives what the model it is compared with does.

    Parameters
    ----------
    side : int
        Pixels of its faces.
    size : int or None
        Values of its embeddings; None where any size will do.

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
    if size not in (None, model.embedding_size):
        raise ModelError(
            f"engine {path}: embeddings of {size} values, but {model.name}, which it is "
            f"compared with, gives {model.embedding_size}. A different training? Name its own "
            "FP32 model with --facenet-model."
        )


def try_engine(
    path: Path, load: Callable[[Artefact], Engine], image_size: int, embedding_size: int
) -> None:
    """Load a supplied ONNX graph and run a trial batch.

    Parameters
    ----------
    load : callable
        Loads an artefact on the backend.
    image_size, embedding_size : int
        What the graph says that it reads and gives.

    Raises
    ------
    EngineError
        If it does not load or run, or its embeddings have another size than it says.
    """
    from facenet_validate.models.prepared import load_onnx
    from facenet_validate.models.quantization.precision import infer_precision

    precision = infer_precision(load_onnx(path))
    trial = Artefact(path, "", path, "", precision, "supplied", "a trial", supplied=True)
    with load(trial) as engine:
        check_shape(path, engine.run(trial_batch(image_size)).shape, embedding_size)


def trial_batch(image_size: int) -> NDArray[np.float32]:
    """Return two grey faces. More than one: a graph may have a fixed batch of one."""
    import numpy as np

    return np.zeros((2, 3, image_size, image_size), np.float32)


def check_shape(path: Path, found: tuple[int, ...], embedding_size: int) -> None:
    """Check the embeddings of a trial batch.

    Raises
    ------
    EngineError
        If they have another size than the graph says.
    """
    if found != (2, embedding_size):
        raise EngineError(
            f"engine {path}: gives {list(found)} for 2 faces; expected [2, {embedding_size}], as "
            "its output says. Export it again."
        )
