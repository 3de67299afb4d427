"""A typed ONNX graph → a serialized plan."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, cast

from facenet_validate.base.errors import EngineError
from facenet_validate.base.progress import Report
from facenet_validate.engines.tensorrt.inspection import CompiledReport, compiled_report
from facenet_validate.engines.tensorrt.layer_lists import layers_from_log
from facenet_validate.engines.tensorrt.library import Library
from facenet_validate.engines.tensorrt.log import Messages, listening
from facenet_validate.engines.tensorrt.monitor import Monitor, progress_monitor
from facenet_validate.engines.tensorrt.network import (
    NetworkReport,
    describe_network,
    parse_network,
    shape_of,
)
from facenet_validate.engines.tensorrt.options import BuildOptions
from facenet_validate.engines.tensorrt.start import start_builder

if TYPE_CHECKING:
    import tensorrt as trt

BUILD_VERSION = 2
"""Changes whenever the same graph and options would be built in another way."""


@dataclass(frozen=True)
class BuildResult:
    """A plan, and what its build told.

    Attributes
    ----------
    plan : bytes
        Serialized; other bytes at each build.
    timing_cache : bytes or None
        Timings, the given ones included; None where the library keeps none.
    report : NetworkReport
        Of the parsed network.
    compiled : CompiledReport or None
        Of the compiled plan, where the builder listed its layers.
    log : str
        Everything the library said, verbose messages but the list of layers left out.
    messages : tuple of str
        Its warnings and errors, for people.
    parse_messages : tuple of str
        Those of them that the parser gave.
    seconds : float
        From the ONNX bytes to the plan.
    """

    plan: bytes
    timing_cache: bytes | None
    report: NetworkReport
    compiled: CompiledReport | None
    log: str
    messages: tuple[str, ...]
    parse_messages: tuple[str, ...]
    seconds: float


def build_plan(
    library: Library,
    onnx_bytes: bytes,
    options: BuildOptions,
    *,
    timing_cache: bytes | None = None,
    progress: Report | None = None,
) -> BuildResult:
    """Build a strongly typed plan; what is in which precision is the graph's to say.

    Parameters
    ----------
    onnx_bytes : bytes
        FP32, typed FP16, or Q/DQ INT8 with symmetric scales.
    timing_cache : bytes, optional
        Timings of an earlier build by the same library on the same GPU; ignored, with a note in the
        log, where the library does not take them.
    progress : callable, optional
        Called with (done, total); an exception of it cancels the build and is raised.

    Raises
    ------
    EngineError
        If no builder can be started, or the graph cannot be parsed or built.
    KeyboardInterrupt
        If the build was interrupted: it is cancelled at the library's next step first.
    """
    started = time.monotonic()
    monitor = Monitor(progress)
    with listening(library.logger) as messages, _interrupts(monitor):
        builder = start_builder(library)
        network = builder.create_network(_network_flags(library))
        before = len(messages.shown)
        parser = parse_network(library, network, onnx_bytes)
        complaints = messages.shown[before:]
        report = describe_network(library, network)
        config = _configured(library, builder, network, options)
        timings = _set_timing_cache(library, config, timing_cache, messages)
        # The configuration does not own its monitor: it must live as long as the build.
        config.progress_monitor = kept = progress_monitor(library.module, monitor)
        memory = builder.build_serialized_network(network, config)
        del kept, parser
        monitor.raise_what_cancelled()
        if memory is None:
            raise EngineError(
                f"{library.name} {library.version} cannot build the network:\n"
                f"{messages.errors or 'it gave no reason'}\n"
                f"Options: {options.inputs()}."
                + (
                    ""
                    if options.workspace_bytes is None
                    else f" Its workspace is limited to {options.workspace_bytes / 2**20:g} MiB, "
                    "of which RTX takes room for the whole network; give it more, or no limit."
                )
            )
        plan = bytes(memory)
        kept_timings = bytes(timings.serialize()) if timings is not None else None
    layers = layers_from_log(messages.layers)
    return BuildResult(
        plan,
        kept_timings,
        report,
        compiled_report(layers, report.multiplying) if layers else None,
        messages.text(),
        messages.shown,
        complaints,
        time.monotonic() - started,
    )


def parsed_report(library: Library, onnx_bytes: bytes) -> NetworkReport:
    """Return what a graph's parsed network computes in which type, without building it.

    Raises
    ------
    EngineError
        If no builder can be started, or the graph cannot be parsed.
    """
    builder = start_builder(library)
    network = builder.create_network(_network_flags(library))
    parser = parse_network(library, network, onnx_bytes)
    report = describe_network(library, network)
    del parser
    return report


def _network_flags(library: Library) -> int:
    if not library.features.strong_typing_flag:
        return 0
    return 1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _configured(
    library: Library,
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    options: BuildOptions,
) -> trt.IBuilderConfig:
    module = library.module
    config = builder.create_builder_config()
    for profile in options.profiles:
        _add_profile(builder, network, config, profile)
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if library.features.tf32:
        config.clear_flag(module.BuilderFlag.TF32)
    # The list of compiled layers, with types, is only there with all details.
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    if hasattr(module.BuilderFlag, "REQUIRE_USER_ALLOCATION"):
        # RTX otherwise may allocate while it runs, which a CUDA graph cannot capture.
        config.set_flag(module.BuilderFlag.REQUIRE_USER_ALLOCATION)
    return config


def _add_profile(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    batches: tuple[int, int, int],
) -> None:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *rest = shape_of(tensor)
        if any(size < 0 for size in rest):
            raise EngineError(
                f"input {tensor.name!r} has shape {(batch, *rest)}: expected a batch dimension "
                "that may be dynamic, and fixed ones behind it."
            )
        if batch not in (-1, *set(batches)) or (batch > 0 and len(set(batches)) > 1):
            raise EngineError(
                f"input {tensor.name!r} takes batches of {batch} only, but the profile asks for "
                f"{batches[0]} to {batches[2]}. Export it with a dynamic batch, or prepare it: "
                "facenet-validate prepare."
            )
        # Any sequence is taken as Dims, which the stubs do not say.
        smallest, usual, largest = (cast("Any", (size, *rest)) for size in batches)
        profile.set_shape(tensor.name, smallest, usual, largest)
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"the optimisation profile {batches} was not taken.")


def _set_timing_cache(
    library: Library, config: trt.IBuilderConfig, timings: bytes | None, messages: Messages
) -> trt.ITimingCache | None:
    if not library.features.timing_cache:
        return None
    for serialized in (timings, b""):
        if serialized is None:
            continue
        cache = _timing_cache(config, serialized)
        if cache is not None:
            return cache
        messages.add("WARNING", f"a timing cache of {len(serialized)} bytes was not taken")
    return None


def _timing_cache(config: trt.IBuilderConfig, serialized: bytes) -> trt.ITimingCache | None:
    """Give a configuration its timings; None where they are damaged or of another GPU."""
    try:
        cache = config.create_timing_cache(serialized)
        taken = cache is not None and config.set_timing_cache(cache, ignore_mismatch=False)
    except (RuntimeError, TypeError, ValueError):
        return None
    return cache if taken else None


@contextlib.contextmanager
def _interrupts(monitor: Monitor) -> Iterator[None]:
    """Make Ctrl-C cancel the build. A callback of the library would lose KeyboardInterrupt."""

    def cancel(_number: int, _frame: FrameType | None) -> None:
        monitor.cancel(KeyboardInterrupt())

    # Only the main thread receives signals and may say what they do.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
