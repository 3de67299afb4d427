"""Both graphs of a case, operator by operator, read once for every experiment that needs them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx

from facenet_validate.diagnosis.channel_factors import Factors, channel_factors
from facenet_validate.diagnosis.emulation import Emulation, Values
from facenet_validate.diagnosis.layer_weights import LayerWeights, layer_weights
from facenet_validate.diagnosis.matching import Graph, Matched, Operator, matched


@dataclass(frozen=True, eq=False)
class Sides:
    """The model's graph and the engine's.

    Attributes
    ----------
    model, engine : onnx.ModelProto
        The prepared FP32 model, and what the engine computes; the nodes of both are in order.
    """

    model: onnx.ModelProto
    engine: onnx.ModelProto

    @cached_property
    def ours(self) -> Graph:
        """The model's graph as it is matched."""
        return Graph(self.model)

    @cached_property
    def theirs(self) -> Graph:
        """The engine's graph as it is matched."""
        return Graph(self.engine)

    @cached_property
    def matched(self) -> Matched:
        """Which operators are which, or why that is not known."""
        return matched(self.ours, self.theirs)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators of both graphs, in the model's order."""
        return self.matched.operators

    @cached_property
    def weights(self) -> dict[str, LayerWeights]:
        """The weights of each layer in both graphs."""
        return layer_weights(self.ours, self.theirs, self.operators)

    @cached_property
    def factors(self) -> dict[str, Factors]:
        """By how much the engine's channels are divided, by `Operator.name`."""
        return channel_factors(self.operators, self.weights)

    def multiplied(self, values: Values, maker: str) -> Values:
        """Return an engine's values (N, C, …) of an operator in the model's unit."""
        return np.asarray(values * self._shaped(values, maker), np.float32)

    def divided(self, values: Values, maker: str) -> Values:
        """Return a model's values (N, C, …) of an operator in the engine's unit."""
        return np.asarray(values / self._shaped(values, maker), np.float32)

    def _shaped(self, values: Values, maker: str) -> Values:
        factors = self.factors[maker].astype(np.float32)
        if values.ndim < 2 or values.shape[1] % len(factors):
            return np.ones(1, np.float32)
        factors = np.repeat(factors, values.shape[1] // len(factors))
        return factors.reshape(1, -1, *[1] * (values.ndim - 2))


class ModelTensors:
    """The model's tensors that are compared, computed batch by batch.

    Parameters
    ----------
    sides : Sides
        Both graphs.
    names : iterable of str
        Tensors of the model's graph.
    """

    def __init__(self, sides: Sides, names: Iterable[str]) -> None:
        self._image = sides.ours.image
        self._names = sorted(set(names) - {self._image})
        self._run = Emulation(sides.model, self._names)

    def __call__(self, batch: Values) -> dict[str, Values]:
        """Return the tensors of a batch by name, the image among them."""
        found = self._run({self._image: batch})
        return {self._image: batch} | dict(zip(self._names, found, strict=True))
