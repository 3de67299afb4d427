"""A measurement in its document, as the blocks of a page take it."""

from __future__ import annotations

from dataclasses import dataclass

from facenet_validate.reporting.page.gates import limit_of
from facenet_validate.reporting.page.parts import Part

_BESIDE = {
    "reference": "FP32",
    "against": "the engine compared with",
    "fp32": "FP32",
    "fp16": "FP16",
}


@dataclass(frozen=True)
class Place:
    """A measurement, where it stands, and what else a block of it needs.

    Attributes
    ----------
    document, measured : Part
        The whole, and the measurement.
    name : str
        Begins the ids of its pictures.
    """

    document: Part
    measured: Part
    name: str

    @property
    def engine(self) -> str:
        """What the engine is called."""
        return self.measured["precision"].text.upper() or "the engine"

    @property
    def where(self) -> str:
        """Of which engine and set."""
        return f"{self.engine} on {self.measured['dataset'].text}"

    @property
    def beside(self) -> str:
        """What it is compared with."""
        found = self.measured["compared_with"].text or self.measured["beside"].text
        return _BESIDE.get(found, found)

    def limit(self, gate: str) -> Part:
        """Return the limit of a gate for what was measured."""
        return limit_of(self.document, gate, self.measured)
