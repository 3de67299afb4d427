"""Engines on ONNX Runtime's CUDA provider, timed with inputs and outputs bound to the device."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.blocks import HostBlock, calibrated, check_scope
from facenet_validate.engines.host_engine import HostEngine
from facenet_validate.engines.inputs import check_batch
from facenet_validate.engines.onnxruntime.sessions import cuda_session, session_tensor
from facenet_validate.engines.protocol import DEVICE_SCOPES, EngineInfo, Outputs, Scope, Work


class OnnxRuntimeCudaEngine(HostEngine):
    """An ONNX file on a provider whose memory is a device's.

    Parameters
    ----------
    path : Path
        FP32, FP16 or Q/DQ ONNX.
    info : EngineInfo
        What it is.
    provider : str
        ONNX Runtime's name of the provider.
    device_type, device_id : str, int
        Where inputs and outputs lie for device time.

    Raises
    ------
    EngineError
        If the provider is not installed or does not start, or ONNX Runtime does not take the file.
    """

    scopes = DEVICE_SCOPES

    def __init__(
        self,
        path: Path,
        *,
        info: EngineInfo,
        provider: str = "CUDAExecutionProvider",
        device_type: str = "cuda",
        device_id: int = 0,
    ) -> None:
        self._provider = provider
        self._place = device_type, device_id
        self._session: Any = cuda_session(path, provider, device_id)
        self.input = session_tensor(self._session.get_inputs(), "input", path)
        self.output = session_tensor(self._session.get_outputs(), "output", path)
        self.info = info

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of standardized faces ``(N, 3, 160, 160)``.

        Raises
        ------
        EngineError
            If the engine was closed, the batch has another dtype or shape, or the run fails.
        """
        session = self._open()
        check_batch(batch, self.input, self.info.artefact)
        try:
            (embeddings,) = session.run([self.output.name], {self.input.name: batch})
        except Exception as error:  # ONNX Runtime raises its own classes, one for each cause
            raise self._failed(error) from None
        return np.asarray(embeddings)

    def work(self, batch: NDArray[np.float32], scope: Scope) -> Work:
        """Return a block of runs of a batch that lasts about 50 ms or longer.

        ``device`` has the batch and the embeddings in the device's memory and synchronises once a
        block. ``end-to-end`` copies both, from and to ordinary memory, with every run.

        Raises
        ------
        EngineError
            If the scope is unknown, the engine was closed or the run fails.
        """
        check_scope(self.info, scope, self.scopes)
        if scope == "device":
            work = self._resident(batch)
        else:
            block = HostBlock(self, batch)
            work = Work(block, 1, len(batch), scope, block.outputs())
        return calibrated(work, time.perf_counter)

    def close(self) -> None:
        """Release the session and what it holds of the device."""
        self._session = None

    def _open(self) -> Any:
        if self._session is None:
            raise EngineError(f"engine {self.info.artefact} was closed; load it again to run it.")
        return self._session

    def _failed(self, error: Exception) -> EngineError:
        return EngineError(
            f"engine {self.info.artefact}: a run on {self._provider} failed: {error}"
        )

    def _resident(self, batch: NDArray[np.float32]) -> Work:
        """Return blocks over a batch that lies on the device, as its embeddings do."""
        session = self._open()
        try:
            images = ort.OrtValue.ortvalue_from_numpy(batch, *self._place)
            # The width is known after one run only where the graph leaves it open.
            width = self.run(batch[:1]).shape[1]
            embeddings = ort.OrtValue.ortvalue_from_shape_and_type(
                (len(batch), width), np.float32, *self._place
            )
            binding = session.io_binding()
            binding.bind_ortvalue_input(self.input.name, images)
            binding.bind_ortvalue_output(self.output.name, embeddings)
            binding.synchronize_inputs()
        except EngineError:
            raise
        except Exception as error:
            raise self._failed(error) from None

        def block(count: int) -> None:
            opened = self._open()
            try:
                for _ in range(count):
                    opened.run_with_iobinding(binding)  # returns when the device is done
            except Exception as error:
                raise self._failed(error) from None

        spoilt = np.full((len(batch), width), np.nan, np.float32)
        outputs = Outputs(
            untimed=partial(self.run, batch),
            spoil=lambda: embeddings.update_inplace(spoilt),
            left=lambda: (embeddings.numpy(),),
        )
        return Work(block, 1, len(batch), "device", outputs)
