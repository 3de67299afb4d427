"""The engine was built as its recipe says: what can be told without running it."""

from collections.abc import Callable

import pytest

from facenet_validate.base.vocabulary import PRECISIONS
from facenet_validate.engines.build_facts import BuildFacts
from facenet_validate.gates.verdicts import GateResult, not_evaluated
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.run.judging import Gates


@pytest.mark.facenet_judges(
    "build.problems", "build.inputs", "build.int8_share", "build.half_share", "build.size"
)
def test_build(
    facenet_build: BuildFacts,
    facenet_prepared: PreparedModel,
    facenet_gates: Gates,
) -> None:
    """The graph is parsed without complaint, typed and as small as its precision, reproducible."""
    build, whole = facenet_build, facenet_prepared.entry.path.stat().st_size
    facenet_gates.measure(
        "build",
        {
            "source": build.source,
            "shares": dict(build.shares),
            "compiled_shares": dict(build.compiled),
            "layers": dict(build.layers),
            "bytes": build.size,
            "log": None if build.log is None else str(build.log),
            "problems": None if build.problems is None else list(build.problems),
            "profiles": build.profiles,
        },
    )

    def share(gate: str, precision: str) -> GateResult:
        if precision in build.shares:
            parsed, compiled = build.shares[precision], build.compiled.get(precision, 0.0)
            of = f"of the multiply-adds, by {build.source}"
            if build.compiled:
                of += f"; {compiled:.6g} by the compiled layers"
            others = {kind: part for kind, part in build.shares.items() if kind not in PRECISIONS}
            of += "".join(f"; {part:.1%} in {kind}" for kind, part in others.items() if part)
            # A typed graph may still be compiled in another precision, where nothing is fused.
            found = min(parsed, compiled) if build.compiled else parsed
            return facenet_gates.at_least(gate, found, of)
        reason = build.untold or f"{build.source} does not tell its layers' sizes"
        return not_evaluated(gate, reason, facenet_gates.limits[gate])

    def inputs(gate: str) -> GateResult:
        if not build.remade:
            reason = "it was built elsewhere"
            return not_evaluated(gate, reason, facenet_gates.limits[gate])
        detail = "; ".join(build.differing) or f"made again: {build.remade}"
        return facenet_gates.at_most(gate, len(build.differing), detail)

    def problems(gate: str) -> GateResult:
        if build.problems is None:
            reason = f"{build.source} was not parsed here"
            return not_evaluated(gate, reason, facenet_gates.limits.get(gate))
        return facenet_gates.at_most(gate, len(build.problems), "; ".join(build.problems[:3]))

    def size(gate: str) -> GateResult:
        detail = f"{build.size / 1e6:.1f} of {whole / 1e6:.1f} MB"
        if build.profiles != 1:
            many = "an unknown number of" if build.profiles is None else str(build.profiles)
            reason = f"{detail}, but a plan of {many} profiles may hold the network as often"
            return not_evaluated(gate, reason, facenet_gates.limits[gate])
        return facenet_gates.at_most(gate, build.size / whole, detail)

    judges: dict[str, Callable[[str], GateResult]] = {
        "build.problems": problems,
        "build.inputs": inputs,
        "build.int8_share": lambda gate: share(gate, "int8"),
        "build.half_share": lambda gate: share(gate, "fp16"),
        "build.size": size,
    }
    facenet_gates.check(
        *(
            judge(gate)
            for gate, judge in judges.items()
            if gate in facenet_gates.limits or gate == "build.problems"
        )
    )
