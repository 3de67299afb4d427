"""A fault of the input: its cause, and the change of a right batch that imitates it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from facenet_validate.diagnosis.causes import together
from facenet_validate.diagnosis.changes import Batch, Change, in_8_bits
from facenet_validate.diagnosis.diagnosis import Cause


class Stage(IntEnum):
    """When a fault happens to a picture."""

    GEOMETRY = 0
    COLOUR = 1
    VALUES = 2
    LAYOUT = 3
    ROUNDING = 4


@dataclass(frozen=True)
class Imitation:
    """A fault of the input.

    Attributes
    ----------
    cause : Cause or None
        What is imitated; None for what a sound engine does to a wrong input.
    stage : Stage
        When it happens.
    change : callable
        What it does to a right batch.
    detail : str
        Which one of the cause, for people; may be empty.
    family : str
        The `Family` that it is a member of; empty where it has no numbers.
    numbers : tuple of float
        Its numbers in that family.
    """

    cause: Cause | None
    stage: Stage
    change: Change
    detail: str = ""
    family: str = ""
    numbers: tuple[float, ...] = ()


Faults = tuple[Imitation, ...]
"""What happens to one input; none for a right one."""

EIGHT_BITS = Imitation(
    None, Stage.ROUNDING, in_8_bits, "clipped and rounded to the values of right pixels"
)
"""What an INT8 engine does to values that its calibration has not seen."""


def applied(faults: Faults, batch: Batch) -> Batch:
    """Return what these faults make of a right batch, in the order of their stages."""
    for one in sorted(faults, key=lambda one: one.stage):
        batch = one.change(batch)
    return batch


def cause_of(faults: Faults) -> Cause:
    """Return the cause that these faults are together."""
    causes = list(dict.fromkeys(one.cause for one in faults if one.cause is not None))
    cause = causes[0]
    for one in causes[1:]:
        cause = together(cause, one)
    return cause


def detail_of(faults: Faults) -> str:
    """Return in words which faults these are."""
    return "; ".join(one.detail for one in faults if one.detail)
