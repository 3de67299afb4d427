"""Graphs computed as they are written, on ONNX Runtime's CPU provider, and their inner tensors.

Nothing is fused: a Q/DQ pair rounds in floating point, so no integer kernel saturates, and FP16 is
rounded to wherever the graph says so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.models.onnx_session import cpu_session

Values = NDArray[np.float32]

CHUNK = 4
"""Faces at a time: the inner tensors of a face are about 25 MB on each side."""

_UNFUSED = {"session.disable_quant_qdq": "1"}


def emulated(model: onnx.ModelProto, batch: Values) -> Values:
    """Return embeddings (N, D) of a batch (N, 3, H, H) by a graph, computed as it is written."""
    run = Emulation(model, [model.graph.output[0].name])
    (name,) = run.inputs
    parts = [run({name: batch[i : i + CHUNK]})[0] for i in range(0, len(batch), CHUNK)]
    return np.concatenate(parts)


class Emulation:
    """A session of a graph that gives any of its tensors.

    Parameters
    ----------
    model : onnx.ModelProto
        Not changed.
    names : sequence of str
        Tensors to give, in order.
    """

    def __init__(self, model: onnx.ModelProto, names: Sequence[str]) -> None:
        self._names = list(names)
        made = with_outputs(model, names)
        self._session: Any = cpu_session(made, optimisation="none", entries=_UNFUSED)
        self.inputs: list[str] = [value.name for value in self._session.get_inputs()]

    def __call__(self, feed: dict[str, Values]) -> list[Values]:
        """Return the tensors, in float32."""
        found = self._session.run(self._names, feed)
        return [np.asarray(values, np.float32) for values in found]


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of a graph that also gives these of its tensors."""
    made = copy.deepcopy(model)
    known = {value.name for value in made.graph.output}
    # ONNX Runtime infers the types of outputs that state none.
    made.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in known
    )
    return made
