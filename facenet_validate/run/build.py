"""What the build suite judges: an engine as far as it can be told without running it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.vocabulary import PRECISIONS, Precision
from facenet_validate.engines.build_facts import BuildFacts
from facenet_validate.engines.given_back import given_back
from facenet_validate.engines.protocol import Engine
from facenet_validate.engines.sharing import two_engines
from facenet_validate.gates.verdicts import Observed
from facenet_validate.metrics.parity import largest_change
from facenet_validate.models.prepared import load_onnx
from facenet_validate.models.quantization.half_range import HalfRange, half_range
from facenet_validate.run.engines import Engines

MOST_UNKNOWN = 0.04
"""Share of multiply-adds that compiled layers may leave open before their answer counts as none."""


def told_share(
    shares: Mapping[str, float], precision: Precision, by: str
) -> tuple[float | None, str]:
    """Return the share of multiply-adds that compiled layers show to be in a precision.

    It is a share of those whose type is told. What is not told counts neither for an engine nor
    against it: as zero it would fail a correct FP16 engine, whose limit is 0.99, from 1 % on.

    Parameters
    ----------
    shares : mapping
        Precision → share of the multiply-adds, 0 to 1; ``unknown`` for those that are not told.
    by : str
        Who tells, for people.

    Returns
    -------
    share : float or None
        0 to 1; None where more than `MOST_UNKNOWN` is not told.
    detail : str
        Who tells it, what is in other types, and how much is not told.
    """
    unknown = shares.get("unknown", 0.0)
    if unknown > MOST_UNKNOWN:
        return None, f"{by} does not tell {unknown:.1%} of the multiply-adds"
    others = {kind: part for kind, part in shares.items() if kind not in (precision, "unknown")}
    detail = f"by {by}" + "".join(
        f"; {part:.1%} in {kind}" for kind, part in others.items() if part
    )
    if unknown:
        detail += f"; {unknown:.1%} is not told and left out"
    return shares.get(precision, 0.0) / (1 - unknown), detail


class Build:
    """An engine's build, and what the gates on it observe.

    Parameters
    ----------
    engines : Engines
        Builds the engine.
    precision : str
        The engine's.
    """

    def __init__(self, engines: Engines, precision: Precision) -> None:
        self._engines = engines
        self._precision = precision

    @cached_property
    def facts(self) -> BuildFacts:
        """What was built."""
        return self._engines.facts(self._precision)

    def load(self) -> Engine:
        """Load the engine anew, beside the one that the run has; the caller closes it."""
        return self._engines.load(self._precision)

    def values(self) -> dict[str, Any]:
        """Return the facts as ``results.json`` has them."""
        build = self.facts
        return {
            "source": build.source,
            "shares": dict(build.shares),
            "compiled_shares": dict(build.compiled),
            "layers": dict(build.layers),
            "bytes": build.size,
            "log": None if build.log is None else str(build.log),
            "problems": None if build.problems is None else list(build.problems),
            "profiles": build.profiles,
        }

    def problems(self) -> Observed:
        """Return how many complaints the parser or the checker had."""
        problems = self.facts.problems
        if problems is None:
            return Observed("build.problems", None, f"{self.facts.source} was not parsed here")
        return Observed("build.problems", len(problems), "; ".join(problems[:3]))

    def inputs(self) -> Observed:
        """Return how many build inputs differ when they are made anew."""
        remade, differing = self.facts.remade, self.facts.differing
        if not remade:
            return Observed("build.inputs", None, "it was built elsewhere")
        detail = "; ".join(differing) or f"made again: {remade}"
        return Observed("build.inputs", len(differing), detail)

    def int8_share(self) -> Observed:
        """Return the share of multiply-adds in INT8."""
        return self._share("build.int8_share", "int8")

    def half_share(self) -> Observed:
        """Return the share of multiply-adds in FP16."""
        return self._share("build.half_share", "fp16")

    def _share(self, gate: str, precision: Precision) -> Observed:
        build = self.facts
        if precision not in build.shares:
            reason = build.untold or f"{build.source} does not tell its layers' sizes"
            return Observed(gate, None, reason)
        share = build.shares[precision]
        of = f"of the multiply-adds, by {build.source}"
        others = {kind: part for kind, part in build.shares.items() if kind not in PRECISIONS}
        of += "".join(f"; {part:.1%} in {kind}" for kind, part in others.items() if part)
        if not build.compiled:
            return Observed(gate, share, of)
        compiled, detail = told_share(build.compiled, precision, "the list of compiled layers")
        if compiled is None:
            return Observed(gate, share, f"{of}; {detail}, so {build.source} is judged alone")
        # A typed graph may still be compiled in another precision, where nothing is fused.
        return Observed(gate, min(share, compiled), f"{of}; {compiled:.6g} {detail}")

    def size(self) -> Observed:
        """Return the size in relation to the FP32 model's file."""
        build, whole = self.facts, self._engines.model.entry.path.stat().st_size
        detail = f"{build.size / 1e6:.1f} of {whole / 1e6:.1f} MB"
        if build.profiles == 1:
            return Observed("build.size", build.size / whole, detail)
        many = "an unknown number of" if build.profiles is None else str(build.profiles)
        reason = f"{detail}, but a plan of {many} profiles may hold the network as often"
        return Observed("build.size", None, reason)

    def loaded_precision(self, engine: Engine) -> tuple[Observed, dict[str, float]]:
        """Return what a loaded engine computes in, as far as its backend tells.

        Returns
        -------
        Observed
            The share of multiply-adds in the engine's precision, for ``contract.precision_share``.
        dict
            Precision → share; empty where the backend does not tell.
        """
        gate, computed = "contract.precision_share", engine.computed_precision(self._engines.model)
        if computed.untold:
            return Observed(gate, None, computed.untold), {}
        shares = dict(computed.shares)
        share, detail = told_share(shares, engine.info.precision, computed.source)
        return Observed(gate, share, detail), shares

    def two_engines(self, engine: Engine, batch: NDArray[np.float32]) -> Observed:
        """Return whether engines that run at once disturb each other, for ``contract.two_engines``.

        Parameters
        ----------
        engine : Engine
            The engine under test; beside it run another load of it, and the FP32 reference.
        batch : ndarray of shape (N, 3, H, H)
            Standardized faces.
        """
        return two_engines(engine, self.load, self._engines.reference, batch)

    def given_back(self, batch: NDArray[np.float32]) -> Observed:
        """Return what the engine holds after it was closed, for ``contract.given_back``.

        Parameters
        ----------
        batch : ndarray of shape (N, 3, H, H)
            Standardized faces.
        """
        return given_back(self.load, batch, self._engines.device_memory)

    def rebuild_spread(
        self, engine: Engine, batch: NDArray[np.float32]
    ) -> tuple[Observed, dict[str, Any]]:
        """Build the engine as often as ``--facenet-rebuilds`` says, and compare the builds.

        Parameters
        ----------
        engine : Engine
            The engine under test, which is one of the builds.
        batch : ndarray of shape (N, 3, H, H)
            Standardized faces.

        Returns
        -------
        Observed
            The largest L2 distance between the embeddings of any two builds, for
            ``contract.rebuild_spread``.
        dict
            How many builds there were, how many of them differ in their bytes, and each one's
            distance to the engine under test.
        """
        found, digests, made = [engine.run(batch)], {engine.info.digest}, False
        for _ in range(self._engines.rebuilds):
            with self._engines.rebuilt(self._precision) as (rebuilt, built):
                found.append(rebuilt.run(batch))
                digests.add(rebuilt.info.digest)
                made |= built
        # numpy's maximum, for it keeps a NaN.
        spread = float(np.max([largest_change(a, b) for a, b in combinations(found, 2)]))
        distances = [largest_change(found[0], other) for other in found[1:]]
        values = {"builds": len(found), "files": len(digests), "distances": distances}
        detail = f"{len(batch)} faces by {len(found)} builds, {len(digests)} different"
        if not made:
            detail = f"{len(batch)} faces by {len(found)} loads; nothing is built of the graph here"
        return Observed("contract.rebuild_spread", spread, detail), values

    def half_range(self, batch: NDArray[np.float32]) -> HalfRange:
        """Return how the FP32 model's activations on a batch lie in the range of FP16.

        Parameters
        ----------
        batch : ndarray of shape (N, 3, H, H)
            Standardized faces.
        """
        return half_range(load_onnx(self._engines.model.entry.path), batch)
