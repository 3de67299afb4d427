"""TensorFlow frozen graph → ONNX, without TensorFlow, and OpenCV's run of the graph itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from facenet_validate.base.errors import ModelError
from facenet_validate.models.frozen.graphdef import attributes, parse_graph
from facenet_validate.models.frozen.inference import InferenceGraph, inference_graph
from facenet_validate.models.frozen.to_onnx import inference_onnx
from facenet_validate.models.proof import Runner


def convert_frozen_graph(data: bytes, *, source: str, output: str | None = None) -> onnx.ModelProto:
    """Convert a serialized frozen FaceNet graph to ONNX.

    Parameters
    ----------
    data : bytes
        Serialized ``GraphDef``: stripped for inference, or as published, with its training.
    source : str
        What to call the file in an error.
    output : str, optional
        The node that gives the embedding; by default it is found.

    Returns
    -------
    onnx.ModelProto
        Input ``input`` float32 ``[N, 3, H, W]``, output ``embeddings`` float32 ``[N, D]``, as the
        graph gives it.

    Raises
    ------
    ModelError
        If the bytes are no frozen graph, a node of its inference part is unsupported (it is named),
        or the embedding is not found.
    """
    cut = inference_graph(parse_graph(data, source=source), source=source, output=output)
    return inference_onnx(cut, source=source)


def frozen_graph_runner(
    data: bytes, *, source: str, output: str | None = None
) -> tuple[Runner, str]:
    """Return OpenCV's own run of a frozen graph, to compare a conversion with, and what is run.

    OpenCV reads the file's own bytes where it can: those of a graph of layers alone that ends at
    the embedding (and, before OpenCV 5, whose nodes are in order). Of any other graph OpenCV runs
    the inference part that was cut out here, and the second value says so.

    Parameters
    ----------
    data : bytes
        Serialized ``GraphDef``.
    source : str
        What to call the file in an error.
    output : str, optional
        The node that gives the embedding; by default it is found.

    Returns
    -------
    run : callable
        Standardized faces float32 ``(N, 3, H, W)`` → the graph's output float32 ``(N, D)``. Faces
        are run one by one: some graphs reshape to a batch of one.
    what : str
        Name of what is run, for people.

    Raises
    ------
    ModelError
        As :func:`convert_frozen_graph` does, or if OpenCV cannot run the graph.
    """
    import cv2

    graph = parse_graph(data, source=source)
    cut = inference_graph(graph, source=source, output=output)
    readings = {"the frozen graph's inference part, cut out here": cut.graph.SerializeToString()}
    if _is_inference_alone(graph, cut):
        readings = {"the frozen graph": data, **readings}
    what, network = _read_by_opencv(readings, source)

    def run(faces: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = np.empty((len(faces), cut.embedding_size), np.float32)
        for row, face in zip(rows, faces, strict=True):
            try:
                network.setInput(face[None])
                row[:] = network.forward().ravel()
            except (cv2.error, ValueError) as error:
                raise _no_opencv_run(source, error) from None
        return rows

    return run, what


def _read_by_opencv(readings: dict[str, bytes], source: str) -> tuple[str, Any]:
    """Return the first of several readings of a graph that OpenCV accepts, with its name."""
    import cv2

    for what, data in readings.items():
        try:
            return what, cv2.dnn.readNetFromTensorflow(np.frombuffer(data, np.uint8))
        except cv2.error as error:
            refusal = error
    raise _no_opencv_run(source, refusal)


def _is_inference_alone(graph: Any, cut: InferenceGraph) -> bool:
    """Say whether a graph is its inference part already, so that OpenCV can run the file itself.

    OpenCV runs a graph to its last node. Where no epsilon is stated, OpenCV assumes another one
    than TensorFlow.
    """
    whole, kept = (
        Counter(node.op for node in nodes if node.op != "Const")
        for nodes in (graph.node, cut.graph.node)
    )
    return (
        graph.node[-1].name == cut.output
        and whole == kept
        and all(
            "epsilon" in attributes(node)
            for node in graph.node
            if node.op.startswith("FusedBatchNorm")
        )
    )


def _no_opencv_run(source: str, error: Exception) -> ModelError:
    import cv2

    return ModelError(
        f"{source}: OpenCV {cv2.__version__} cannot run the graph, so its conversion cannot be "
        f"compared with it: {str(error).strip()}"
    )
