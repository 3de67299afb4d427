"""Engines on ONNX Runtime's CPU provider."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.engines.protocol import EngineInfo, TensorInfo
from facenet_validate.errors import EngineError
from facenet_validate.models.quantization.recipes import Precision, Target

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class OnnxRuntimeEngine:
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
    device : str
        The CPU's name.
    threads : int
        Intra-op threads, the processors this process may use.
    target : str
        What the artefact is made for. One for TensorRT is emulated: Q/DQ pairs are computed as
        they are written, in floating point, so that no kernel of this CPU saturates a sum.
    int8_share : float or None
        Share of multiply-adds in INT8.

    Raises
    ------
    EngineError
        If ONNX Runtime does not take the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        digest: str,
        precision: Precision,
        artefact: str,
        device: str,
        threads: int,
        target: Target = "cpu",
        int8_share: float | None = None,
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Two engines are timed in turn: the threads of the one at rest must not keep a core busy.
        entries = {"session.force_spinning_stop": "1"}
        emulated = precision == "int8" and target == "tensorrt"
        if emulated:
            entries["session.disable_quant_qdq"] = "1"
        for entry, value in entries.items():
            options.add_session_config_entry(entry, value)
        try:
            self._session: Any = ort.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises its own classes, one for each cause
            raise EngineError(
                f"{path}: ONNX Runtime {ort.__version__} cannot load it: {error}"
            ) from None
        self.input = _tensor(self._session.get_inputs(), "input", path)
        self.output = _tensor(self._session.get_outputs(), "output", path)
        self.info = EngineInfo(
            precision=precision,
            backend="onnxruntime",
            runtime=f"onnxruntime {ort.__version__}",
            device=device,
            options=(
                ("provider", "CPUExecutionProvider"),
                ("intra_op_num_threads", str(threads)),
                *entries.items(),
            ),
            digest=digest,
            artefact=artefact,
            # The CPU provider converts FP16 weights and computes in FP32 where it has no kernel.
            recipe_only=precision == "fp16" or emulated,
            int8_share=int8_share,
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

    def close(self) -> None:
        """Release the session and its threads."""
        self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _tensor(values: list[Any], role: str, path: Path) -> TensorInfo:
    if len(values) != 1:
        raise EngineError(f"{path}: {len(values)} {role}s; expected one.")
    value = values[0]
    return TensorInfo(value.name, _DTYPES.get(value.type, value.type), tuple(value.shape))
