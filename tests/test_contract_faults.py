"""Engines that break one promise of the contract: of its gates, that one fails, by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from facenet_validate.base.errors import EngineError
from facenet_validate.engines.artefacts import Artefact
from facenet_validate.engines.factory import EngineFactory
from facenet_validate.engines.protocol import Engine
from tests.models.small_engines import copied, with_nodes

Batch = NDArray[Any]
Rows = NDArray[np.float32]


class Faulty:
    """A real engine whose runs go through a fault.

    Parameters
    ----------
    engine : Engine
        What the run has loaded.
    number : int
        Which load of the run it is, from 0.
    """

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine = engine
        self.number = number
        self.last = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def __enter__(self) -> Faulty:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def run(self, batch: Batch) -> Rows:
        return self.engine.run(batch)


class Truncating(Faulty):
    """Leaves out what is beyond 32 faces."""

    def run(self, batch: Batch) -> Rows:
        return self.engine.run(batch)[:32]


class RefusingWithoutASize(Faulty):
    """Refuses more than 32 faces, and does not say that they are too many."""

    def run(self, batch: Batch) -> Rows:
        if len(batch) > 32:
            raise EngineError("a run failed: invalid argument")
        return self.engine.run(batch)


class OfSevens(Faulty):
    """Runs batches of seven by another kernel."""

    def run(self, batch: Batch) -> Rows:
        rows = self.engine.run(batch)
        return np.roll(rows, 1, axis=1) if len(batch) == 7 else rows


class ByPlace(Faulty):
    """Runs the second half of 32 faces by another kernel."""

    def run(self, batch: Batch) -> Rows:
        rows = self.engine.run(batch).copy()
        if len(batch) == 32:
            rows[16:] = np.roll(rows[16:], 1, axis=1)
        return rows


class Deduplicating(Faulty):
    """Embeds equal images of a batch once, and gives the others the row before theirs."""

    def run(self, batch: Batch) -> Rows:
        rows, seen = self.engine.run(batch).copy(), dict[bytes, int]()
        for place, image in enumerate(batch):
            if seen.setdefault(image.tobytes(), place) != place:
                rows[place] = np.roll(rows[place - 1], 1)
        return rows


class Remembering(Faulty):
    """Gives a batch that it has just seen from a store of fewer digits."""

    def run(self, batch: Batch) -> Rows:
        rows, known = self.engine.run(batch), batch.tobytes()
        again, self.last = known == self.last, known
        return rows.astype(np.float16).astype(np.float32) if again else rows


class OfAnotherLoad(Faulty):
    """Its second load chose other kernels."""

    def run(self, batch: Batch) -> Rows:
        rows = self.engine.run(batch)
        return rows if self.number == 0 else rows.astype(np.float16).astype(np.float32)


class Casting(Faulty):
    """Takes numbers of every type."""

    def run(self, batch: Batch) -> Rows:
        return self.engine.run(batch.astype(np.float32))


def _verdicts(project: pytest.Pytester, *arguments: str) -> dict[str, str]:
    """Return the verdicts of the contract's gates of a run."""
    project.runpytest_inprocess("suites/test_contract.py", "--facenet-report=report", *arguments)
    document = json.loads((project.path / "report" / "results.json").read_text())
    found = {gate["gate"]: gate["verdict"] for gate in document["gates"]}
    # Those of threads and builds are judged by another suite, which was not asked for.
    return {
        gate: verdict
        for gate, verdict in found.items()
        if gate.startswith("contract.") and verdict != "not run"
    }


def _failing(verdicts: dict[str, str]) -> list[str]:
    """Return the gates that failed, where all others passed."""
    failing = [gate for gate, verdict in verdicts.items() if verdict == "fail"]
    assert set(verdicts.values()) <= {"pass", "fail"}, verdicts
    return failing


@pytest.mark.parametrize(
    ("fault", "gate"),
    [
        (Truncating, "contract.batch_sizes"),
        (RefusingWithoutASize, "contract.batch_sizes"),
        (OfSevens, "contract.batch_invariance"),
        (ByPlace, "contract.order_invariance"),
        (Deduplicating, "contract.equal_rows"),
        (Remembering, "contract.repeatability"),
        (OfAnotherLoad, "contract.reload"),
        (Casting, "contract.input_refused"),
    ],
)
def test_an_engine_with_a_fault_fails_that_gate_alone(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, fault: type[Faulty], gate: str
) -> None:
    loads: list[Faulty] = []
    load = EngineFactory.engine

    def faulty(factory: EngineFactory, artefact: Artefact) -> Faulty:
        loads.append(fault(load(factory, artefact), len(loads)))
        return loads[-1]

    monkeypatch.setattr(EngineFactory, "engine", faulty)
    assert _failing(_verdicts(project, "--precision=fp32")) == [gate]


def _collapsed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network whose bias outweighs what it sees of a face."""
    made = copied(model)
    weights = next(w for w in made.graph.initializer if w.name == "bottleneck/weight")
    values = 0.01 * numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weights.name))
    return made


def _without_epsilon(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network with an epsilon of 1e-10 in FP16, which is zero, and zero features of black.

    The features are multiplied by whether the picture has any colour: by 1 for every face.
    """
    made = copied(model)
    epsilon = next(w for w in made.graph.initializer if w.name == "embeddings/maximum/epsilon")
    stored = numpy_helper.to_array(epsilon).astype(np.float16).astype(np.float32)
    epsilon.CopyFrom(numpy_helper.from_array(stored, epsilon.name))
    darkest = numpy_helper.from_array(np.array(-0.99, np.float32), "darkest")
    sides = numpy_helper.from_array(np.array([2, 3], np.int64), "sides")
    made.graph.initializer.extend([darkest, sides])
    gate = [
        helper.make_node("ReduceMax", ["input"], ["peak"], "peak", axes=[1, 2, 3]),
        helper.make_node("Greater", ["peak", "darkest"], ["lit"], "lit"),
        helper.make_node("Cast", ["lit"], ["factor"], "factor", to=onnx.TensorProto.FLOAT),
        helper.make_node("Squeeze", ["factor", "sides"], ["factors"], "factors"),
        helper.make_node("Mul", ["bottleneck", "factors"], ["seen"], "seen"),
    ]
    nodes = list(made.graph.node)
    place = next(i for i, node in enumerate(nodes) if node.name == "bottleneck") + 1
    for node in nodes[place:]:
        for index, name in enumerate(node.input):
            if name == "bottleneck":
                node.input[index] = "seen"
    return with_nodes(made, [*nodes[:place], *gate, *nodes[place:]])


@pytest.mark.parametrize(
    ("plant", "gate"),
    [(_collapsed, "contract.collapse"), (_without_epsilon, "contract.black_image")],
)
def test_a_supplied_engine_with_a_fault_fails_that_gate_alone(
    project: pytest.Pytester,
    small_onnx: onnx.ModelProto,
    plant: Callable[[onnx.ModelProto], onnx.ModelProto],
    gate: str,
    tmp_path: Path,
) -> None:
    onnx.save(plant(small_onnx), tmp_path / "new.onnx")
    verdicts = _verdicts(project, f"--facenet-engine={tmp_path / 'new.onnx'}")
    assert _failing(verdicts) == [gate]


def test_engines_of_every_precision_pass(project: pytest.Pytester) -> None:
    verdicts = _verdicts(project, "--precision=fp32,fp16,int8")
    assert _failing(verdicts) == []


def test_a_gate_without_a_limit_is_not_evaluated(project: pytest.Pytester) -> None:
    gates = project.path / "baselines" / "gates.toml"
    kept = [line for line in gates.read_text().splitlines() if not line.startswith("contract.")]
    gates.write_text("\n".join(kept))
    assert set(_verdicts(project, "--precision=fp32").values()) == {"not evaluated"}
