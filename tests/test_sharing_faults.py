"""Engines that fail one gate of timing or of sharing a process: that one fails, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from threading import current_thread, main_thread
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.engines import artefacts
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.factory import EngineFactory
from facenet_validate.engines.protocol import Engine, Scope, Work

Rows = NDArray[np.float32]

SHARING = ("suites/test_contract.py", "suites/test_sharing.py")


class Faulty:
    """A real engine with a fault."""

    newest: Any = None
    kept: list[Any] = []  # noqa: RUF012 (what outlives every engine)

    def __init__(self, engine: Engine) -> None:
        self.engine: Any = engine
        type(self).newest = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __enter__(self) -> Faulty:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, batch: Rows) -> Rows:
        found: Rows = self.engine.run(batch)
        return found

    def run_many(self, batches: Any) -> Any:
        return map(self.run, batches)

    def close(self) -> None:
        self.engine.close()


class TimesNothing(Faulty):
    """Its blocks return at once; what they left before stays where it is."""

    def work(self, batch: Rows, scope: Scope) -> Work:
        work: Work = self.engine.work(batch, scope)
        return replace(work, block=lambda count: None)


class TimesAnotherBatch(Faulty):
    """Its blocks run the last face as often as there are faces."""

    def work(self, batch: Rows, scope: Scope) -> Work:
        work: Work = self.engine.work(np.repeat(batch[-1:], len(batch), axis=0), scope)
        outputs = replace(work.outputs, untimed=lambda: self.run(batch))
        return replace(work, outputs=outputs)


class OfOneThread(Faulty):
    """Gives other threads what it has computed last."""

    last: Rows

    def run(self, batch: Rows) -> Rows:
        if current_thread() is main_thread():
            self.last = super().run(batch)
        return self.last


class OnlyTheNewest(Faulty):
    """Works in memory of its class, which the newest engine has changed."""

    def run(self, batch: Rows) -> Rows:
        rows = super().run(batch)
        return rows if type(self).newest in (self, None) else rows[:, ::-1]

    def close(self) -> None:
        type(self).newest = None
        super().close()


class KeepsItsSession(Faulty):
    """Somebody still has the session of a closed engine."""

    def close(self) -> None:
        self.kept.append(self.engine._session)
        super().close()


def _verdicts(project: pytest.Pytester, *arguments: str) -> dict[str, str]:
    """Return the verdicts of a run's gates, but for those that there is nothing to judge by."""
    project.runpytest_inprocess("--facenet-report=report", *arguments)
    document = json.loads((project.path / "report" / "results.json").read_text())
    unjudged = ("not evaluated", "not run")
    return {
        gate["gate"]: gate["verdict"]
        for gate in document["gates"]
        if gate["verdict"] not in unjudged
    }


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Faulty]], None]:
    """Have every engine under test loaded with a fault."""
    load = EngineFactory.engine

    def planted(fault: type[Faulty]) -> None:
        def engine(factory: EngineFactory, artefact: Artefact) -> Any:
            return fault(load(factory, artefact))

        fault.kept.clear()
        monkeypatch.setattr(EngineFactory, "engine", engine)

    return planted


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short blocks, which nothing disturbs."""
    for name, value in {
        "benchmarking.latency.LATENCY_SECONDS": 0.0,
        "benchmarking.surroundings.Surroundings.disturbance": lambda *_: "",
        "engines.blocks.BLOCK_SECONDS": 0.002,
        "engines.blocks.MOST_RUNS": 64,
    }.items():
        monkeypatch.setattr(f"facenet_validate.{name}", value)


FAULTS = {OfOneThread: "two_threads", OnlyTheNewest: "two_engines", KeepsItsSession: "given_back"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_an_engine_that_breaks_a_promise_fails_its_gate_alone(
    project: pytest.Pytester, plant: Callable[[type[Faulty]], None], fault: type[Faulty]
) -> None:
    plant(fault)
    gates = _verdicts(project, *SHARING, "--precision=fp32")
    fault.kept.clear()
    failing = [gate for gate, verdict in gates.items() if verdict == "fail"]
    assert failing == [f"contract.{FAULTS[fault]}"]
    assert {f"contract.{gate}" for gate in FAULTS.values()} <= set(gates)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("fault", [Faulty, TimesNothing, TimesAnotherBatch])
def test_a_benchmark_that_computes_nothing_or_something_else_fails(
    project: pytest.Pytester, plant: Callable[[type[Faulty]], None], fault: type[Faulty]
) -> None:
    plant(fault)
    gates = _verdicts(
        project,
        *SHARING,
        "suites/test_performance.py",
        "--precision=fp32",
        "--facenet-batch-size=4",
    )
    failing = [gate for gate, verdict in gates.items() if verdict == "fail"]
    assert failing == ([] if fault is Faulty else ["contract.timed_outputs"])
    assert {*gates} >= {"contract.timed_outputs", "contract.two_threads", "contract.given_back"}


@pytest.mark.usefixtures("quick")
def test_blocks_are_looked_at_where_an_engine_is_timed_beside_itself(
    project: pytest.Pytester, plant: Callable[[type[Faulty]], None]
) -> None:
    plant(TimesAnotherBatch)
    gates = project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + "performance.self_check = 1e6\n")
    found = _verdicts(
        project, "suites/test_performance.py", "-k=self_check", "--precision=fp32",
        "--facenet-batch-size=4", "--facenet-self-check=1",
    )  # fmt: skip
    assert found["contract.timed_outputs"] == "fail"


REBUILDS = "contract.rebuild_spread = 1e-5\n"


@pytest.mark.parametrize("fault", [False, True], ids=["the same", "others"])
def test_builds_that_differ_fail_by_name(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, fault: bool
) -> None:
    """The first build is the cache's, a good one; it stays there."""
    gates = project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + REBUILDS)
    make, made = artefacts._fp16, set[str]()

    def another(model: Any, cache: Any) -> Artefact:
        artefact = make(model, cache)
        made.add(str(artefact.path))
        if fault and len(made) > 1:
            graph = onnx.load(artefact.path)
            weights = max(graph.graph.initializer, key=lambda one: len(one.raw_data))
            values = numpy_helper.to_array(weights)
            # Some other algorithm's rounding: one weight in a thousand.
            other = np.where(np.arange(values.size) % 1000 == 0, 1.5, 1.0).reshape(values.shape)
            changed = (values * other).astype(values.dtype)
            weights.CopyFrom(numpy_helper.from_array(changed, weights.name))
            onnx.save(graph, artefact.path)
            artefact = replace(artefact, digest=f"{len(made)}" * 64)
        return artefact

    monkeypatch.setattr(artefacts, "_fp16", another)
    arguments = (*SHARING, "--precision=fp16", "--facenet-rebuilds=2")
    found = _verdicts(project, *arguments)
    failing = [gate for gate, verdict in found.items() if verdict == "fail"]
    assert failing == (["contract.rebuild_spread"] if fault else [])
    document = json.loads((project.path / "report" / "results.json").read_text())
    (values,) = (one for one in document["measurements"] if one["name"] == "rebuilds")
    assert (values["builds"], values["files"]) == (3, 3 if fault else 1)
    assert len(made) == 3
    (kept,) = (path for path in made if "facenet-rebuild-" not in path)
    assert document["engines"]["fp16"]["path"] == kept
