"""Facts of a build that need no device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from facenet_validate.base.digests import file_digest
from facenet_validate.base.errors import ModelError
from facenet_validate.engines.artefacts import Artefact, fp16_graph
from facenet_validate.models.network import precision_shares
from facenet_validate.models.prepared import PreparedModel, load_onnx
from facenet_validate.models.sources import onnx_size


@dataclass(frozen=True)
class BuildFacts:
    """What an engine was built from and became.

    Attributes
    ----------
    source : str
        What the shares were read from, for people.
    problems : tuple of str or None
        Complaints of the parser or the checker; None where neither has read the engine.
    shares : mapping
        Precision → share of the multiply-adds, 0 to 1; empty where it cannot be told.
    layers : mapping
        Type → number of layers.
    size : int
        Bytes of what is loaded, weights in files of their own among them.
    profiles : int or None
        Optimisation profiles, each of which may hold the network once; None if unknown.
    compiled : mapping
        Type → share of the multiply-adds, by the compiled engine's list of layers; ``unknown``
        for those that the list does not tell. Empty where there is no list.
    log : Path or None
        The build's log.
    remade : str
        Inputs of the build that were made a second time and compared, for people; empty for an
        engine built elsewhere.
    differing : tuple of str
        Those whose second making differs from the first.
    untold : str
        Reason why `shares` is empty, where it is known; empty string otherwise.
    """

    source: str
    problems: tuple[str, ...] | None
    shares: Mapping[str, float]
    layers: Mapping[str, int]
    size: int
    profiles: int | None = 1
    compiled: Mapping[str, float] = field(default_factory=dict)
    log: Path | None = None
    remade: str = ""
    differing: tuple[str, ...] = ()
    untold: str = ""


def graph_facts(artefact: Artefact, model: PreparedModel) -> BuildFacts:
    """Return the facts of an ONNX graph that a runtime loads as it is."""
    graph = load_onnx(artefact.graph)
    try:
        onnx.checker.check_model(graph)
        problems: tuple[str, ...] = ()
    except onnx.checker.ValidationError as error:
        problems = (str(error).strip().splitlines()[0],)
    shares: Mapping[str, float] = {}
    untold = ""
    try:
        shares = precision_shares(graph)
    except ModelError as error:  # a runtime's own operators hide the sizes behind them
        untold = str(error).rstrip(".")
    remade, differing = remade_inputs(artefact, model)
    return BuildFacts(
        "the ONNX graph",
        problems,
        shares,
        dict(Counter(node.op_type for node in graph.graph.node).most_common()),
        onnx_size(artefact.path),
        remade=remade,
        differing=differing,
        untold=untold,
    )


def remade_inputs(artefact: Artefact, model: PreparedModel) -> tuple[str, tuple[str, ...]]:
    """Make a build's graph a second time and compare; INT8 is not calibrated twice.

    Returns
    -------
    remade : str
        What was made a second time.
    differing : tuple of str
        What differs from the first.
    """
    if artefact.supplied:
        return "", ()
    digest = file_digest(artefact.graph)
    stored = () if digest == artefact.graph_digest else ("the graph's file",)
    if artefact.precision != "fp16":
        return "the graph's digest", stored
    again = fp16_graph(load_onnx(model.entry.path)) == artefact.graph.read_bytes()
    return "the graph's digest, the FP16 conversion", (
        *stored,
        *(() if again else ("the FP16 conversion",)),
    )
