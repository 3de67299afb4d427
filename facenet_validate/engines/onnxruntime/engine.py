"""Engines on ONNX Runtime's CPU provider."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.base.vocabulary import Precision, Target
from facenet_validate.engines.host_engine import HostEngine
from facenet_validate.engines.onnxruntime.profiling import profiled_layers
from facenet_validate.engines.onnxruntime.sessions import opened, session_options, session_tensor
from facenet_validate.engines.protocol import EngineInfo, InnerTensors, LayerTimes
from facenet_validate.models.passes import name_nodes
from facenet_validate.models.prepared import load_onnx


class OnnxRuntimeEngine(HostEngine):
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
        self._path, self._setting = path, partial(session_options, threads, emulated=emulated)
        options, pinned = self._setting()
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
        self._check_open()
        try:
            (embeddings,) = self._session.run([self.output.name], {self.input.name: batch})
        except Exception as error:
            raise EngineError(f"engine {self.info.artefact}: a run failed: {error}") from None
        return np.asarray(embeddings)

    def layer_times(self, batch: NDArray[np.float32], count: int) -> LayerTimes:
        """Time the layers in a session of their own, whose settings are those of this one.

        Raises
        ------
        EngineError
            If the engine was closed, its file is gone or a run fails.
        """
        self._check_open()
        options, _ = self._setting()
        try:
            return profiled_layers(self._path, options, {self.input.name: batch}, count)
        except Exception as error:  # ONNX Runtime raises its own classes, one for each cause
            raise EngineError(
                f"engine {self.info.artefact}: its layers cannot be timed: {error}"
            ) from None

    def inner_tensors(self, names: Sequence[str]) -> InnerTensors:
        """Return a session of its own that also gives these tensors, set up as this one.

        Raises
        ------
        EngineError
            If the engine was closed, or ONNX Runtime does not give one of the tensors.
        """
        self._check_open()
        model = load_onnx(self._path)
        name_nodes(model)
        # ONNX Runtime infers the types of outputs that state none.
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        options, _ = self._setting()
        asked = [self.output.name, *names]
        try:
            session = ort.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise EngineError(
                f"engine {self.info.artefact}: its inner tensors cannot be taken: {error}"
            ) from None

        def run(batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
            found = session.run(asked, {self.input.name: batch})
            return [np.asarray(values, np.float32) for values in found]

        return InnerTensors("ONNX Runtime, by added outputs", run)

    def close(self) -> None:
        """Release the session and its threads."""
        self._session = None

    def _check_open(self) -> None:
        if self._session is None:
            raise EngineError(f"engine {self.info.artefact} was closed; build it again to run it.")


def recipe_only(precision: Precision, target: Target) -> bool:
    """Say whether the CPU provider computes in a higher precision than the graph's.

    It converts FP16 weights and computes in FP32 where it has no kernel; TensorRT's INT8 graphs
    are emulated.
    """
    return precision == "fp16" or (precision == "int8" and target == "tensorrt")
