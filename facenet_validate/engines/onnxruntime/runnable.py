"""Whether an ONNX engine built elsewhere runs here, found out before collection."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from facenet_validate.base.errors import EngineError
from facenet_validate.models.exported.simplification import remedy

FACES = 2
"""Grey faces in the batch it is tried with; not one, which a fixed batch might happen to be."""


def check_runs(
    path: Path,
    backend: str,
    session_of: Callable[[Path, Any], Any],
    image_size: int,
    embedding_size: int,
) -> None:
    """Load an engine and run one batch of grey faces.

    Nothing is optimised, which takes a tenth of the time. An engine that does not run so is tried
    again as it will be run: optimising may fuse what has no kernel of its own.

    Parameters
    ----------
    path : Path
        The ONNX graph.
    backend : str
        What is to run it, for messages.
    session_of : callable
        Opens a session of a file at a level of optimisation.
    image_size, embedding_size : int
        What the graph says that it reads and gives.

    Raises
    ------
    EngineError
        If ONNX Runtime does not take or run it, or its embeddings have another size than it says.
    """
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    faces = np.zeros((FACES, 3, image_size, image_size), np.float32)
    shape: tuple[int, ...] = ()
    for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_ALL):
        try:
            session = session_of(path, level)
            (value,) = session.get_inputs()
            shape = np.asarray(session.run(None, {value.name: faces})[0]).shape
            break
        except Exception as error:  # ONNX Runtime has one class an error code
            failure = error
    else:
        raise EngineError(_text(path, backend, failure)) from None
    if shape != (FACES, embedding_size):
        raise EngineError(
            f"engine {path}: gives {list(shape)} for {FACES} faces; expected "
            f"[{FACES}, {embedding_size}], as its output says. Export it again."
        )


def _text(path: Path, backend: str, error: Exception) -> str:
    import onnxruntime as ort

    line = str(error).strip().splitlines()[0][:300].rstrip(".")
    line = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line)
    if re.search(r"not a registered function/op|No Op registered", line):
        how = "Expected operators that ONNX Runtime has: export the engine without others."
    elif "Could not find an implementation" in line:
        how = "Expected operators in types it has kernels for: export the engine in FP32, FP16 or "
        how += "with INT8 Q/DQ pairs."
    else:
        how = remedy(error)
    return f"engine {path}: {backend} {ort.__version__} cannot run it: {line}. {how}"
