"""Sessions of ONNX Runtime: how every one of them is set up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.protocol import TensorInfo
from facenet_validate.models.passes import name_nodes
from facenet_validate.models.prepared import load_onnx

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}

CUDA_OPTIONS = (("use_tf32", "0"), ("cudnn_conv_algo_search", "EXHAUSTIVE"))
"""Options of the CUDA provider that change results or speed.

``EXHAUSTIVE`` is ONNX Runtime's default: cuDNN searches its fastest algorithm in the first run of
each shape, before any run is timed.
"""


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


def trial_session(path: Path, level: ort.GraphOptimizationLevel) -> Any:
    """Return a session on the CPU provider that is to try a graph once, without a word."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = level
    return opened(path, options, providers=["CPUExecutionProvider"])


def cuda_trial_session(path: Path, level: ort.GraphOptimizationLevel) -> Any:
    """Return a session on the CUDA provider that is to try a graph once."""
    return cuda_session(path, level=level)


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
