"""ONNX Runtime sessions on the CPU provider: one way to open them, and to say why one fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

Optimisation = Literal["none", "basic", "all"]

_LEVELS: dict[Optimisation, str] = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "all": "ORT_ENABLE_ALL",
}


def cpu_session(
    model: onnx.ModelProto | Path,
    *,
    optimisation: Optimisation = "all",
    entries: Mapping[str, str] | None = None,
    optimised: Path | None = None,
) -> ort.InferenceSession:
    """Return a session of ONNX Runtime's CPU provider that logs nothing.

    Parameters
    ----------
    model : onnx.ModelProto or Path
        The graph, or its file.
    optimisation : {"none", "basic", "all"}
        How far ONNX Runtime may rewrite the graph.
    entries : mapping, optional
        Further session options by key, such as ``session.disable_quant_qdq``.
    optimised : Path, optional
        Where ONNX Runtime writes the graph it runs.

    Raises
    ------
    Exception
        ONNX Runtime has one class for each error code; `reason` says what it reports.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[optimisation])
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    content = str(model) if isinstance(model, Path) else model.SerializeToString()
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def rows_in_batches(
    run: Callable[[NDArray[Any]], NDArray[Any]], images: NDArray[Any], batch: int
) -> NDArray[Any]:
    """Run images in full batches and return one flat row an image.

    Parameters
    ----------
    run : callable
        Images of one batch, ``(batch, …)`` → values with the batch first.
    images : ndarray of shape (N, …)
        Fed in order. The last batch is filled up with its own first images.
    batch : int
        Images in every batch.

    Returns
    -------
    ndarray of shape (N, D)
        In the type that ``run`` gives.
    """
    rows = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        values = np.asarray(run(np.resize(part, (batch, *images.shape[1:]))))
        rows.append(values.reshape(batch, -1)[: len(part)])
    return np.concatenate(rows)


def reason(error: Exception) -> str:
    """Return the first line of what ONNX or ONNX Runtime reports, at most 300 characters of it."""
    return str(error).strip().splitlines()[0][:300]
