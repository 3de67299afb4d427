"""The kinds of entries: what each is, and which inputs say what it is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of entry.

    Attributes
    ----------
    title : str
        What it is, for people.
    subject : tuple of str
        The inputs that say what an entry is of, nested ones as ``recipe.target``. Two entries that
        agree in them are builds of the same thing, and a miss says what changed between them. The
        digest of an artefact that the cache made stands for what that artefact is of; another text
        for its first word, so that a library's version is left out.
    """

    title: str
    subject: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "prepared": Kind("model, FP32 ONNX", ("source model",)),
    "proof": Kind("proof of a prepared model", ("source model", "faces")),
    "fp16": Kind("FP16 graph", ("model",)),
    "int8": Kind("INT8 graph", ("model", "recipe.target")),
    "plan": Kind("TensorRT engine", ("model", "precision", "library.backend")),
    "timing": Kind("TensorRT timing cache"),
    "embeddings": Kind("embeddings", ("engine", "precision", "faces", "runtime")),
    "faces": Kind("aligned faces"),
    "synthetic": Kind("drawn faces"),
    "tuning": Kind("losses that quantize --tune measured"),
}


def title(kind: str) -> str:
    """Return what a kind is, for people; the name of one that is unknown."""
    return KINDS[kind].title if kind in KINDS else kind
