"""Which layer got slower, of an engine that fails for its speed: `tox -e perf`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from facenet_validate.base.progress import Progress
from facenet_validate.benchmarking.measure import Measurement
from facenet_validate.benchmarking.paired_ratio import PairedRatio, slow_down
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import GateResult, Verdict
from facenet_validate.models.network import multiply_adds
from facenet_validate.models.prepared import PreparedModel
from facenet_validate.run.slower import name_slower_layers

CONVOLUTIONS = 20
BATCH = 1
GATE = "performance.against"
LIMIT = 1.01
"""The smallest of these convolutions adds 3 %."""

EXPLAINED = 0.8


class Watch:
    """The processor's time of this process, for what else the machine does is not asked here."""

    clock = staticmethod(process_time)

    def disturbance(self, begin: float, end: float) -> str:
        return ""

    def values(self) -> dict[str, Any]:
        return {}


def _largest_convolutions(model: onnx.ModelProto) -> list[str]:
    """Return the names of the convolutions with the most multiply-adds."""
    counts = multiply_adds(model)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    convolutions.sort(key=lambda node: counts[node.output[0]], reverse=True)
    return [node.name for node in convolutions[:CONVOLUTIONS]]


def _with_four_times(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return a copy in which a convolution has four times the multiply-adds, and the same result.

    Its kernel is padded with zeros, and its input by as much on the same side.
    """
    planted = onnx.ModelProto()
    planted.CopyFrom(model)
    (node,) = (one for one in planted.graph.node if one.name == name)
    (weight,) = (one for one in planted.graph.initializer if one.name == node.input[1])
    values = numpy_helper.to_array(weight)
    height, width = values.shape[2:]
    factors = (2, 2) if height == width else (4, 1) if height < width else (1, 4)
    added = height * (factors[0] - 1), width * (factors[1] - 1)
    larger = np.pad(values, ((0, 0), (0, 0), (0, added[0]), (0, added[1])))
    assert larger.size == 4 * values.size
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    assert attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    pads = [top, left, bottom + added[0], right + added[1]]
    attributes |= {"pads": pads, "kernel_shape": list(larger.shape[2:])}
    del node.attribute[:]
    node.attribute.extend(
        onnx.helper.make_attribute(key, value) for key, value in attributes.items()
    )
    copy = f"{weight.name}, larger"  # the weight may have other readers
    node.input[1] = copy
    planted.graph.initializer.append(numpy_helper.from_array(larger, copy))
    return planted


@contextmanager
def _engine(path: Path) -> Iterator[Engine]:
    # One thread: on a machine with neighbours a second one is waited for, in a layer by chance.
    with OnnxRuntimeEngine(
        path,
        digest=path.stem,
        precision="fp32",
        artefact=path.name,
        device="here",
        threads=1,
    ) as engine:
        yield engine


def _judged(engine: Engine, other: Engine, batch: NDArray[np.float32]) -> GateResult:
    """Time two engines as `performance.against` does."""

    def gate(ratio: PairedRatio) -> GateResult:
        return slow_down(ratio, gate=GATE, limit=LIMIT)

    works = engine.work(batch, "end-to-end"), other.work(batch, "end-to-end")
    measurement = Measurement(*works, Watch())
    measurement.warm_up()
    result = measurement.until_decided(gate)
    assert result is not None
    return result


def test_a_convolution_four_times_as_large_is_named_first(
    prepared: PreparedModel,
    prepared_onnx: onnx.ModelProto,
    drawn_batch: NDArray[np.float32],
    tmp_path: Path,
) -> None:
    batch = drawn_batch[:BATCH]
    first, shares, failures = 0, [], 0
    with _engine(prepared.entry.path) as other:
        expected = other.run(batch)
        for name in _largest_convolutions(prepared_onnx):
            path = tmp_path / "planted.onnx"
            onnx.save(_with_four_times(prepared_onnx, name), path)
            with _engine(path) as engine:
                np.testing.assert_allclose(engine.run(batch), expected, atol=1e-5)
                result = _judged(engine, other, batch)
                engines = partial(tuple, (engine, other))
                (told,), values = name_slower_layers(
                    [result], engines, lambda: batch, Progress(None)
                )
            assert isinstance(told, GateResult)
            print(f"\n{name}: {told.verdict}, {told.detail}")
            failures += told.verdict is Verdict.FAIL
            layers = values[GATE].get("layers", [{"name": ""}])
            first += layers[0]["name"] == name
            shares.append(values[GATE].get("explained", 0.0))
    print(
        f"\nslower layers: named first in {first} of {failures} failures; those named explain "
        f"{min(shares):.0%} to {max(shares):.0%} of the added time, median {median(shares):.0%}"
    )
    assert failures == first == CONVOLUTIONS
    assert min(shares) >= EXPLAINED
