"""Sizes of a model's images and embeddings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSizes:
    """The sizes of what a source model reads and gives.

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
