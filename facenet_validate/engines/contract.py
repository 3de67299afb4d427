"""The contract of an engine: named float32 faces in, named float32 embeddings out."""

from __future__ import annotations

import numpy as np

from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.engines.protocol import Engine
from facenet_validate.gates.verdicts import Observed
from facenet_validate.metrics.parity import row_cosines

COLOUR_FACES = 8


def batch_notes(engine: Engine) -> list[str]:
    """Return what to know of the batches that an engine is given, for people; mostly nothing.

    An engine with static profiles takes any batch here, and runs none but its own sizes. What is
    compared between batches of other sizes is then one kernel with itself.
    """
    sizes = engine.info.fixed_batches
    if not sizes:
        return []
    return [
        f"its plan runs batches of {' or '.join(map(str, sizes))} alone: others are padded or cut, "
        "and run the same kernels"
    ]


def signature_differences(engine: Engine, reference: Engine) -> list[str]:
    """Return what differs between an engine's input and output and the reference's.

    Names, dtypes and shapes must be the same, and the number of faces in a batch must be open.

    Returns
    -------
    list of str
        One line a difference, for people.
    """
    differences = []
    for role in ("input", "output"):
        found, expected = getattr(engine, role), getattr(reference, role)
        sides = expected.shape[1:]
        if (found.name, found.dtype, found.shape[1:]) != (expected.name, expected.dtype, sides):
            differences.append(
                f"{role} is {found.name!r} {found.dtype} {list(found.shape)}; expected "
                f"{expected.name!r} {expected.dtype} [N, {', '.join(map(str, sides))}]"
            )
        if isinstance(found.shape[0], int):
            differences.append(f"{role} has a fixed batch of {found.shape[0]}")
    return differences


def colour_agreement(engine: Engine, reference: Engine) -> Observed:
    """Compare embeddings of drawn faces in colour, for ``contract.colour``.

    An engine that exchanges red and blue embeds grey photos as the reference does, so that a set of
    grey photos cannot show it.
    """
    faces = np.stack([render_photo(person, 0) for person in range(COLOUR_FACES)])
    batch = standardize(faces, int(reference.input.shape[-1]))
    smallest = float(row_cosines(reference.run(batch), engine.run(batch)).min())
    return Observed("contract.colour", smallest, f"{COLOUR_FACES} drawn faces; the photos are grey")
