"""What an engine does with batches of any size, and with what is no batch of faces at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.engines.contract import batch_notes
from facenet_validate.engines.protocol import Engine, TensorInfo
from facenet_validate.gates.verdicts import Observed
from facenet_validate.metrics.parity import largest_distance

ODD = 7


def batch_sizes(engine: Engine, faces: NDArray[np.float32]) -> tuple[Observed, Observed]:
    """Embed faces in batches of one, of seven and together; and as many as an engine takes.

    An engine that tells how many faces it runs at once gets a batch of that size and one of one
    face more. A larger batch may be cut into pieces or refused; a refusal names the batch's size
    and the largest one.

    Parameters
    ----------
    faces : ndarray of shape (N, 3, H, H)
        float32, standardized, different faces.

    Returns
    -------
    tuple of Observed
        For ``contract.batch_sizes``, how many sizes are answered wrongly. For
        ``contract.batch_invariance``, the largest L2 distance of an embedding from that of the same
        face alone; over the sizes that are answered.
    """
    largest = engine.info.largest_batch
    together = len(faces)
    sizes = list(dict.fromkeys([1, ODD, together, *((largest, largest + 1) if largest else ())]))
    wrong: list[str] = []
    notes: list[str] = []
    answers: dict[int, NDArray[np.float32]] = {}
    for size in sizes:
        try:
            answers[size] = _in_batches(engine, faces, size)
        except _WrongError as error:
            wrong.append(str(error))
        except _RefusedError as error:
            notes.append(str(error))
    told = f"{together} faces in batches of {', '.join(map(str, sizes))}"
    counted = Observed("contract.batch_sizes", len(wrong), "; ".join([*wrong, told, *notes]))
    return counted, _moved(engine, answers, told)


def _moved(engine: Engine, answers: dict[int, NDArray[np.float32]], told: str) -> Observed:
    gate = "contract.batch_invariance"
    alone = answers.pop(1, None)
    if alone is None or not answers:
        return Observed(gate, None, "no two sizes of a batch are answered")
    told = "; ".join([told, *batch_notes(engine)])
    moved = [
        largest_distance(alone[np.arange(len(found)) % len(alone)], found)
        for found in answers.values()
    ]
    return Observed(gate, float(np.max(moved)), told)


class _WrongError(Exception):
    """A batch is answered wrongly; says how."""


class _RefusedError(Exception):
    """A batch that is too large is refused as it should be; says so."""


def _in_batches(engine: Engine, faces: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return embeddings of the faces in batches of a size, the last one partial.

    A batch that is larger than the faces has the first of them again.
    """
    if size > len(faces):
        return _answer(engine, faces[np.arange(size) % len(faces)])
    starts = range(0, len(faces), size)
    return np.concatenate([_answer(engine, faces[start : start + size]) for start in starts])


def _answer(engine: Engine, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a batch's embeddings.

    Raises
    ------
    _WrongError
        If there are more or fewer than faces, or the batch is refused without being too large, or
        without the largest size in the message.
    _RefusedError
        If it is too large, and the message names its size and the largest one.
    """
    size, width = len(batch), engine.output.shape[1]
    try:
        found = np.asarray(engine.run(batch))
    except FacenetValidateError as error:
        if _names_largest(str(error).replace(engine.info.artefact, ""), size, engine):
            raise _RefusedError(f"{size} faces are refused: {error}") from None
        raise _WrongError(f"{size} faces are refused: {error}") from None
    except Exception as error:  # whatever a runtime raises: it should have been named
        raise _WrongError(f"{size} faces end in {type(error).__name__}: {error}") from None
    expected = (size, width if isinstance(width, int) else found.shape[-1])
    if found.shape != expected:
        raise _WrongError(f"{size} faces give {list(found.shape)}; expected {list(expected)}")
    return found


def _names_largest(text: str, size: int, engine: Engine) -> bool:
    """Say whether a refusal names the batch's size and a smaller one, the largest."""
    numbers = {int(number) for number in re.findall(r"\b\d+\b", text)}
    largest = engine.info.largest_batch
    smaller = {number for number in numbers if 0 < number < size}
    return size in numbers and (bool(smaller) if largest is None else largest in smaller)


def wrong_inputs(engine: Engine, faces: NDArray[np.float32]) -> Observed:
    """Give an engine what is no batch of its own, for ``contract.input_refused``.

    Parameters
    ----------
    faces : ndarray of shape (N, 3, H, H)
        float32, standardized; two are used.

    Returns
    -------
    Observed
        How many were taken, or refused without naming what was found and what was expected.
    """
    taken = []
    given = 0
    for what, batch in _wrong(faces[:2]):
        given += 1
        try:
            engine.run(batch)
        except FacenetValidateError as error:
            if not _names_both(str(error), batch, engine.input):
                taken.append(f"{what}: refused without a name: {error}")
        except Exception as error:  # whatever a runtime raises: it should have been named
            taken.append(f"{what}: {type(error).__name__}: {error}")
        else:
            taken.append(f"{what}: taken")
    told = "; ".join(taken) or f"{given} wrong inputs, each refused by name"
    return Observed("contract.input_refused", len(taken), told)


def _wrong(faces: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield inputs that people give by mistake, and what they are."""
    yield "uint8", (faces * 128 + 127.5).astype(np.uint8)
    yield "float16", faces.astype(np.float16)
    yield "float64", faces.astype(np.float64)
    yield "colours last", np.ascontiguousarray(faces.transpose(0, 2, 3, 1))
    yield "no batch", faces[0]
    yield "one grey plane", np.ascontiguousarray(faces[:, :1])
    yield "half the side", np.ascontiguousarray(faces[:, :, ::2, ::2])


def _names_both(text: str, batch: NDArray[Any], expected: TensorInfo) -> bool:
    """Say whether a refusal names what is wrong with a batch and what was expected."""
    if batch.dtype != expected.dtype:
        return batch.dtype.name in text and expected.dtype in text
    sides = [side for side in expected.shape if isinstance(side, int)]
    return all(re.search(r"\D+".join(map(str, one)), text) for one in (batch.shape, sides))
