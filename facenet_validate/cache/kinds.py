"""The kinds of entries: what each is, and which inputs tell its subject."""

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
        Names of inputs, nested ones as ``recipe.target``. Entries that agree in them have the same
        subject: one is a newer build of the other, and a miss says what changed. Digests of two
        artefacts of the cache agree if the artefacts have the same subject. Other texts agree if
        their first words do, so a library agrees with its next version.
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
    "kernels": Kind("TensorRT for RTX kernels"),
    "embeddings": Kind("embeddings", ("engine", "precision", "faces", "runtime")),
    "faces": Kind("aligned faces"),
    "orl": Kind("ORL photos"),
    "synthetic": Kind("drawn faces"),
    "tuning": Kind("losses that quantize --tune measured"),
}


def title(kind: str) -> str:
    """Return what a kind is, for people; the name of one that is unknown."""
    return KINDS[kind].title if kind in KINDS else kind
