"""One frozen ``Settings``: command line over environment over ini over default."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import platformdirs

from facenet_validate.base.errors import SettingsError
from facenet_validate.base.paths import checked, named_path
from facenet_validate.base.threshold import METRICS, RANGES, Metric, Threshold
from facenet_validate.base.vocabulary import PRECISIONS, TARGETS, Target
from facenet_validate.base.wording import quoted
from facenet_validate.engines.backend import PROFILES, Profile
from facenet_validate.engines.backends import BACKEND_NAMES
from facenet_validate.models.quantization.recipes import AROUND, Around
from facenet_validate.run.options import (
    CALIBRATION_IMAGES,
    DIAGNOSES,
    OPTIONS,
    PROTOCOLS,
    SCOPES,
    SETS,
)

if TYPE_CHECKING:
    from facenet_validate.engines.protocol import Scope


@dataclass(frozen=True)
class OwnSet:
    """A verification set of the user's own.

    Attributes
    ----------
    path : Path
        Its file.
    name : str
        The name that it was given; empty if it goes by its file's.
    """

    path: Path
    name: str = ""


@dataclass(frozen=True)
class Settings:
    """What a run was asked to do. Paths are absolute.

    Attributes
    ----------
    origins : mapping
        Option name → where its value came from, for messages; defaults are absent.
    """

    precisions: tuple[str, ...]
    backend: str
    target: Target | Literal["auto"]
    int8_around: Around | None
    model: Path | None
    calibration: Path | Literal["set", "packaged"]
    calibration_images: int
    engine: Path | None
    against: Path | None
    lfw: Path | None
    packaged_set: Literal["auto", "orl", "synthetic"]
    pairs: tuple[OwnSet, ...]
    protocol: str
    threshold: Threshold | None
    all_pairs: bool
    require: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    workspace: int | None
    optimization_level: int | None
    profile: Profile
    scope: Scope | Literal["auto"]
    self_check: int
    cache: Path
    rebuild: bool
    baselines: Path
    update_baselines: str | None
    reason: str | None
    inconclusive: str
    diagnose: str
    report: Path | None
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def batch_size(self) -> int:
        """The batch size embeddings are computed in."""
        return self.batch_sizes[0]


@dataclass(frozen=True)
class Given:
    """A value as it was written, where, and the folder its relative paths start from."""

    text: str
    origin: str
    folder: Path


def gather(
    command_line: Callable[[str], Any],
    environment: Mapping[str, str],
    ini: Callable[[str], Any],
    *,
    invocation: Path,
    ini_folder: Path,
) -> dict[str, Given]:
    """Collect what was given, by option name: command line, else variable, else ini.

    A variable that is empty counts as not set, since shells export such. An option or ini value
    that is empty was given, and is refused by `resolve`.
    """
    given: dict[str, Given] = {}
    for option in OPTIONS:
        value = command_line(option.name)
        flag = option.alias or option.flag
        if value is not None:
            text = ",".join(value) if isinstance(value, list) else str(value)
            given[option.name] = Given(text, flag, invocation)
        elif environment.get(option.variable):
            folder = Path.cwd()
            given[option.name] = Given(environment[option.variable], option.variable, folder)
        elif ini(option.name) is not None:
            given[option.name] = Given(str(ini(option.name)), f"ini {option.name}", ini_folder)
    return given


def resolve(given: Mapping[str, Given], *, root: Path) -> Settings:
    """Turn what was given into settings.

    Parameters
    ----------
    given : mapping
        From `gather`.
    root : Path
        The project's root folder, which holds ``baselines/`` by default.

    Raises
    ------
    SettingsError
        If a value is empty or not one of those allowed, a path is one that the system refuses to
        look at, or two options contradict each other.
    """
    reader = _Reader(given)
    update = reader.choice("facenet_update_baselines", ("all", "missing", "accept"), None)
    reason = reader.text("facenet_reason", "why the new speed is right")
    if update == "accept" and not reason:
        raise SettingsError(
            "--facenet-update-baselines accept starts a new epoch and needs --facenet-reason TEXT: "
            "why the new speed is right."
        )
    if reason and update != "accept":
        raise SettingsError(
            "--facenet-reason goes with --facenet-update-baselines accept; expected both or "
            "neither."
        )
    return Settings(
        precisions=reader.choices("facenet_precision", PRECISIONS, ("fp16", "int8")),
        backend=reader.choice("facenet_backend", ("auto", *BACKEND_NAMES), "auto") or "auto",
        target=cast(
            'Target | Literal["auto"]',
            reader.choice("facenet_target", ("auto", *TARGETS), "auto") or "auto",
        ),
        calibration=reader.calibration("facenet_calibration"),
        int8_around=cast("Around | None", reader.choice("facenet_int8_around", AROUND, None)),
        calibration_images=reader.number("facenet_calibration_images", 1, 100_000)
        or CALIBRATION_IMAGES,
        model=reader.path("facenet_model"),
        engine=reader.path("facenet_engine"),
        against=reader.path("facenet_against"),
        lfw=reader.path("facenet_lfw"),
        packaged_set=cast(
            'Literal["auto", "orl", "synthetic"]',
            reader.choice("facenet_set", ("auto", *SETS), "auto") or "auto",
        ),
        pairs=reader.own_sets("facenet_pairs"),
        protocol=reader.choice("facenet_protocol", PROTOCOLS, "plain") or "plain",
        threshold=reader.threshold("facenet_threshold", "facenet_metric"),
        all_pairs=reader.switch("facenet_all_pairs"),
        require=tuple(dict.fromkeys(reader.listed("facenet_require"))),
        batch_sizes=reader.batch_sizes("facenet_batch_size", (64,)),
        workspace=reader.number("facenet_workspace", 1, 1_000_000),
        optimization_level=reader.number("facenet_optimization_level", 0, 5),
        profile=cast("Profile", reader.choice("facenet_profile", PROFILES, "dynamic") or "dynamic"),
        scope=cast(
            'Scope | Literal["auto"]', reader.choice("facenet_scope", SCOPES, "auto") or "auto"
        ),
        self_check=reader.number("facenet_self_check", 1, 1000) or 0,
        cache=reader.path("facenet_cache") or default_cache(),
        rebuild=reader.switch("facenet_rebuild"),
        baselines=reader.path("facenet_baselines") or root / "baselines",
        update_baselines=update,
        reason=reason,
        inconclusive=reader.choice("facenet_inconclusive", ("warn", "fail"), "warn") or "warn",
        diagnose=reader.choice("facenet_diagnose", DIAGNOSES, "auto") or "auto",
        report=reader.path("facenet_report"),
        origins={name: value.origin for name, value in given.items()},
    )


def default_cache() -> Path:
    """Return the user's cache folder.

    Raises
    ------
    SettingsError
        If the system refuses to look at it.
    """
    folder = Path(platformdirs.user_cache_dir("facenet_validate"))
    return checked(folder, "the user's cache folder, used for want of --facenet-cache")


@dataclass(frozen=True)
class _Reader:
    """Reads values as they were written; every value passes `text` or `items`."""

    given: Mapping[str, Given]

    def wrong(self, name: str, expected: str, found: str) -> SettingsError:
        return SettingsError(f"{self.given[name].origin}: {quoted(found)}; expected {expected}.")

    def empty(self, name: str, expected: str, what: str = "") -> SettingsError:
        return SettingsError(
            f"{self.given[name].origin}{what} is empty; expected {expected}. Leave the option out, "
            "or give a value."
        )

    def text(self, name: str, expected: str) -> str | None:
        if name not in self.given:
            return None
        value = self.given[name].text
        if not value.strip():
            raise self.empty(name, expected)
        return value

    def items(self, name: str, expected: str) -> list[str]:
        """Return a list's items; one that is empty was a variable that is not set, so no item."""
        text = self.text(name, expected)
        items = [] if text is None else [item.strip() for item in text.split(",")]
        if not all(items):
            raise self.empty(name, expected, f": {quoted(text)}: an item")
        return items

    def choice(self, name: str, allowed: tuple[str, ...], default: str | None) -> str | None:
        value = self.text(name, _one_of(allowed))
        if value is None:
            return default
        if value not in allowed:
            raise self.wrong(name, _one_of(allowed), value)
        return value

    def choices(
        self, name: str, allowed: tuple[str, ...], default: tuple[str, ...]
    ) -> tuple[str, ...]:
        items = self.items(name, _one_of(allowed))
        unknown = [item for item in items if item not in allowed]
        if unknown:
            raise self.wrong(name, _one_of(allowed), unknown[0])
        return tuple(item for item in allowed if item in items) or default

    def batch_sizes(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        expected = "batch sizes between 1 and 4096"
        sizes = {item: whole_number(item, 1, 4096) for item in self.items(name, expected)}
        for item, size in sizes.items():
            if size is None:
                raise self.wrong(name, expected, item)
        return tuple(dict.fromkeys(size for size in sizes.values() if size)) or default

    def number(self, name: str, lowest: int, highest: int) -> int | None:
        expected = f"a whole number from {lowest} to {highest}"
        value = self.text(name, expected)
        if value is None:
            return None
        number = whole_number(value, lowest, highest)
        if number is None:
            raise self.wrong(name, expected, value)
        return number

    def calibration(self, name: str) -> Path | Literal["set", "packaged"]:
        expected = "set, packaged or faces:DIR"
        value = self.text(name, expected) or "set"
        if value == "set":
            return "set"
        count = self.given.get("facenet_calibration_images")
        if count is not None:
            raise SettingsError(
                f"{count.origin} says how many photos of the data set INT8 is calibrated on, but "
                f"{self.given[name].origin} names other faces; expected one of the two."
            )
        if value == "packaged":
            return "packaged"
        kind, _, folder = value.partition(":")
        if kind != "faces" or not folder.strip():
            raise self.wrong(name, expected, value)
        return self._absolute(name, folder)

    def threshold(self, name: str, metric_name: str) -> Threshold | None:
        chosen = self.choice(metric_name, METRICS, None)
        metric = cast("Metric", chosen or METRICS[0])
        low, high = RANGES[metric]
        expected = f"a number from {low:g} to {high:g}, {metric}"
        value = self.text(name, expected)
        if value is None:
            if chosen is not None:
                raise SettingsError(
                    f"{self.given[metric_name].origin} says what a threshold is of; expected "
                    "--facenet-threshold T beside it."
                )
            return None
        number = decimal(value)
        if number is None or not low <= number <= high:
            raise self.wrong(name, expected, value)
        return Threshold(number, metric)

    def listed(self, name: str) -> list[str]:
        return self.items(name, "names, comma-separated")

    def path(self, name: str) -> Path | None:
        text = self.text(name, "a path")
        return None if text is None else self._absolute(name, text)

    def own_sets(self, name: str) -> tuple[OwnSet, ...]:
        items = self.items(name, "paths, comma-separated")
        return tuple(dict.fromkeys(self._own_set(name, item) for item in items))

    def _own_set(self, name: str, text: str) -> OwnSet:
        whole = self._absolute(name, text)
        called, sign, path = text.partition("=")
        # A file may have such a name itself.
        if not sign or not re.fullmatch("[A-Za-z0-9_-]+", called) or whole.exists():
            return OwnSet(whole)
        return OwnSet(self._absolute(name, path), called.lower())

    def _absolute(self, name: str, text: str) -> Path:
        given = self.given[name]
        return named_path(text, given.origin, given.folder)

    def switch(self, name: str) -> bool:
        value = self.text(name, "true or false")
        if value is None:
            return False
        if value.lower() not in ("true", "1", "yes", "on", "false", "0", "no", "off"):
            raise self.wrong(name, "true or false", value)
        return value.lower() in ("true", "1", "yes", "on")


def whole_number(text: str, lowest: int, highest: int) -> int | None:
    """Return a whole number written in ASCII digits, None if it is none or out of bounds.

    Digits are counted before they are read: Python reads no more than 4,300.
    """
    if not (text.isascii() and text.isdigit()) or len(text.lstrip("0")) > len(str(highest)):
        return None
    number = int(text.lstrip("0") or "0")
    return number if lowest <= number <= highest else None


def decimal(text: str) -> float | None:
    """Return a decimal number written in ASCII, None if it is none or not finite."""
    if not text.isascii() or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _one_of(allowed: tuple[str, ...]) -> str:
    return f"one of {', '.join(allowed)}" if len(allowed) > 1 else allowed[0]
