"""What backends on a GPU have in common."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.vocabulary import Target
from facenet_validate.engines.backend import Backend, EngineContext
from facenet_validate.engines.protocol import DEVICE_SCOPES, EngineInfo

if TYPE_CHECKING:
    from facenet_validate.engines.artefacts import Artefact
    from facenet_validate.engines.device.interface import GpuAddress, GpuFacts, GpuIdentity
    from facenet_validate.engines.device.probe import Gpu


@dataclass(frozen=True)
class GpuBackend(Backend):
    """A backend whose engines run on a CUDA device.

    Attributes
    ----------
    through_bindings : bool
        Whether its engines take memory, streams and graphs through pycuda or cuda-bindings. A
        library that does all of that itself needs neither.
    """

    through_bindings: ClassVar[bool] = True
    scopes = DEVICE_SCOPES
    stored_required_in_ci = True

    @classmethod
    def why_not_here(cls, gpu: Gpu) -> str:
        """Return why no CUDA device can be used from Python; empty if one can."""
        return gpu.unusable() if cls.through_bindings else gpu.why_not()

    @classmethod
    def installation(cls, no_device: str) -> str:
        """Return what is installed of it, and whether its engines can be run here."""
        found = super().installation(no_device)
        if no_device and cls.installed_version():
            found += ": its engines cannot be run here"
        return found

    def choose_target(
        self, asked: str, origin: str, cpu_flags: AbstractSet[str]
    ) -> tuple[Target, str]:
        """Return ``tensorrt``, the one target whose graphs suit a GPU."""
        del cpu_flags
        if asked not in ("auto", "tensorrt"):
            raise SettingsError(
                f"{origin}: {asked}, but {self.name} engines are for a GPU. Expected tensorrt: "
                "leave the target out, or make the graph for it (facenet-validate quantize "
                "--target tensorrt)."
            )
        return "tensorrt", f"the backend is {self.name}"

    def device_name(self, cpu_name: str) -> str:
        """Return the GPU's name; the CPU's where there is no GPU."""
        identity = self.identity()
        return cpu_name if identity is None else identity.name

    def device_memory(self, context: EngineContext) -> int | None:
        """Return the bytes of the GPU that are in use, by any process."""
        from facenet_validate.engines.device.driver import memory_used

        return context.device().memory_used() if self.through_bindings else memory_used()

    def watched_gpu(self) -> GpuAddress | None:
        """Return where the GPU is; None where there is no GPU."""
        from facenet_validate.engines.device.driver import gpu_address

        return None if self.unavailable else gpu_address()

    def setup_text(self, threads: int) -> str:
        """Return through which package the GPU is reached; threads of the CPU do not matter."""
        from facenet_validate.engines.device.opening import find_bindings

        del threads
        if self.unavailable or not self.through_bindings:
            return ""
        return f"; {find_bindings().text}"

    def identity(self) -> GpuIdentity | None:
        """Return which GPU engines are built for and run on; None where there is none."""
        from facenet_validate.engines.device.driver import gpu_identity

        return None if self.unavailable else gpu_identity()

    def info(
        self, artefact: Artefact, context: EngineContext, options: tuple[tuple[str, str], ...]
    ) -> EngineInfo:
        """Return what an engine on the GPU is.

        Parameters
        ----------
        options : tuple of (str, str)
            What it is run with that changes its results or speed.
        """
        from facenet_validate.engines.device.driver import gpu_identity

        gpu = gpu_identity()
        return EngineInfo(
            precision=artefact.precision,
            backend=self.name,
            runtime=f"{self.name} {self.version}",
            device=gpu.name,
            device_details=_details(gpu, context.gpu_facts()),
            options=options,
            digest=artefact.digest,
            artefact=artefact.graph.name if artefact.supplied else artefact.recipe,
            recipe_only=self.recipe_only(artefact.precision, context.target),
        )


def _details(gpu: GpuIdentity, facts: GpuFacts | None) -> str:
    """Return what of a GPU decides its speed, as a stored session's identity has it."""
    parts = [gpu.details()]
    if facts is not None and facts.mig is not None:
        parts.append("MIG on" if facts.mig else "MIG off")
    if facts is not None and facts.power_limit is not None:
        parts.append(f"power limit {facts.power_limit:.0f} W")
    return ", ".join(parts)
