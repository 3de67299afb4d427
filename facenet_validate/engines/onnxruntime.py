"""Engines on ONNX Runtime's CPU provider."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.base.closing import Closing
from facenet_validate.base.errors import EngineError
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.engines.blocks import repetitions
from facenet_validate.engines.protocol import EngineInfo, Scope, TensorInfo, Work
from facenet_validate.models.passes import name_nodes
from facenet_validate.models.prepared import load_onnx

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class OnnxRuntimeEngine(Closing):
    """An ONNX file on the CPU provider, optimised by the session as ONNX Runtime does by default.

    Parameters
    ----------
    path : Path
        FP32, FP16 or Q/DQ ONNX.
    digest : str
        SHA-256 of the file, verified by the caller.
    precision : str
        What the graph is typed in.
    artefact : str
        Where it came from, for people.
    device, device_details : str
        The CPU's name and the rest of its identity.
    threads : int
        Intra-op threads, the processors this process may use.
    target : str
        What the artefact is made for. One for TensorRT is emulated: Q/DQ pairs are computed as
        they are written, in floating point, so that no kernel of this CPU saturates a sum.

    Raises
    ------
    EngineError
        If ONNX Runtime does not take the file.
    """

    scopes: tuple[Scope, ...] = ("end-to-end",)

    def __init__(
        self,
        path: Path,
        *,
        digest: str,
        precision: Precision,
        artefact: str,
        device: str,
        device_details: str = "",
        threads: int,
        target: Target = "cpu",
    ) -> None:
        emulated = precision == "int8" and target == "tensorrt"
        options, pinned = session_options(threads, emulated=emulated)
        try:
            self._session: Any = opened(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own classes, one for each cause
            raise EngineError(
                f"{path}: ONNX Runtime {ort.__version__} cannot load it: {error}"
            ) from None
        self.input = session_tensor(self._session.get_inputs(), "input", path)
        self.output = session_tensor(self._session.get_outputs(), "output", path)
        self.info = EngineInfo(
            precision=precision,
            backend="onnxruntime",
            runtime=f"onnxruntime {ort.__version__}",
            device=device,
            device_details=device_details,
            options=(("provider", "CPUExecutionProvider"), *pinned),
            digest=digest,
            artefact=artefact,
            recipe_only=recipe_only(precision, target),
        )

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of standardized faces ``(N, 3, 160, 160)``.

        Raises
        ------
        EngineError
            If the engine was closed or the run fails.
        """
        if self._session is None:
            raise EngineError(f"engine {self.info.artefact} was closed; build it again to run it.")
        try:
            (embeddings,) = self._session.run([self.output.name], {self.input.name: batch})
        except Exception as error:
            raise EngineError(f"engine {self.info.artefact}: a run failed: {error}") from None
        return np.asarray(embeddings)

    def run_many(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the embeddings of each batch in turn."""
        return map(self.run, batches)

    def work(self, batch: NDArray[np.float32], scope: Scope) -> Work:
        """Return a block of runs of a batch that lasts 50 ms or longer.

        On a CPU nothing is copied to a device.

        Raises
        ------
        EngineError
            If another scope than ``end-to-end`` is asked for.
        """
        if scope not in self.scopes:
            raise EngineError(
                f"engine {self.info.artefact}: scope {scope} cannot be timed on a CPU; expected "
                "end-to-end."
            )

        def block(count: int) -> None:
            for _ in range(count):
                self.run(batch)

        count = repetitions(block, time.perf_counter)
        return Work(partial(block, count), count * len(batch), len(batch), scope)

    def close(self) -> None:
        """Release the session and its threads."""
        self._session = None


def opened(path: Path, options: ort.SessionOptions, **providers: Any) -> Any:
    """Return a session of a file; of one with equal node names, with names of their own.

    ONNX allows equal names and ONNX Runtime does not. They mean nothing to what is computed.
    """
    try:
        return ort.InferenceSession(str(path), options, **providers)
    except Exception as error:  # ONNX Runtime raises its own classes, one for each cause
        if "same node name" not in str(error):
            raise
    model = load_onnx(path)
    name_nodes(model)
    return ort.InferenceSession(model.SerializeToString(), options, **providers)


def session_options(
    threads: int, *, emulated: bool
) -> tuple[ort.SessionOptions, tuple[tuple[str, str], ...]]:
    """Return a CPU session's options, and the pinned ones as they are stored with results.

    Those that decide a result or its speed are written out, most at ONNX Runtime's default, which
    differs between its builds and may change with its version. Threads are not bound to processors
    (``session.intra_op_thread_affinities``): that changed neither the speed nor its spread. A
    sequential session has no threads between operators whose spinning would matter.

    Parameters
    ----------
    threads : int
        Intra-op threads.
    emulated : bool
        Whether Q/DQ pairs are computed as they are written.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = True
    entries = {
        "session.intra_op.allow_spinning": "1",
        # Two engines are timed in turn: threads of the one at rest must not keep a core busy.
        "session.force_spinning_stop": "1",
        "session.dynamic_block_base": "0",
        "session.set_denormal_as_zero": "0",
        # What to do on a CPU without VNNI is the recipe's choice.
        "session.x64quantprecision": "0",
        "session.disable_quant_qdq": str(int(emulated)),
    }
    for entry, value in entries.items():
        options.add_session_config_entry(entry, value)
    return options, (
        ("intra_op_num_threads", str(threads)),
        ("inter_op_num_threads", "1"),
        ("execution_mode", "sequential"),
        ("graph_optimization_level", "all"),
        ("enable_cpu_mem_arena", "1"),
        ("enable_mem_pattern", "1"),
        *entries.items(),
    )


def recipe_only(precision: Precision, target: Target) -> bool:
    """Say whether the CPU provider computes in a higher precision than the graph's.

    It converts FP16 weights and computes in FP32 where it has no kernel; TensorRT's INT8 graphs
    are emulated.
    """
    return precision == "fp16" or (precision == "int8" and target == "tensorrt")


def session_tensor(values: list[Any], role: str, path: Path) -> TensorInfo:
    """Return the one input or output a session has.

    Raises
    ------
    EngineError
        If there are none or several.
    """
    if len(values) != 1:
        raise EngineError(f"{path}: {len(values)} {role}s; expected one.")
    value = values[0]
    return TensorInfo(value.name, _DTYPES.get(value.type, value.type), tuple(value.shape))
