"""The engine keeps the input contract: names, shapes, unit norm, no surprises between batches."""

from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import GateResult, not_evaluated
from facenet_validate.models.prepared import PreparedModel, load_onnx
from facenet_validate.models.quantization.half_range import half_range
from facenet_validate.run.judging import Gates

FACES = 33
MOST_UNKNOWN = 0.04
"""Share that the engine inspector may leave out before its answer is none."""


@pytest.fixture(scope="session")
def batch(facenet_faces: AlignedFaces, facenet_prepared: PreparedModel) -> NDArray[np.float32]:
    """Faces spread over the set, ready for the engine."""
    rows = np.linspace(0, len(facenet_faces.names) - 1, FACES).astype(np.intp)
    return standardize(facenet_faces.load(rows), facenet_prepared.image_size)


def largest_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the largest L2 distance between rows; NaN where a value is."""
    return float(np.linalg.norm(a.astype(np.float64) - b, axis=1).max())


def precision_share(engine: Engine, model: PreparedModel, gates: Gates) -> GateResult:
    """Judge what the loaded engine computes in, as far as its backend tells."""
    gate = "contract.precision_share"
    computed = engine.computed_precision(model)
    if computed.untold:
        return not_evaluated(gate, computed.untold, gates.limits[gate])
    shares = computed.shares
    gates.measure("loaded precision", {"shares": dict(shares)})
    unknown = shares.get("unknown", 0.0)
    if unknown > MOST_UNKNOWN:
        reason = f"{computed.source} does not tell {unknown:.1%} of the multiply-adds"
        return not_evaluated(gate, reason, gates.limits[gate])
    return gates.at_least(gate, shares.get(engine.info.precision, 0.0), f"by {computed.source}")


@pytest.mark.facenet_judges("contract.signature", "contract.precision_share")
def test_signature(
    facenet_engine: Engine, facenet_prepared: PreparedModel, facenet_gates: Gates
) -> None:
    """Named float32 input [N, 3, H, H] and output [N, D], N dynamic; it computes as it says."""
    side = facenet_prepared.image_size
    expected = {
        "input": ("input", "float32", (3, side, side)),
        "output": ("embeddings", "float32", (facenet_prepared.embedding_size,)),
    }
    found = {
        "input": facenet_engine.input,
        "output": facenet_engine.output,
    }
    differences = []
    for role, (name, dtype, shape) in expected.items():
        tensor = found[role]
        if (tensor.name, tensor.dtype, tensor.shape[1:]) != (name, dtype, shape):
            differences.append(
                f"{role} is {tensor.name!r} {tensor.dtype} {list(tensor.shape)}; "
                f"expected {name!r} {dtype} [N, {', '.join(map(str, shape))}]"
            )
        if isinstance(tensor.shape[0], int):
            differences.append(f"{role} has a fixed batch of {tensor.shape[0]}")
    results = [
        facenet_gates.at_most("contract.signature", len(differences), "; ".join(differences))
    ]
    if "contract.precision_share" in facenet_gates.limits:
        results.append(precision_share(facenet_engine, facenet_prepared, facenet_gates))
    facenet_gates.check(*results)


@pytest.mark.facenet_judges(
    "contract.half_headroom", "contract.non_finite", "contract.norm_error_max"
)
def test_finite_and_unit_norm(
    facenet_engine: Engine,
    facenet_prepared: PreparedModel,
    facenet_gates: Gates,
    batch: NDArray[np.float32],
) -> None:
    """Every embedding is finite and of length one; FP16 has room for every activation."""
    embeddings = facenet_engine.run(batch).astype(np.float64)
    finite = np.isfinite(embeddings).all(axis=1)
    error = np.abs(np.linalg.norm(embeddings, axis=1) - 1.0)
    results = []
    if facenet_engine.info.precision == "fp16" and "contract.half_headroom" in facenet_gates.limits:
        fits = half_range(load_onnx(facenet_prepared.entry.path), batch)
        facenet_gates.measure("half range", asdict(fits))
        results.append(facenet_gates.at_least("contract.half_headroom", fits.headroom, fits.text()))
    facenet_gates.check(
        *results,
        facenet_gates.at_most(
            "contract.non_finite",
            int((~finite).sum()),
            f"of {len(batch)} rows",
        ),
        facenet_gates.at_most(
            "contract.norm_error_max",
            float(error.max()),
            f"over {len(batch)} rows",
        ),
    )


@pytest.mark.facenet_judges("contract.batch_invariance")
def test_batch_size_invariance(
    facenet_engine: Engine, facenet_gates: Gates, batch: NDArray[np.float32]
) -> None:
    """A face has the same embedding alone, in a small batch and in a large one."""
    together = facenet_engine.run(batch)
    alone = np.concatenate([facenet_engine.run(face[None]) for face in batch])
    sevens = np.concatenate(
        [facenet_engine.run(batch[start : start + 7]) for start in range(0, len(batch), 7)]
    )
    worst = max(largest_distance(together, alone), largest_distance(together, sevens))
    facenet_gates.check(
        facenet_gates.at_most(
            "contract.batch_invariance",
            worst,
            f"{len(batch)} faces in batches of {len(batch)}, 7 (the last partial) and 1",
        )
    )


@pytest.mark.facenet_judges("contract.order_invariance")
def test_order_invariance(
    facenet_engine: Engine, facenet_gates: Gates, batch: NDArray[np.float32]
) -> None:
    """A face has the same embedding whatever its place in the batch."""
    order = np.random.default_rng(0).permutation(len(batch))
    worst = largest_distance(facenet_engine.run(batch)[order], facenet_engine.run(batch[order]))
    facenet_gates.check(
        facenet_gates.at_most(
            "contract.order_invariance",
            worst,
            f"{len(batch)} faces, permuted",
        )
    )
