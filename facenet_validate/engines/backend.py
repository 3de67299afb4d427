"""What every backend answers. `facenet_validate.engines.backends` lists them.

A backend's module is imported when pytest starts: heavy libraries are imported inside its methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.progress import Progress, Report
from facenet_validate.base.versions import distribution_version
from facenet_validate.base.vocabulary import TARGETS, Precision, Target
from facenet_validate.engines.protocol import HOST_SCOPES, Engine, Scope
from facenet_validate.models.quantization.recipes import Around, choose_target

if TYPE_CHECKING:
    from facenet_validate.cache import Cache
    from facenet_validate.engines.artefacts import Artefact
    from facenet_validate.engines.build_facts import BuildFacts
    from facenet_validate.engines.device.interface import Device, GpuAddress, GpuFacts
    from facenet_validate.engines.device.probe import Gpu
    from facenet_validate.engines.supplied import SuppliedEngine
    from facenet_validate.models.prepared import PreparedModel

Stage = Callable[[str], AbstractContextManager[Report]]
"""Shows a stage of work by its title; its report is called with (done, total)."""

silent: Stage = Progress(None).stage

Profile = Literal["dynamic", "static"]
"""Whether a plan's profile takes every batch up to its size, or batches of that size alone."""

PROFILES: tuple[Profile, ...] = ("dynamic", "static")

_WANTED = {
    "facenet_workspace": "a TensorRT backend",
    "facenet_optimization_level": "a TensorRT backend",
    "facenet_profile": "a TensorRT backend",
    "facenet_scope": "a GPU",
}
"""Options that mean nothing to some backends, and what they mean something to."""


@dataclass(frozen=True)
class Cpu:
    """The processors of this machine.

    Attributes
    ----------
    name, details : str
        What it is called, and the rest of its identity.
    threads : int
        Intra-op threads of every engine on it.
    """

    name: str
    details: str
    threads: int


@dataclass(frozen=True)
class BuildRequest:
    """What the user asks of a build; a backend takes of it what means something to it.

    Attributes
    ----------
    batch_sizes : tuple of int
        Batches that the engine will run, at least one.
    workspace_mib : int or None
        Limit of the memory that a layer may work in, in MiB; None for the library's own.
    optimization_level : int or None
        0, quick to build, to 5; None for the library's own.
    profile : {"dynamic", "static"}
        Which batches a plan takes.
    int8_around : {"fp16", "fp32"} or None
        Floating point around INT8; None for the target's own.
    """

    batch_sizes: tuple[int, ...]
    workspace_mib: int | None = None
    optimization_level: int | None = None
    profile: Profile = "dynamic"
    int8_around: Around | None = None


@dataclass(frozen=True)
class EngineContext:
    """What engines are made from and run on.

    Attributes
    ----------
    model : PreparedModel
        What they are made from and compared with.
    target : str
        What INT8 recipes are for.
    cache : Cache
        Where artefacts are kept.
    request : BuildRequest
        What is asked of a build.
    cpu : Cpu
        This machine's processors.
    device : callable
        Returns the GPU, opened when first called; a backend for CPUs never calls it.
    gpu_facts : callable
        Returns how the GPU is set up; None where that cannot be known.
    any_embedding_size : bool
        Whether a supplied engine's embeddings may have another size than the model's.
    """

    model: PreparedModel
    target: Target
    cache: Cache
    request: BuildRequest
    cpu: Cpu
    device: Callable[[], Device] = field(repr=False)
    gpu_facts: Callable[[], GpuFacts | None] = field(repr=False, default=lambda: None)
    any_embedding_size: bool = False


@dataclass(frozen=True)
class Backend(ABC):
    """What runs the engines of a run.

    The defaults are those of a backend on a CPU that loads ONNX graphs as they are. A class says
    what holds of the backend everywhere; an object also knows why a run uses it.

    Attributes
    ----------
    name : str
        As ``--facenet-backend`` has it.
    install : str
        How its library is installed.
    distributions : tuple of str
        Distributions that may hold its library; the first installed one tells the version.
    modules : tuple of str
        Modules of which one must be there, beside a distribution; empty where that is enough.
    automatic : bool
        Whether ``auto`` may choose it.
    scopes : tuple of str
        What its engines can time; the default comes first.
    build_options : tuple of str
        Options of a build that mean something to it, as ``facenet_workspace``.
    stored_required_in_ci : bool
        Whether too few stored sessions fail in CI. A GPU runner exists to gate.
    version : str
        Its library's version.
    why : str
        Why it was chosen, for people.
    unavailable : str
        Why its engines can be built but not run here; empty if they can be run.
    """

    name: ClassVar[str]
    install: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]
    modules: ClassVar[tuple[str, ...]] = ()
    automatic: ClassVar[bool] = False
    scopes: ClassVar[tuple[Scope, ...]] = HOST_SCOPES
    build_options: ClassVar[tuple[str, ...]] = ()
    stored_required_in_ci: ClassVar[bool] = False

    version: str
    why: str
    unavailable: str = ""

    # Before it is chosen.

    @classmethod
    def installed_version(cls) -> str:
        """Return the version of its library; empty where it is not installed."""
        if cls.modules and not any(_has_module(module) for module in cls.modules):
            return ""
        return distribution_version(*cls.distributions)

    @classmethod
    def why_not_here(cls, gpu: Gpu) -> str:
        """Return why its engines cannot run on this machine; empty if they can."""
        del gpu
        return ""

    @classmethod
    def why_not_automatic(cls, gpu: Gpu) -> str:
        """Return why ``auto`` does not choose it on this machine; empty if it may."""
        return cls.why_not_here(gpu)

    @classmethod
    def installation(cls, no_device: str) -> str:
        """Return what is installed of it, for people.

        Parameters
        ----------
        no_device : str
            Why no CUDA device can be used; empty if one can.
        """
        del no_device
        return cls.installed_version() or f"not installed ({cls.install})"

    @classmethod
    def own_engine(cls, path: Path) -> SuppliedEngine | None:
        """Return what a file in its own format tells; None for a file that is not its own.

        Raises
        ------
        EngineError
            If the file is its own and damaged.
        """
        del path
        return None

    # Before collection.

    @property
    def cannot_run(self) -> str:
        """Why its engines cannot be run here, for people; empty if they can."""
        return f"{self.name} cannot run here: {self.unavailable}" if self.unavailable else ""

    def choose_target(
        self, asked: str, origin: str, cpu_flags: AbstractSet[str]
    ) -> tuple[Target, str]:
        """Return the target of recipes, and why it was chosen.

        Parameters
        ----------
        asked : str
            ``auto`` or a target.
        origin : str
            Where it was asked for, for messages.
        cpu_flags : set of str
            Instruction sets of this machine's CPU.

        Raises
        ------
        SettingsError
            If its engines do not take that target's recipes.
        """
        if asked == "auto":
            return choose_target(cpu_flags)
        target = next(known for known in TARGETS if known == asked)
        return target, f"asked for by {origin}"

    def check_options(self, origins: Mapping[str, str], scope: str) -> None:
        """Check that what the command line asks for means something to this backend.

        In a variable or an ini file it may be meant for other machines.

        Parameters
        ----------
        origins : mapping
            Option → where it was given, as ``--facenet-scope``.
        scope : str
            ``auto`` or a scope.

        Raises
        ------
        SettingsError
            Naming the option.
        """
        known = {*self.build_options}
        if scope in ("auto", *self.scopes):
            known.add("facenet_scope")
        for option, wanted in _WANTED.items():
            origin = origins.get(option, "")
            if option not in known and origin.startswith("--"):
                raise SettingsError(
                    f"{origin} means nothing to {self.name}; expected {wanted}. Leave it out, or "
                    "name one with --facenet-backend."
                )

    def check_file(self, path: Path) -> None:
        """Check a supplied engine's file, as far as that needs neither a device nor the model.

        Raises
        ------
        EngineError
            If it is a file of this backend's own format that cannot be loaded here.
        """
        del path

    def check_runs(self, path: Path, image_size: int, embedding_size: int) -> None:
        """Check that a supplied ONNX engine runs, where its engines run such a graph here.

        Parameters
        ----------
        image_size, embedding_size : int
            What the graph says that it reads and gives.

        Raises
        ------
        EngineError
            If it does not run.
        """
        del path, image_size, embedding_size

    # While engines are made.

    def build(self, graph: Artefact, context: EngineContext, stage: Stage = silent) -> Artefact:
        """Return what an engine of a graph is loaded from: here, the graph itself.

        Raises
        ------
        EngineError
            If it cannot be built.
        """
        del context, stage
        return graph

    def supplied(
        self, path: Path, precision: Precision, context: EngineContext, stage: Stage = silent
    ) -> Artefact:
        """Return what a supplied engine is loaded from, after checking its contract.

        Raises
        ------
        FacenetValidateError
            If it is not loaded by this backend, or breaks the contract.
        """
        from facenet_validate.engines.supplied import supplied_artefact

        artefact = supplied_artefact(
            path, precision, context.model, any_embedding_size=context.any_embedding_size
        )
        return self.build(artefact, context, stage)

    def facts(self, artefact: Artefact, model: PreparedModel) -> BuildFacts:
        """Return what was built, as far as it can be told without running it."""
        from facenet_validate.engines.build_facts import graph_facts

        return graph_facts(artefact, model)

    @abstractmethod
    def recipe_only(self, precision: Precision, target: Target) -> bool:
        """Say whether it computes in a higher precision than the artefact's."""

    @abstractmethod
    def load(self, artefact: Artefact, context: EngineContext) -> Engine:
        """Load an artefact.

        Raises
        ------
        EngineError
            If the backend does not take it.
        """

    def device_memory(self, context: EngineContext) -> int | None:
        """Return the bytes in use of the device's memory; None where engines use the host's."""
        del context
        return None

    # For reports and timing.

    def device_name(self, cpu_name: str) -> str:
        """Return the name of what its engines run on."""
        return cpu_name

    def watched_gpu(self) -> GpuAddress | None:
        """Return where the GPU to watch while engines are timed is; None without one."""
        return None

    def setup_text(self, threads: int) -> str:
        """Return what a run's header adds to the backend's name: on a CPU, its threads."""
        return f"; {threads} threads"

    def artefact_lines(self, precision: str, path: str) -> list[str]:
        """Return the lines of a summary about an engine's artefact."""
        del precision, path
        return []


def _has_module(name: str) -> bool:
    """Say whether a module is there. Type stubs leave a folder without an ``__init__``."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None
