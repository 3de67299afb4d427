"""An ONNX graph compiled by OpenVINO for this machine's CPU."""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import EngineError
from facenet_validate.base.vocabulary import Precision
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.backend import Cpu
from facenet_validate.engines.host_engine import HostEngine
from facenet_validate.engines.inputs import check_batch
from facenet_validate.engines.protocol import ComputedPrecision, EngineInfo, TensorInfo
from facenet_validate.models.network import multiply_adds
from facenet_validate.models.prepared import PreparedModel, load_onnx

# What a compiled layer computes in → precision. BF16 is a half precision too.
_PRECISIONS = {"f32": "fp32", "f16": "fp16", "bf16": "fp16", "u8": "int8", "i8": "int8"}
_FRAMES = ("Exception from", "Check '", "FrontEnd API", "While validating", "Conversion is failed")


class OpenVinoEngine(HostEngine):
    """An ONNX graph on OpenVINO's CPU plugin; one compiled model runs batches of every size.

    FP16 is the recipe's typed graph, computed in FP16 or BF16 as the CPU has it. Computed in BF16,
    the FP32 model is no nearer to FP32: its row cosines have a mean of 0.999947 and a minimum of
    0.99977 over 514 faces of LFW, those of the typed graph 0.999956 and 0.99987.

    Raises
    ------
    EngineError
        If OpenVINO is not installed, does not take the graph, or compiles it in another precision.
    """

    def __init__(self, artefact: Artefact, cpu: Cpu) -> None:
        precision, floating = artefact.precision, float_type(artefact.precision)
        settings = {
            "INFERENCE_PRECISION_HINT": floating,
            "EXECUTION_MODE_HINT": "ACCURACY",  # only what the graph quantises is quantised
            "INFERENCE_NUM_THREADS": str(cpu.threads),
            "NUM_STREAMS": "1",
            "ENABLE_HYPER_THREADING": "YES",  # the run's threads are logical processors
            "ENABLE_CPU_PINNING": "NO",  # as with ONNX Runtime, they are bound to none
        }
        self._model: Any = _compiled(str(artefact.path), settings)
        # All calls share one request, which is busy while a call of another thread runs.
        self._one_call = Lock()
        self.input = _tensor(self._model.input(), "input")
        self.output = _tensor(self._model.output(), "embeddings")
        self._layers = _multiplying_layers(self._model)
        types = Counter(kind for kind, _ in self._layers)
        self._types = ", ".join(f"{count} {kind}" for kind, count in types.most_common())
        self.info = EngineInfo(
            precision=precision,
            backend="openvino",
            runtime=f"openvino {_library().__version__.partition('-')[0]}",
            device=cpu.name,
            device_details=cpu.details,
            options=(("device", "CPU"), *settings.items(), ("compiled layers", self._types)),
            digest=artefact.digest,
            artefact=artefact.path.name if artefact.supplied else artefact.recipe,
            recipe_only=precision == "fp16" and floating == "f32",
        )
        agreeing = sum(n for kind, n in types.items() if _PRECISIONS.get(kind) == precision)
        # Recipes of FP16 and INT8 leave some layers in FP32; an FP32 engine has no others.
        least = types.total() if precision == "fp32" else types.total() / 2
        if agreeing < least and not self.info.recipe_only:
            raise EngineError(
                f"engine {artefact.path}: OpenVINO compiled its layers in {self._types}; expected "
                f"{precision}. Take another backend for it."
            )

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return embeddings ``(N, D)`` of standardized faces ``(N, 3, H, W)``."""
        if self._model is None:
            raise EngineError(f"engine {self.info.artefact} was closed; build it again to run it.")
        check_batch(batch, self.input, self.info.artefact)  # OpenVINO would cast it
        # OpenVINO answers an empty batch with the last embeddings, or refuses all later batches.
        if not len(batch):
            raise EngineError(f"engine {self.info.artefact}: an empty batch; expected faces.")
        try:
            with self._one_call:
                return np.asarray(self._model(batch)[0])
        except RuntimeError as error:
            raise EngineError(f"engine {self.info.artefact}: a run failed: {_why(error)}") from None

    def computed_precision(self, model: PreparedModel) -> ComputedPrecision:
        """Return the share of multiply-adds in each precision, by the compiled layers."""
        graph = load_onnx(model.entry.path)
        names = {node.output[0]: node.name for node in graph.graph.node}
        kinds = {node: _PRECISIONS.get(kind, kind) for kind, of in self._layers for node in of}
        sums: Counter[str] = Counter()
        for layer, count in multiply_adds(graph).items():
            sums[kinds.get(names[layer], "unknown")] += count
        shares = {precision: count / sums.total() for precision, count in sums.items()}
        return ComputedPrecision(f"OpenVINO's compiled layers: {self._types}", shares)

    def close(self) -> None:
        """Release the compiled model and its threads."""
        self._model = None


def float_type(precision: Precision) -> str:
    """Return what OpenVINO is to compute floating point in: ``f32``, ``f16`` or ``bf16``.

    Its default is BF16 where the CPU has it, for FP32 too; a CPU without may simulate BF16.
    """
    if precision != "fp16":
        return "f32"
    has = _library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "f16" if "FP16" in has else "bf16" if "BF16" in has else "f32"


def _library() -> Any:
    """Return OpenVINO. Without its telemetry package, its import sends and stores nothing."""
    hidden = sys.modules.setdefault("openvino_telemetry", None) is None  # type: ignore[arg-type]
    try:
        return import_module("openvino")
    except ImportError as error:
        hint = "Expected: pip install 'facenet-validate[openvino]'."
        raise EngineError(f"OpenVINO cannot be imported: {error}. {hint}") from None
    finally:
        if hidden:
            del sys.modules["openvino_telemetry"]


def _compiled(path: str, settings: dict[str, str]) -> Any:
    try:
        return _library().Core().compile_model(path, "CPU", settings)
    except RuntimeError as error:
        raise EngineError(f"engine {path}: OpenVINO does not take it: {_why(error)}") from None


def _why(error: RuntimeError) -> str:
    """Return the line of an error that names operators, else the last that is no place in code."""
    lines = [line.strip(" -.") for line in str(error).splitlines()]
    reasons = [line for line in reversed(lines) if line and not line.startswith(_FRAMES)]
    return f"{max(reasons, key=lambda line: 'operations: ' in line, default='no reason given')}."


def _tensor(port: Any, name: str) -> TensorInfo:
    """Return what an input or output is; one behind a cast also has the cast's name."""
    known = name if name in port.names else port.any_name
    sides = (side.get_length() if side.is_static else str(side) for side in port.partial_shape)
    return TensorInfo(known, np.dtype(port.element_type.to_dtype()).name, tuple(sides))


def _multiplying_layers(model: Any) -> list[tuple[str, list[str]]]:
    """Return what each layer with weights computes in, and which of the graph's nodes it is."""
    layers = [layer.get_rt_info() for layer in model.get_runtime_model().get_ops()]
    return [
        (layer["runtimePrecision"].astype(str), layer["originalLayersNames"].astype(str).split(","))
        for layer in layers
        if layer["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul")
    ]
