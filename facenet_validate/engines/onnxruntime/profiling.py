"""How long the layers of an ONNX graph take on ONNX Runtime's CPU provider, from its profile."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.engines.onnxruntime.sessions import opened
from facenet_validate.engines.protocol import LayerTime, LayerTimes
from facenet_validate.models.passes import name_nodes
from facenet_validate.models.prepared import load_onnx

_SOURCE = "ONNX Runtime's profile"
_KERNEL = "_kernel_time"
_RUN = "model_run"
_OF_A_NODE = re.compile(r"^(?:fused )?(.+?)(?:_token_\d+|_nhwc)*$")
_OF_A_TENSOR = re.compile(r"^(.+)_nchwc(?:_token_\d+)?$")
"""How optimised kernels are called: by the node, or by the output that they compute."""
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid")


def profiled_layers(
    path: Path, options: ort.SessionOptions, feed: Mapping[str, NDArray[Any]], count: int
) -> LayerTimes:
    """Time the layers of a graph in a session of its own.

    ONNX Runtime writes its profile to a file. The file is removed, also after an error.

    Parameters
    ----------
    path : Path
        The graph.
    options : onnxruntime.SessionOptions
        Of the session; the profile is added to them.
    feed : mapping
        Input → batch.
    count : int
        How many runs, after one that warms up.
    """
    with TemporaryDirectory(prefix="facenet-profile-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "layers")
        session = opened(path, options, providers=["CPUExecutionProvider"])
        try:
            for _ in range(count + 1):
                session.run(None, dict(feed))
        finally:
            profile = Path(session.end_profiling())
            # A session that still lives would write into a folder that is gone.
            del session
        events = json.loads(profile.read_text())
    model = load_onnx(path)
    name_nodes(model)  # as ``opened`` does where two have the same name
    return layers_of_profile(events, model.graph)


def layers_of_profile(events: Iterable[Mapping[str, Any]], graph: onnx.GraphProto) -> LayerTimes:
    """Read the events of a profile: the time of each layer in each run but the first.

    A kernel has the name of the node or of the output that it computes, and what an optimisation
    added to it. One that computes a convolution with its activation may have the activation's: both
    are its nodes, and the convolution names the layer. Kernels of no node, as those that reorder
    data for others, are one layer a kind.

    Parameters
    ----------
    events : iterable of mapping
        Of the profile's JSON, in order.
    graph : onnx.GraphProto
        What was profiled; its nodes have names of their own.
    """
    origins = _Origins(graph)
    layers: dict[str, tuple[str, tuple[str, ...]]] = {}
    runs = list(_runs(events))[1:]
    times: dict[str, NDArray[np.float64]] = {}
    for index, run in enumerate(runs):
        for called, kind, seconds in run:
            nodes = origins.of(called, kind)
            name = nodes[0] if nodes else kind
            layers.setdefault(name, (origins.kinds[name] if nodes else kind, nodes))
            times.setdefault(name, np.zeros(len(runs)))[index] += seconds
    return LayerTimes(
        _SOURCE,
        tuple(
            LayerTime(name, kind, nodes, tuple(times[name].tolist()))
            for name, (kind, nodes) in layers.items()
        ),
        "" if layers else "ONNX Runtime's profile has no layers",
    )


def _runs(events: Iterable[Mapping[str, Any]]) -> Iterator[list[tuple[str, str, float]]]:
    """Yield the kernels of each run: name, operation and seconds."""
    kernels: list[tuple[str, str, float]] = []
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            kind = str(event.get("args", {}).get("op_name", ""))
            kernels.append((name.removesuffix(_KERNEL), kind, 1e-6 * float(event["dur"])))
        elif name == _RUN:
            yield kernels
            kernels = []


class _Origins:
    """Which nodes of a graph a kernel computes."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.kinds: dict[str, str] = {node.name: node.op_type for node in graph.node}
        self._makers: dict[str, str] = {
            output: node.name for node in graph.node for output in node.output
        }
        self._activated = {
            node.name: self._makers[node.input[0]]
            for node in graph.node
            if node.op_type in _ACTIVATIONS and node.input[0] in self._makers
        }

    def of(self, kernel: str, kind: str) -> tuple[str, ...]:
        """Return the nodes, the one that names the layer first; none of a kernel without."""
        name = self._name(kernel)
        if not name:
            return ()
        # The kernel of an activation by itself is of the activation's kind.
        if name in self._activated and not kind.endswith(self.kinds[name]):
            return (self._activated[name], name)
        return (name,)

    def _name(self, kernel: str) -> str:
        """Return the node that a kernel is called after; empty if there is none."""
        if kernel in self.kinds:
            return kernel
        if tensor := _OF_A_TENSOR.match(kernel):
            return self._makers.get(tensor[1], "")
        node = _OF_A_NODE.match(kernel)
        return node[1] if node and node[1] in self.kinds else ""
