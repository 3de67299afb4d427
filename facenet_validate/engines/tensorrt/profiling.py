"""How long the layers of a plan take, as TensorRT's profiler reports them.

Written after the bindings of TensorRT for RTX 1.7 and tried over a fake; never run on a device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from facenet_validate.engines.device.interface import Stream
from facenet_validate.engines.protocol import LayerTime, LayerTimes
from facenet_validate.engines.tensorrt.log import listening

if TYPE_CHECKING:
    import tensorrt as trt

    from facenet_validate.engines.tensorrt.graphs import LoadedPlan


def profiled_layers(
    plan: LoadedPlan, context: trt.IExecutionContext, stream: Stream, count: int
) -> LayerTimes:
    """Time the layers of a plan, enqueued without a CUDA graph.

    A context with a profiler reports each layer once an enqueue
    (``IExecutionContext.enqueue_emits_profile`` is true by default). The inspector tells which ONNX
    nodes a layer computes.

    Parameters
    ----------
    context : IExecutionContext
        Its shape and addresses are set. It keeps the profiler: nothing else may be timed with it.
    count : int
        How many runs, after one that warms up.

    Raises
    ------
    EngineError
        If TensorRT refuses a run.
    """
    source = f"{plan.library.name}'s profiler"
    profiler = _profiler(plan.library.module)
    context.profiler = profiler
    runs: list[dict[str, float]] = []
    with listening(plan.library.logger) as messages:
        for _ in range(count + 1):
            profiler.seconds = {}
            if not context.execute_async_v3(stream.handle):
                raise plan.refusal("time its layers", messages.errors)
            stream.synchronize()
            runs.append(profiler.seconds)
    origins = {layer.name: (layer.kind, layer.origin) for layer in plan.layers()}
    return _layers(source, runs[1:], origins)


def _layers(
    source: str,
    runs: Sequence[Mapping[str, float]],
    origins: Mapping[str, tuple[str, tuple[str, ...]]],
) -> LayerTimes:
    names = dict.fromkeys(name for run in runs for name in run)
    if not names:
        return LayerTimes(untold=f"{source} reported no layers")
    return LayerTimes(
        source,
        tuple(
            LayerTime(
                name, *origins.get(name, ("layer", ())), tuple(run.get(name, 0.0) for run in runs)
            )
            for name in names
        ),
    )


def _profiler(module: Any) -> Any:
    """Return a profiler that sums the seconds of layers by name."""

    class SummingProfiler(module.IProfiler):  # type: ignore[misc]  # the base comes with the module
        def __init__(self) -> None:
            module.IProfiler.__init__(self)
            self.seconds: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.seconds[layer_name] = self.seconds.get(layer_name, 0.0) + 1e-3 * ms

    return SummingProfiler()
