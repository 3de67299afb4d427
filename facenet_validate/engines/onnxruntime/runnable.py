"""Whether an ONNX engine built elsewhere runs here, found out before collection."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.supplied import check_shape, trial_batch
from facenet_validate.models.exported.simplification import remedy


def check_runs(
    path: Path,
    backend: str,
    session_of: Callable[[Path, Any], Any],
    image_size: int,
    embedding_size: int,
) -> None:
    """Load an engine and run one batch of grey faces.

    The first try optimises nothing, which takes a tenth of the time. An engine that does not run
    then is tried again with all optimisations, as a run has them: they may fuse operators that have
    no kernel of their own.

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
    faces = trial_batch(image_size)
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
    check_shape(path, shape, embedding_size)


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
