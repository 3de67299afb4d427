"""The engine keeps the input contract: names, shapes, unit norm, no surprises between batches."""

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.images import standardize
from facenet_validate.engines.protocol import Engine
from facenet_validate.judge import Gates
from facenet_validate.models.prepared import PreparedModel

FACES = 33


@pytest.fixture(scope="session")
def batch(facenet_faces: AlignedFaces) -> NDArray[np.float32]:
    """Faces spread over the set, ready for the engine."""
    rows = np.linspace(0, len(facenet_faces.names) - 1, FACES).astype(np.intp)
    return standardize(facenet_faces.load(rows))


def largest_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the largest L2 distance between rows; NaN where a value is."""
    return float(np.linalg.norm(a.astype(np.float64) - b, axis=1).max())


def test_signature(
    facenet_engine: Engine, facenet_prepared: PreparedModel, facenet_gates: Gates
) -> None:
    """One float32 input [N, 3, 160, 160], one float32 output [N, D], N dynamic, named."""
    expected = {
        "input": ("input", "float32", (3, 160, 160)),
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
    facenet_gates.check(
        facenet_gates.at_most("contract.signature", len(differences), "; ".join(differences))
    )


def test_finite_and_unit_norm(
    facenet_engine: Engine, facenet_gates: Gates, batch: NDArray[np.float32]
) -> None:
    """Every embedding is finite and of length one."""
    embeddings = facenet_engine.run(batch).astype(np.float64)
    finite = np.isfinite(embeddings).all(axis=1)
    error = np.abs(np.linalg.norm(embeddings, axis=1) - 1.0)
    facenet_gates.check(
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
