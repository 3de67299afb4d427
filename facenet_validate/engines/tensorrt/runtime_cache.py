"""Kernels that TensorRT for RTX compiles where a plan runs: shared by its contexts, and kept.

TensorRT for RTX compiles a plan's kernels for the GPU at hand, anew for each execution context.
Contexts with one runtime cache share what was compiled, so a graph that is captured again compiles
nothing. Kept from run to run, it spares the next run the compilation too.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from facenet_validate.base.errors import CacheError
from facenet_validate.base.versions import platform_text
from facenet_validate.cache import Cache
from facenet_validate.engines.device.interface import GpuIdentity
from facenet_validate.engines.tensorrt.library import Library
from facenet_validate.engines.tensorrt.log import listening

_KERNELS = "runtime.cache"


@dataclass(frozen=True)
class KernelStore:
    """Where a plan's kernels are kept from run to run: an entry of the cache.

    Attributes
    ----------
    cache : Cache
        Has the entry.
    inputs : mapping
        What the kernels depend on, as JSON values.
    """

    cache: Cache
    inputs: Mapping[str, Any]

    @classmethod
    def of(
        cls, cache: Cache, library: Library, plan: str, gpu: GpuIdentity, driver: str | None
    ) -> KernelStore:
        """Return the store of a plan's kernels on a GPU.

        Parameters
        ----------
        plan : str
            SHA-256 of the plan.
        driver : str or None
            Version of NVIDIA's driver; None where it is unknown.
        """
        return cls(
            cache,
            {
                "plan": plan,
                "library": {"backend": library.backend, "version": library.version},
                "platform": platform_text(),
                "gpu": asdict(gpu),
                "driver": driver,
            },
        )

    def read(self) -> tuple[bytes, str]:
        """Return the kernels that were kept, and what is wrong with those that are damaged.

        Raises
        ------
        CacheError
            If they were replaced while they were read.
        """
        entry = self.cache.find("kernels", self.inputs, _KERNELS)
        if entry is None:
            return b"", self.cache.damage("kernels", self.inputs, _KERNELS)
        return entry.read(), ""

    def write(self, kernels: bytes, refused: bytes) -> None:
        """Keep kernels, unless another process has kept more of them meanwhile.

        Parameters
        ----------
        refused : bytes
            Kept kernels that the library did not take: they are replaced, however many they are.

        Raises
        ------
        CacheError
            If the cache cannot be written.
        """

        def build(path: Any) -> None:
            # The entry is locked: what is read here is what would be replaced.
            there, _ = self.read()
            more = there != refused and len(there) > len(kernels)
            path.write_bytes(there if more else kernels)

        self.cache.replace("kernels", self.inputs, _KERNELS, build)


class RuntimeCache:
    """The one runtime cache of a loaded plan.

    Parameters
    ----------
    cache : IRuntimeCache
        TensorRT's own, empty.
    library : Library
        Which TensorRT.
    store : KernelStore or None
        Where kernels are kept from run to run; None keeps them as long as the plan is loaded.

    Attributes
    ----------
    notes : tuple of str
        What was wrong with kept kernels, for people.
    """

    def __init__(self, cache: Any, library: Library, store: KernelStore | None) -> None:
        self.notes: tuple[str, ...] = ()
        self._cache = cache
        self._store = store
        self._used = False
        self._known = self._refused = b""
        if store is None:
            return
        try:
            known, damage = store.read()
        except CacheError as error:
            known, damage = b"", str(error)
        if known:
            with listening(library.logger) as messages:
                taken = cache.deserialize(known)
            self._known, self._refused = (known, b"") if taken else (b"", known)
            damage = "" if taken else messages.errors or f"{library.name} did not take them"
        if damage:
            self.notes = (f"kept kernels were ignored and are compiled anew: {damage}",)

    def attach(self, config: Any) -> None:
        """Let a context that is made with a configuration share the kernels."""
        # Without it the context compiles for itself, which is slower and gives the same.
        config.set_runtime_cache(self._cache)
        self._used = True

    def keep(self) -> None:
        """Keep for the next run what was compiled in this one, where that is more than before."""
        if self._store is None or not self._used:
            return
        serialized = self._cache.serialize()
        kernels = b"" if serialized is None else bytes(serialized)
        if len(kernels) > len(self._known):
            # What is kept spares time and nothing else: a run does not fail by it.
            with suppress(CacheError):
                self._store.write(kernels, self._refused)


def open_runtime_cache(
    engine: Any, library: Library, store: KernelStore | None
) -> RuntimeCache | None:
    """Return the runtime cache of a loaded engine; None where TensorRT has none.

    Parameters
    ----------
    engine : ICudaEngine
        Of a plan.
    """
    # TensorRT has runtime configurations since 10.12, RTX alone has runtime caches.
    if not hasattr(engine, "create_runtime_config"):
        return None
    config = engine.create_runtime_config()
    if not hasattr(config, "create_runtime_cache"):
        return None
    return RuntimeCache(config.create_runtime_cache(), library, store)
