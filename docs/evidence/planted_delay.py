r"""A pytest plugin that slows one engine down, for measure_speed_here.py.

    PYTHONPATH=docs/evidence PLANTED_DELAY=DIGITS=0.06 \
        pytest -p planted_delay suites/test_performance.py …

The engine whose SHA-256 begins with DIGITS waits after each run for that share of the time the run
took, so its latency is 1.06 times what it was, on any machine and beside any load.
"""

from __future__ import annotations

import os
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine

_DIGITS, _, _SHARE = os.environ["PLANTED_DELAY"].partition("=")
_RUN = OnnxRuntimeEngine.run


def _slowed(engine: OnnxRuntimeEngine, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    begin = perf_counter()
    embeddings = _RUN(engine, batch)
    if engine.info.digest.startswith(_DIGITS):
        until = begin + (perf_counter() - begin) * (1.0 + float(_SHARE))
        while perf_counter() < until:
            pass
    return embeddings


OnnxRuntimeEngine.run = _slowed  # type: ignore[assignment, method-assign]
