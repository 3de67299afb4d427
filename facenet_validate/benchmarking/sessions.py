"""One accepted measurement session, and its line of JSON.

A line has sorted keys and no NaN or infinity, so that a diff of a baseline file is readable and any
JSON parser reads it. Floats are written as ``repr`` writes them, which reads back bit for bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from facenet_validate.base.errors import BaselineError
from facenet_validate.benchmarking.timing import MINIMUM_BLOCKS

_T = TypeVar("_T")

SCHEMA = 1
"""Version of a line's fields, written into each line."""

# Far beyond what any machine does, and near enough that arithmetic on what a file holds, and a
# picture of it, cannot overflow.
_NUMBERS = (1e-9, 1e9)
_COUNTS = 10**6
_YEARS = (1970, 9000)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What must be equal for two sessions to be compared at all.

    Attributes
    ----------
    device : str
        CPU or GPU name.
    device_details : str
        The rest of the device: CPU family, model, stepping, flags digest and cores, or SM count,
        compute capability, MIG and power limit.
    precision : str
        ``fp32``, ``fp16`` or ``int8``.
    target : str
        What the recipe is for: ``cpu``, ``cpu-vnni``, ``tensorrt``.
    batch : int
        Images in a block.
    shape : tuple of int
        Shape of the engine's input, the batch included.
    backend : str
        ``onnxruntime``, ``tensorrt`` or ``tensorrt-rtx``.
    scope : str
        What was timed: ``end-to-end`` (host to host) or ``device``.
    protocol : int
        Version of the timing protocol, `timing.PROTOCOL`.
    """

    device: str
    device_details: str
    precision: str
    target: str
    batch: int
    shape: tuple[int, ...]
    backend: str
    scope: str
    protocol: int

    @property
    def key(self) -> str:
        """The identity as one text, for files of others that can hold no more."""
        return ", ".join(f"{item.name} {getattr(self, item.name)}" for item in fields(self))

    def differences(self, other: Identity) -> tuple[str, ...]:
        """Name each field that differs, as ``field: this value → the other's``.

        Of `device_details` only the parts that differ are given.
        """
        found = []
        for name in (item.name for item in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine == theirs:
                continue
            if name == "device_details":
                mine, theirs = _lacking(mine, theirs), _lacking(theirs, mine)
            found.append(f"{name}: {mine} → {theirs}")
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One measurement session.

    Attributes
    ----------
    schema : int
        `SCHEMA`.
    recorded_at : str
        ISO 8601, UTC, as `utc_now` writes it.
    identity : Identity
        What was measured, on what.
    provenance : mapping of str to str
        What may change without forbidding a comparison, but is named in its verdict: versions,
        digests of model and engine, commit.
    epoch : int
        Sessions are compared within the newest epoch only; accepting a change begins a new one.
    reason : str
        Why the session was accepted.
    latency_seconds : float
        Median block, in seconds.
    block_seconds : tuple of float
        Every block, in seconds; at least `timing.MINIMUM_BLOCKS`.
    paired_ratio : float or None
        Speed relative to the FP32 engine of the same run; None where it was not measured.
    paired_interval : tuple of float or None
        Bounds of `paired_ratio`; None where they are unbounded or it was not measured.

    Raises
    ------
    BaselineError
        If a time or ratio is not within 1e-9 and 1e9, the batch or the epoch is negative or above
        a million, there are fewer than `timing.MINIMUM_BLOCKS` blocks, `recorded_at` is no UTC time
        of the years 1970 to 9000 or `schema` is another.
    """

    schema: int = SCHEMA
    recorded_at: str
    identity: Identity
    provenance: Mapping[str, str] = field(hash=False)
    epoch: int
    reason: str
    latency_seconds: float
    block_seconds: tuple[float, ...]
    paired_ratio: float | None = None
    paired_interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "provenance", dict(self.provenance))
        _refuse_schema(self.schema)
        self.recorded()
        if len(self.block_seconds) < MINIMUM_BLOCKS:
            msg = (
                f"block_seconds holds {len(self.block_seconds)}; expected {MINIMUM_BLOCKS} or more"
            )
            raise BaselineError(msg)
        # Epochs count from one; what a test or a tool made by hand may begin at zero.
        for name, count, first in (("batch", self.identity.batch, 1), ("epoch", self.epoch, 0)):
            if not first <= count <= _COUNTS:
                msg = f"{name} is {count}; expected {first} to {_COUNTS}"
                raise BaselineError(msg)
        numbers = {
            "latency_seconds": (self.latency_seconds,),
            "block_seconds": self.block_seconds,
            "paired_ratio": () if self.paired_ratio is None else (self.paired_ratio,),
            "paired_interval": self.paired_interval or (),
        }
        for name, values in numbers.items():
            least, most = _NUMBERS
            wrong = [value for value in values if not least <= value <= most]
            if wrong:
                msg = f"{name} holds {wrong[0]}; expected numbers from {least} to {most}"
                raise BaselineError(msg)

    def recorded(self) -> datetime:
        """Return the time of recording."""
        try:
            moment = datetime.fromisoformat(self.recorded_at)
        except ValueError:
            moment = None
        if moment is None or moment.utcoffset() != timedelta(0):
            msg = f"recorded_at is {self.recorded_at!r}; expected a UTC time such as {utc_now()}"
            raise BaselineError(msg)
        first, last = _YEARS
        if not first <= moment.year <= last:
            msg = f"recorded_at is {self.recorded_at!r}; expected a year from {first} to {last}"
            raise BaselineError(msg)
        return moment


def _lacking(mine: str, theirs: str) -> str:
    """Return the comma-separated parts of `mine` that `theirs` lacks."""
    known = theirs.split(", ")
    return ", ".join(part for part in mine.split(", ") if part not in known) or "none"


def utc_now() -> str:
    """Return the time now as sessions store it: ``2026-01-31T12:00:00+00:00``."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def newest_epoch(sessions: Sequence[Session]) -> tuple[Session, ...]:
    """Return the sessions of the highest epoch, in their order."""
    newest = max((session.epoch for session in sessions), default=0)
    return tuple(session for session in sessions if session.epoch == newest)


def to_mapping(session: Session) -> dict[str, Any]:
    """Return a session as JSON holds it; `from_mapping` reads it back."""
    return asdict(session)


def to_line(session: Session) -> str:
    """Write a session as one line of JSON, without a line end."""
    return json.dumps(to_mapping(session), sort_keys=True, allow_nan=False)


def from_line(line: str) -> Session:
    """Read a session from one line of JSON.

    Raises
    ------
    BaselineError
        If the line is no JSON, or `from_mapping` refuses what it holds. The message says why; the
        caller adds file and line number.
    """
    try:
        found = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        msg = f"this is not a line of JSON ({error})"
        raise BaselineError(msg) from error
    return from_mapping(found)


def from_mapping(found: object) -> Session:
    """Read a session from what JSON holds of it.

    Raises
    ------
    BaselineError
        If it is no object, has another schema, lacks a field, or has one that is unknown or of the
        wrong kind. The message says which.
    """
    schema = found.get("schema") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(schema, int):
        msg = "this is not a session: it has no schema number"
        raise BaselineError(msg)
    _refuse_schema(schema)
    values = _read(Session, found)
    return Session(**{**values, "identity": Identity(**_read(Identity, values["identity"]))})


def _refuse_schema(schema: int) -> None:
    if schema != SCHEMA:
        advice = (
            "upgrade facenet-validate"
            if schema > SCHEMA
            else "record its sessions again, or read them with the version that wrote them"
        )
        msg = f"its schema is {schema}, this version writes and reads {SCHEMA}; {advice}"
        raise BaselineError(msg)


def _exactly(kind: type[_T], value: object) -> _T:
    # Not isinstance: True is an int for Python, and not for JSON.
    if type(value) is not kind:
        raise TypeError
    return value


def _number(value: object) -> float:
    number = float(value if isinstance(value, float) else _exactly(int, value))
    if math.isinf(number):
        raise ValueError
    return number


def _numbers(value: object) -> tuple[float, ...]:
    return tuple(map(_number, _exactly(list, value)))


def _pair(value: object) -> tuple[float, float]:
    low, high = _numbers(value)
    return low, high


_READERS: Mapping[object, Callable[[Any], object]] = {
    "str": partial(_exactly, str),
    "int": partial(_exactly, int),
    "float": _number,
    "float | None": lambda value: None if value is None else _number(value),
    "tuple[int, ...]": lambda value: tuple(_exactly(int, v) for v in _exactly(list, value)),
    "tuple[float, ...]": _numbers,
    "tuple[float, float] | None": lambda value: None if value is None else _pair(value),
    "Mapping[str, str]": lambda value: {
        key: _exactly(str, text) for key, text in _exactly(dict, value).items()
    },
    "Identity": partial(_exactly, dict),
}
"""How a field is read from JSON, by its annotation."""


def _read(kind: type[Session | Identity], found: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a session or an identity from what JSON holds of it."""
    readers = {item.name: _READERS[item.type] for item in fields(kind)}
    values, wrong = {}, []
    for name in readers.keys() & found.keys():
        try:
            values[name] = readers[name](found[name])
        except (TypeError, ValueError, OverflowError):
            wrong.append(name)
    problems = {
        "lacks": readers.keys() - found.keys(),
        "has unknown": found.keys() - readers.keys(),
        "has the wrong kind of": wrong,
    }
    for problem, names in problems.items():
        if names:
            msg = f"the {kind.__name__.lower()} {problem} {', '.join(sorted(names))}"
            raise BaselineError(msg)
    return values


def _refuse_constant(name: str) -> float:
    msg = f"{name} is not a number"
    raise ValueError(msg)
