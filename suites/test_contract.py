"""The engine keeps the input contract: names, shapes, unit norm, no surprises between batches."""

from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate import (
    AlignedFaces,
    Build,
    Engine,
    Gates,
    Observed,
    batch_notes,
    batch_sizes,
    colour_agreement,
    equal_rows,
    faces_apart,
    largest_distance,
    plain_pictures,
    signature_differences,
    wrong_inputs,
)

FACES = 32


@pytest.fixture(scope="session")
def batch(facenet_faces: AlignedFaces, facenet_reference_engine: Engine) -> NDArray[np.float32]:
    """Faces spread over the set, ready for the engine."""
    return facenet_faces.spread(FACES, int(facenet_reference_engine.input.shape[-1]))


@pytest.mark.facenet_judges("contract.signature", "contract.precision_share", "contract.colour")
def test_signature(
    facenet_engine: Engine,
    facenet_reference_engine: Engine,
    facenet_build: Build,
    facenet_gates: Gates,
) -> None:
    """Named float32 input [N, 3, H, H] in RGB, output [N, D], N open; it computes as it says."""
    differences = signature_differences(facenet_engine, facenet_reference_engine)
    told = "; ".join([*differences, *batch_notes(facenet_engine)])
    seen = [Observed("contract.signature", len(differences), told)]
    if "contract.precision_share" in facenet_gates.limits:
        computes, shares = facenet_build.loaded_precision(facenet_engine)
        seen.append(computes)
        if shares:
            facenet_gates.measure("loaded precision", {"shares": shares})
    if "contract.colour" in facenet_gates.limits:
        seen.append(colour_agreement(facenet_engine, facenet_reference_engine))
    facenet_gates.check(*seen)


@pytest.mark.facenet_judges(
    "contract.half_headroom",
    "contract.non_finite",
    "contract.norm_error_max",
    "contract.black_image",
)
def test_finite_and_unit_norm(
    facenet_engine: Engine, facenet_build: Build, facenet_gates: Gates, batch: NDArray[np.float32]
) -> None:
    """Every embedding is finite and of length one; FP16 has room for every activation."""
    room = []
    if "contract.half_headroom" in facenet_gates.limits:
        fits = facenet_build.half_range(batch)
        facenet_gates.measure("half range", asdict(fits))
        room = [Observed("contract.half_headroom", fits.headroom, fits.text())]
    embeddings = facenet_engine.run(batch).astype(np.float64)
    non_finite = int((~np.isfinite(embeddings)).any(axis=1).sum())
    error = float(np.abs(np.linalg.norm(embeddings, axis=1) - 1.0).max())
    facenet_gates.check(
        *room,
        Observed("contract.non_finite", non_finite, f"of {len(batch)} rows"),
        Observed("contract.norm_error_max", error, f"over {len(batch)} rows"),
        plain_pictures(facenet_engine),
    )


@pytest.mark.facenet_judges("contract.batch_sizes", "contract.batch_invariance")
def test_batch_size_invariance(
    facenet_engine: Engine, facenet_gates: Gates, facenet_faces: AlignedFaces
) -> None:
    """A face has the same embedding alone, in a small batch and in a large one."""
    faces = facenet_faces.spread(FACES + 1, int(facenet_engine.input.shape[-1]))
    facenet_gates.check(*batch_sizes(facenet_engine, faces))


@pytest.mark.facenet_judges("contract.order_invariance")
def test_order_invariance(
    facenet_engine: Engine, facenet_gates: Gates, batch: NDArray[np.float32]
) -> None:
    """A face has the same embedding whatever its place in the batch."""
    order = np.random.default_rng(0).permutation(len(batch))
    moved = largest_distance(facenet_engine.run(batch)[order], facenet_engine.run(batch[order]))
    facenet_gates.check(Observed("contract.order_invariance", moved, f"{FACES} faces, permuted"))


@pytest.mark.facenet_judges("contract.equal_rows", "contract.collapse")
def test_equal_faces_and_others(
    facenet_engine: Engine,
    facenet_reference_engine: Engine,
    facenet_gates: Gates,
    batch: NDArray[np.float32],
) -> None:
    """Equal images of a batch get equal embeddings, and different people different ones."""
    facenet_gates.check(
        equal_rows(facenet_engine, batch),
        faces_apart(facenet_engine, facenet_reference_engine, batch[::2]),
    )


@pytest.mark.facenet_judges("contract.repeatability", "contract.reload")
def test_repeatability(
    facenet_engine: Engine, facenet_build: Build, facenet_gates: Gates, batch: NDArray[np.float32]
) -> None:
    """A batch gives the same embeddings again, and from another load of the engine."""
    faces = batch[1::2]
    first, again = facenet_engine.run(faces), facenet_engine.run(faces)
    with facenet_build.load() as another:
        anew = another.run(faces)
    facenet_gates.check(
        Observed("contract.repeatability", largest_distance(first, again), f"{len(faces)} faces"),
        Observed("contract.reload", largest_distance(first, anew), f"{len(faces)} faces"),
    )


@pytest.mark.facenet_judges("contract.input_refused")
def test_wrong_input(
    facenet_engine: Engine, facenet_gates: Gates, batch: NDArray[np.float32]
) -> None:
    """What is no float32 batch of faces in planes is refused by name, and nothing is cast."""
    facenet_gates.check(wrong_inputs(facenet_engine, batch))
