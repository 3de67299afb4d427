"""What TensorRT 10.x and 11.x have of the builder's surface, recording how it is used."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any


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


class _Tensor(SimpleNamespace):
    pass


class _Network:
    num_inputs = num_outputs = num_layers = 1

    def __init__(self) -> None:
        dtype = SimpleNamespace(name="FLOAT")
        self._input = _Tensor(name="input", dtype=dtype, shape=(-1, 3, 8, 8))
        self._output = _Tensor(name="embeddings", dtype=dtype, shape=(-1, 3, 8, 8))

    def get_input(self, _index: int) -> Any:
        return self._input

    def get_output(self, _index: int) -> Any:
        return self._output

    def get_layer(self, _index: int) -> Any:
        return SimpleNamespace(
            name="relu",
            type=SimpleNamespace(name="ACTIVATION"),
            num_inputs=1,
            num_outputs=1,
            get_input=lambda _: self._input,
            get_output=lambda _: self._output,
        )


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
    """A module; ``calls`` says what was asked of it."""

    gpu = b"A"
    ILogger = ILogger
    IProgressMonitor = IProgressMonitor
    IBuilderConfig = IBuilderConfig
    Runtime = SimpleNamespace
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")

    def __init__(self, version: str, *, parser: tuple[int, int, int] = (10, 13, 0)) -> None:
        self.__version__ = version
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

    def OnnxParser(self, _network: Any, logger: Any) -> Any:  # noqa: N802
        def parse(content: bytes) -> bool:
            if b"odd" in content:
                logger.log(Severity.WARNING, "a warning of the parser")
            return bool(content)

        return SimpleNamespace(num_errors=0, parse=parse)

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        return _Builder(self, logger)


class _Builder:
    def __init__(self, module: FakeTensorRT, logger: Any) -> None:
        self._module, self._logger = module, logger

    def create_network(self, flags: int) -> _Network:
        self._module.calls.append(("network", flags))
        return _Network()

    def create_builder_config(self) -> IBuilderConfig:
        self._module.configs.append(IBuilderConfig(self._module))
        return self._module.configs[-1]

    def create_optimization_profile(self) -> Any:
        shapes: list[Any] = []
        return SimpleNamespace(shapes=shapes, set_shape=lambda *given: shapes.append(given))

    def build_serialized_network(self, _network: Any, config: IBuilderConfig) -> bytes | None:
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
        return b"plan"
