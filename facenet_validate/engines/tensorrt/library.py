"""The TensorRT package that builds and runs plans: which is installed, and what it can do."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.tensorrt.log import forwarding_logger
from facenet_validate.engines.tensorrt.packages import MODULES, NAMES, PlanBackend

if TYPE_CHECKING:
    import tensorrt as trt

_INSTALL: dict[PlanBackend, str] = {
    "tensorrt": (
        "Install TensorRT 10 or later: pip install 'facenet-validate[tensorrt]'. Its libraries "
        "come from the vendor's own index (docs/guide/gpu.md)"
    ),
    "tensorrt-rtx": "Install it: pip install 'facenet-validate[tensorrt-rtx]'",
}


@dataclass(frozen=True)
class Features:
    """What differs between TensorRT 10.x, 11.x and RTX, each found by a probe of the module.

    Attributes
    ----------
    strong_typing_flag : bool
        Whether a network is asked to be strongly typed. 10.x must be asked; the others always are,
        and take the flag where they still have it.
    timing_cache : bool
        Whether timings of tactics can be kept. RTX chooses tactics on the device it runs on: its
        timing cache is a deprecated no-op, and asking for one looked for a GPU in 1.1.
    compute_capabilities : bool
        Whether a plan is built for named compute capabilities, without one of their GPUs.
    tf32 : bool
        Whether FP32 layers may be computed in TF32 unless that is cleared.
    engine_validity : bool
        Whether a runtime says before deserialization if a plan fits this machine.
    """

    strong_typing_flag: bool
    timing_cache: bool
    compute_capabilities: bool
    tf32: bool
    engine_validity: bool


@dataclass(frozen=True)
class Library:
    """A TensorRT package.

    Attributes
    ----------
    module : module
        The imported package, or what stands for it in a test.
    backend : str
        ``tensorrt`` or ``tensorrt-rtx``.
    name : str
        For people.
    version : str
        Full version, as the module gives it.
    features : Features
        What it can do.
    """

    module: Any
    backend: PlanBackend
    name: str
    version: str
    features: Features

    @cached_property
    def logger(self) -> trt.ILogger:
        """The one logger of builders and runtimes: TensorRT keeps the first it is given."""
        return forwarding_logger(self.module)

    @property
    def parser_version(self) -> str:
        """Version of the ONNX parser, as a number of its own."""
        return str(self.module.get_nv_onnx_parser_version())


@cache
def find_library(backend: PlanBackend) -> Library:
    """Import the package of a backend.

    Raises
    ------
    EngineError
        If it is not installed, or its shared libraries cannot be loaded.
    """
    for name in MODULES[backend]:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name == name:
                continue
            raise _broken(backend, error) from None
        except (ImportError, OSError) as error:
            raise _broken(backend, error) from None
        if hasattr(module, "Builder"):
            return describe_library(module, backend)
        # Type stubs leave a folder without code, which imports as an empty namespace.
    tried = " or ".join(MODULES[backend])
    raise EngineError(
        f"{NAMES[backend]} is not installed: expected a module {tried} with a Builder. "
        f"{_INSTALL[backend]}."
    )


def describe_library(module: Any, backend: PlanBackend) -> Library:
    """Return an imported package with what it can do."""
    config = module.IBuilderConfig
    return Library(
        module,
        backend,
        NAMES[backend],
        str(module.__version__),
        Features(
            strong_typing_flag=hasattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"),
            timing_cache=backend == "tensorrt" and hasattr(config, "create_timing_cache"),
            compute_capabilities=hasattr(config, "set_compute_capability"),
            tf32=hasattr(module.BuilderFlag, "TF32"),
            engine_validity=hasattr(module.Runtime, "get_engine_validity"),
        ),
    )


def _broken(backend: PlanBackend, error: Exception) -> EngineError:
    return EngineError(
        f"{NAMES[backend]} is installed but cannot be loaded: {error}. Its shared libraries must "
        f"be of the same version and found by the loader. {_INSTALL[backend]}."
    )
