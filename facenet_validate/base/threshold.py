"""The threshold that production decides at, in the metric it was chosen for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Metric = Literal["squared-l2", "l2", "cosine"]
METRICS: tuple[Metric, ...] = ("squared-l2", "l2", "cosine")
RANGES: dict[Metric, tuple[float, float]] = {
    "squared-l2": (0.0, 4.0),
    "l2": (0.0, 2.0),
    "cosine": (-1.0, 1.0),
}
"""What the metrics of two unit embeddings can be."""

_TITLES: dict[Metric, str] = {
    "squared-l2": "squared L2 below",
    "l2": "L2 below",
    "cosine": "cosine above",
}


@dataclass(frozen=True)
class Threshold:
    """A deployed threshold of unit embeddings.

    Attributes
    ----------
    value : float
        In the unit of its metric.
    metric : {"squared-l2", "l2", "cosine"}
        Distances, or the cosine, which is a similarity.

    Raises
    ------
    ValueError
        If the metric cannot take the value.

    Examples
    --------
    >>> Threshold(1.1, "squared-l2").squared, Threshold(0.5, "cosine").squared
    (1.1, 1.0)
    >>> Threshold(0.5, "cosine").text
    'cosine above 0.5'
    >>> Threshold(1.1, "cosine")
    Traceback (most recent call last):
    ValueError: a threshold of 1.1 is out of range: cosine lies between -1 and 1
    """

    value: float
    metric: Metric

    def __post_init__(self) -> None:
        low, high = RANGES[self.metric]
        if not low <= self.value <= high:
            raise ValueError(
                f"a threshold of {self.value:g} is out of range: {self.metric} lies between "
                f"{low:g} and {high:g}"
            )

    @property
    def squared(self) -> float:
        """The squared L2 distance below which a pair is accepted: ``2 − 2 cosine``."""
        if self.metric == "cosine":
            return 2 - 2 * self.value
        return self.value if self.metric == "squared-l2" else self.value**2

    @property
    def text(self) -> str:
        """What is accepted, for people."""
        return f"{_TITLES[self.metric]} {self.value:g}"
