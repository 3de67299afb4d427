"""What TensorRT 10.x and 11.x have of the builder's surface, recording how it is used."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

from tests.engines.tensorrt.fake_listing import as_json, as_log, listing
from tests.engines.tensorrt.fake_network import IConvolutionLayer, Network

PLAN = b"plan "


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        pass


class IProgressMonitor:
    def __init__(self) -> None:
        pass


class _TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class IBuilderConfig:
    def __init__(self, module: FakeTensorRT) -> None:
        self._module = module
        self.profiles: list[Any] = []
        self.timing_cache: _TimingCache | None = None
        self.given_timings = b""
        self.profiling_verbosity = self.builder_optimization_level = self.progress_monitor = None

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        self._module.calls.append(("workspace", pool, size))

    def set_flag(self, flag: Any) -> None:
        self._module.calls.append(("set", flag.name))

    def clear_flag(self, flag: Any) -> None:
        self._module.calls.append(("clear", flag.name))

    def create_timing_cache(self, content: bytes) -> _TimingCache | None:
        if content and not content.startswith(b"timings"):
            return None
        return _TimingCache(content)

    def set_timing_cache(self, cache: _TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.content and not cache.content.startswith(b"timings " + self._module.gpu):
            return False
        self.timing_cache = cache
        self.given_timings = cache.content
        return True


class FakeTensorRT:
    """A module; ``calls`` says what was asked of it.

    Of an ONNX graph it parses and lists the layers, in the form of its version; other bytes are a
    network of one layer that is not listed. Its plans hold what the engine inspector gives of them.

    Parameters
    ----------
    compiled_in : str
        Type in which it compiles every product; empty for the network's.
    kernels : bool
        Whether it names its kernels.
    """

    gpu = b"A"
    ILogger = ILogger
    IProgressMonitor = IProgressMonitor
    IBuilderConfig = IBuilderConfig
    IConvolutionLayer = IConvolutionLayer
    Runtime = SimpleNamespace
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")

    def __init__(
        self,
        version: str,
        *,
        parser: tuple[int, int, int] = (10, 13, 0),
        compiled_in: str = "",
        kernels: bool = True,
    ) -> None:
        self.__version__ = version
        self.compiled_in, self.kernels = compiled_in, kernels
        self.get_nv_onnx_parser_version = lambda: parser
        self.calls: list[tuple[Any, ...]] = []
        self.configs: list[IBuilderConfig] = []
        if version.startswith("10."):
            flags = {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}
            self.BuilderFlag = SimpleNamespace(
                **{name: SimpleNamespace(name=name) for name in ("TF32", "FP16", "INT8")}
            )
        else:
            flags = {"STRONGLY_TYPED": 0}
            self.BuilderFlag = SimpleNamespace(TF32=SimpleNamespace(name="TF32"))
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**flags)

    def OnnxParser(self, network: Network, logger: Any) -> Any:  # noqa: N802
        def parse(content: bytes) -> bool:
            if b"odd" in content:
                logger.log(Severity.WARNING, "a warning of the parser")
            network.parse(content)
            return bool(content)

        return SimpleNamespace(num_errors=0, parse=parse)

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        return _Builder(self, logger)


class _Builder:
    def __init__(self, module: FakeTensorRT, logger: Any) -> None:
        self._module, self._logger = module, logger

    def create_network(self, flags: int) -> Network:
        self._module.calls.append(("network", flags))
        return Network()

    def create_builder_config(self) -> IBuilderConfig:
        self._module.configs.append(IBuilderConfig(self._module))
        return self._module.configs[-1]

    def create_optimization_profile(self) -> Any:
        shapes: list[Any] = []
        return SimpleNamespace(shapes=shapes, set_shape=lambda *given: shapes.append(given))

    def build_serialized_network(self, network: Network, config: IBuilderConfig) -> bytes | None:
        monitor: Any = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        going = monitor.step_complete("Building", 0) and monitor.step_complete("Building", 1)
        monitor.phase_finish("Building")
        if not going:
            return None
        self._logger.log(Severity.WARNING, "a warning of the builder")
        self._logger.log(Severity.VERBOSE, "one of 20,000 verbose messages")
        cache = config.timing_cache
        if cache is not None and b"conv" not in cache.content:
            cache.content = b"timings " + self._module.gpu + b" conv"
        self._module.calls.append(("built",))
        if not network.read:
            return b"plan"
        entries = self._listed(network, config)
        self._logger.log(Severity.VERBOSE, as_log(entries))
        return PLAN + as_json(entries, self._module.__version__).encode()

    def _listed(self, network: Network, config: IBuilderConfig) -> list[Any]:
        batches = {
            shape for profile in config.profiles for _, *shapes in profile for shape in shapes
        }
        return listing(
            network,
            self._module.__version__,
            batch=batches.pop()[0] if len(batches) == 1 else -1,
            compiled_in=self._module.compiled_in,
            kernels=self._module.kernels,
        )


def inspected(plan: bytes) -> str:
    """Return what the engine inspector gives of a plan."""
    return plan.removeprefix(PLAN).decode()
