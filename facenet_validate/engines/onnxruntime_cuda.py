"""Engines on ONNX Runtime's CUDA provider, timed with inputs and outputs bound to the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.base.closing import Closing
from facenet_validate.base.errors import EngineError
from facenet_validate.engines.blocks import repetitions
from facenet_validate.engines.onnxruntime import opened, session_tensor
from facenet_validate.engines.protocol import EngineInfo, Scope, Work

CUDA_OPTIONS = (("use_tf32", "0"),)
"""Options of the CUDA provider that change results or speed."""


class OnnxRuntimeCudaEngine(Closing):
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

    scopes: tuple[Scope, ...] = ("device", "end-to-end")

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
            If the engine was closed or the run fails.
        """
        session = self._open()
        try:
            (embeddings,) = session.run([self.output.name], {self.input.name: batch})
        except Exception as error:  # ONNX Runtime raises its own classes, one for each cause
            raise self._failed(error) from None
        return np.asarray(embeddings)

    def run_many(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the embeddings of each batch in turn."""
        return map(self.run, batches)

    def work(self, batch: NDArray[np.float32], scope: Scope) -> Work:
        """Return a block of runs of a batch that lasts about 50 ms or longer.

        ``device`` has the batch and the embeddings in the device's memory and synchronises once a
        block. ``end-to-end`` copies both, from and to ordinary memory, with every run.

        Raises
        ------
        EngineError
            If the scope is unknown, the engine was closed or the run fails.
        """
        if scope not in self.scopes:
            raise EngineError(
                f"engine {self.info.artefact}: scope {scope} cannot be timed; expected "
                f"{' or '.join(self.scopes)}."
            )
        block = self._resident(batch) if scope == "device" else partial(self._copying, batch)
        count = repetitions(block, time.perf_counter)
        return Work(partial(block, count), count * len(batch), len(batch), scope)

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

    def _copying(self, batch: NDArray[np.float32], count: int) -> None:
        for _ in range(count):
            self.run(batch)

    def _resident(self, batch: NDArray[np.float32]) -> Callable[[int], None]:
        """Return a block over a batch that lies on the device."""
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

        return block


def cuda_session(
    path: Path,
    provider: str = "CUDAExecutionProvider",
    device_id: int = 0,
    *,
    level: ort.GraphOptimizationLevel | None = None,
) -> Any:
    """Return a session on a provider of a device's memory, on that provider alone.

    Parameters
    ----------
    level : ort.GraphOptimizationLevel, optional
        How much is optimised; ONNX Runtime's default if not given.

    Raises
    ------
    EngineError
        If the provider is not installed or does not start, or ONNX Runtime does not take the file.
    """
    installed = ort.get_available_providers()
    if provider not in installed:
        raise EngineError(
            f"ONNX Runtime {ort.__version__} has no {provider}; found {', '.join(installed)}. "
            "Install the build that has it in place of the other: pip uninstall onnxruntime, then "
            "pip install onnxruntime-gpu."
        )
    if provider == "CUDAExecutionProvider" and hasattr(ort, "preload_dlls"):
        # Finds CUDA and cuDNN where pip has put them.
        ort.preload_dlls()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if level is not None:
        options.graph_optimization_level = level
    options.add_session_config_entry("session.force_spinning_stop", "1")
    settings: dict[str, str] = {}
    if provider == "CUDAExecutionProvider":
        # A node without a kernel would run on the CPU unseen; FP32 in TF32 would not be FP32.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        settings = {"device_id": str(device_id), **dict(CUDA_OPTIONS)}
    try:
        session: Any = opened(path, options, providers=[provider], provider_options=[settings])
    except Exception as error:
        raise EngineError(
            f"{path}: ONNX Runtime {ort.__version__} cannot load it on {provider}: {error}"
        ) from None
    started = session.get_providers()
    if provider not in started:
        raise EngineError(
            f"{path}: {provider} did not start and ONNX Runtime fell back to "
            f"{', '.join(started)}. The libraries it needs, CUDA and cuDNN of the versions it was "
            "built with, were not found: pip install 'onnxruntime-gpu[cuda,cudnn]'."
        )
    return session
