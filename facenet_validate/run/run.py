"""One run: settings, machine, gates, facts. Kept on ``config.stash``, never in a module."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facenet_validate.base.errors import BaselineError, DatasetError, SettingsError
from facenet_validate.base.machine import CpuIdentity, cpu_identity, flags_digest
from facenet_validate.base.progress import Progress
from facenet_validate.base.vocabulary import Target
from facenet_validate.base.wording import path_text
from facenet_validate.engines.backends import Backend, choose_backend, installed_version
from facenet_validate.gates.document import is_ours, may_be_there
from facenet_validate.gates.limits import GatesFile, read_gates
from facenet_validate.models.pretrained import PRETRAINED, locate
from facenet_validate.models.quantization.recipes import MINIMUM_CALIBRATION_IMAGES, choose_target
from facenet_validate.run.settings import Given, Settings, gather, resolve
from facenet_validate.run.supplied import (
    GivenEngine,
    check_against,
    check_runnable,
    read_given,
    settings_for_given,
)

if TYPE_CHECKING:
    from facenet_validate.benchmarking.recording import Measured
    from facenet_validate.cache import Cache
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.datasets.photos import Kind
    from facenet_validate.datasets.verification_set import VerificationSet

RUN = pytest.StashKey["Run"]()

GATES_FILE = Path("baselines", "gates.toml")
"""Where a project keeps its limits."""


@dataclass
class Run:
    """What the fixtures and hooks of one process share.

    Attributes
    ----------
    settings : Settings
        What was asked for.
    cpu : CpuIdentity
        The machine.
    gates : GatesFile
        The limits.
    make_progress : callable
        Returns what shows progress; called once pytest has its terminal.
    parallel : bool
        Whether this process is one of several workers.
    started : float
        When, in seconds since 1970.
    facts : dict
        What was found and built, for the reports.
    measured : list of Measured
        The timed sessions, which are stored at the end if that was asked for.
    engine : GivenEngine or None
        The engine to validate, where one was given.
    against : GivenEngine or None
        The further engine to compare with.
    pairs : int
        Pairs of the named data set, once it was checked.
    """

    settings: Settings
    cpu: CpuIdentity
    gates: GatesFile
    make_progress: Callable[[], Progress]
    parallel: bool
    started: float = field(default_factory=time.time)
    facts: dict[str, Any] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    engine: GivenEngine | None = None
    against: GivenEngine | None = None
    pairs: int = 0

    @cached_property
    def progress(self) -> Progress:
        """The terminal."""
        return self.make_progress()

    @cached_property
    def backend(self) -> Backend:
        """What runs the engines, and why.

        Raises
        ------
        SettingsError
            If what was asked for is not installed.
        """
        from facenet_validate.engines.device.cuda import gpu

        origin = self.settings.origins.get("facenet_backend", "default")
        return choose_backend(self.settings.backend, origin, gpu())

    @cached_property
    def chosen_target(self) -> tuple[Target, str]:
        """The recipe's target and why it was chosen.

        Raises
        ------
        SettingsError
            If a recipe for CPUs is asked for on a GPU.
        """
        if self.backend.on_gpu:
            if self.settings.target not in ("auto", "tensorrt"):
                raise SettingsError(
                    f"{self.settings.origins['facenet_target']}: {self.settings.target}, but "
                    f"{self.backend.name} engines are for a GPU. Expected tensorrt: leave the "
                    "target out, or make the graph for it (facenet-validate quantize --target "
                    "tensorrt)."
                )
            return "tensorrt", f"the backend is {self.backend.name}"
        if self.settings.target == "auto":
            return choose_target(self.cpu.flags)
        return self.settings.target, f"asked for by {self.settings.origins['facenet_target']}"

    @property
    def target(self) -> Target:
        """What INT8 recipes are for."""
        return self.chosen_target[0]

    @cached_property
    def device(self) -> str:
        """The name of what engines run on: the GPU where there is one, else the CPU."""
        from facenet_validate.engines.device.driver import device_name

        if self.backend.on_gpu and not self.backend.unavailable:
            return device_name()
        return self.cpu.name

    @property
    def threads(self) -> int:
        """Intra-op threads of every engine: the processors this process may use."""
        if self.cpu.quota is None:
            return self.cpu.cores
        return max(1, min(self.cpu.cores, int(self.cpu.quota)))

    @property
    def cpu_text(self) -> str:
        """CPU model and flags, for cache keys: other instructions round differently."""
        return f"{self.cpu.name}, flags {flags_digest(self.cpu.flags)}"

    @property
    def dataset_name(self) -> str:
        """Which data set's limits apply."""
        return "synthetic" if self.settings.lfw is None else "lfw"

    @cached_property
    def sets(self) -> dict[str, VerificationSet]:
        """The further verification sets by name.

        Raises
        ------
        FacenetValidateError
            If a file has a bad row, or two go by one name.
        """
        if not self.settings.pairs:
            return {}
        from facenet_validate.datasets.csv_pairs import load_csv

        found: dict[str, VerificationSet] = {}
        for path in self.settings.pairs:
            loaded = load_csv(path)
            if loaded.name in found:
                raise SettingsError(
                    f"{self.settings.origins['facenet_pairs']}: two sets would be called "
                    f"{loaded.name}, the second {path}. Rename one: a set goes by its file's name, "
                    "or by its folder's where the file is pairs.csv."
                )
            found[loaded.name] = loaded
        return found

    @property
    def set_names(self) -> tuple[str, ...]:
        """Every verification set of the run; the first is the one the other suites judge by."""
        return (self.dataset_name, *self.sets)

    @property
    def paired_gates(self) -> int:
        """How many gates of the run hold an engine's decisions against another's."""
        compared = 1 if self.against is None else 2
        return len(self.settings.precisions) * len(self.set_names) * compared

    @cached_property
    def speed_alpha(self) -> float:
        """What each speed gate may spend of the family's error probability, 1 % a run."""
        from facenet_validate.benchmarking.paired_ratio import ALPHA

        gates = sum(
            gate.startswith("performance.") and gate != "performance.self_check"
            for precision in self.settings.precisions
            for gate in self.limits(self.dataset_name, precision)
        )
        return ALPHA / max(1, gates * len(self.settings.batch_sizes))

    def limits(self, dataset: str, precision: str) -> dict[str, float]:
        """Return the limits of every gate that this run can judge on a verification set.

        The other sets than the run's first are for accuracy. What is compared with another engine
        needs one, FP32 is not compared with itself, and a self-check is made where it is asked for.
        """
        absent = set()
        if self.against is None:
            absent |= {"accuracy.against_drop", "performance.against"}
        if precision == "fp32":
            absent |= {"performance.fp32_ratio", "performance.stored_ratio"}
        if not self.settings.self_check:
            absent |= {"performance.self_check"}
        return {
            gate: limit
            for gate, limit in self.gates.limits(dataset, precision, self.target).items()
            if (dataset == self.dataset_name or gate.startswith("accuracy.")) and gate not in absent
        }

    def check_calibration(self, found: int) -> None:
        """Check that there are photos enough to calibrate INT8 on.

        Raises
        ------
        DatasetError
            If there are fewer than were asked for, or fewer than 500 where nothing was.
        """
        asked = "facenet_calibration_images" in self.settings.origins
        wanted = self.settings.calibration_images if asked else MINIMUM_CALIBRATION_IMAGES
        if found < wanted:
            helps = f"Put photos of other people beside those of {self.settings.lfw or 'the set'}"
            if found:
                helps += f", or accept fewer with --facenet-calibration-images {found}"
            else:
                helps += ", a folder a person: PERSON/PERSON_0001.jpg. FP16 alone needs none"
            raise DatasetError(
                f"the data set has {found} photos of people outside the evaluation pairs; INT8 is "
                f"calibrated on at least {wanted}. {helps}."
            )

    def aligned(
        self,
        cache: Cache,
        names: Sequence[str],
        paths: Sequence[Path],
        title: str,
        beside: Kind | None = None,
    ) -> AlignedFaces:
        """Return photos as aligned faces; those that are 160×160 already as they are.

        Raises
        ------
        DatasetError
            If one cannot be read; or some are 160×160 and others, those beside them included, are
            not.
        """
        from facenet_validate.datasets.faces import faces_of

        return faces_of(
            names,
            paths,
            cache,
            workers=self.threads,
            stage=lambda: self.progress.stage(title),
            beside=beside,
        )


def is_active(config: pytest.Config) -> bool:
    """Say whether this run is ours: a facenet option was given, or a gates file of ours is there.

    That is in the root, or where FACENET_BASELINES says. Another variable does not make a run ours:
    it holds for all projects of its user. Nor does a file of somebody else's in the place of ours.
    """
    if _given(config, {}):
        return True
    named = _named_alone(config, "facenet_baselines")
    return is_ours(
        project_root(config) / GATES_FILE if named is None else named.baselines / GATES_FILE.name
    )


def named_report_folder(config: pytest.Config) -> Path | None:
    """Return the report's folder that was asked for, whatever else was; None if there is none."""
    named = _named_alone(config, "facenet_report")
    return None if named is None else named.report


def _named_alone(config: pytest.Config, name: str) -> Settings | None:
    """Return settings of one option alone, as if no other was given; None if it was not either."""
    given = _given(config, os.environ)
    try:
        return resolve({name: given[name]}, root=config.rootpath) if name in given else None
    except SettingsError:
        return None


def _given(config: pytest.Config, environment: Mapping[str, str]) -> dict[str, Given]:
    """Return what was given on the command line, in variables and in the ini file."""
    return gather(
        lambda name: config.getoption(name, None),
        environment,
        config.getini,
        invocation=config.invocation_params.dir,
        ini_folder=config.inipath.parent if config.inipath else config.rootpath,
    )


def project_root(config: pytest.Config) -> Path:
    """Return the folder whose ``baselines/gates.toml`` holds for the tests asked for.

    pytest's own root is no guide: before it knows an option it takes the option's value for a path
    to tests. So look upwards from the tests and from where pytest was started. The nearest file
    counts, also if it cannot be read: one further up might hold other limits.
    """
    started = config.invocation_params.dir
    for argument in [*config.args, "."]:
        path = started / argument.split("::", 1)[0]
        for folder in (path, *path.parents):
            if may_be_there(folder / GATES_FILE):
                return folder
    return config.rootpath


def run_of(config: pytest.Config) -> Run:
    """Return the run of a pytest session, made at the first call.

    Raises
    ------
    FacenetValidateError
        If a setting is wrong, or a path that was named does not hold what it should.
    """
    if RUN not in config.stash:
        config.stash[RUN] = _make_run(config)
    return config.stash[RUN]


def _make_run(config: pytest.Config) -> Run:
    settings = resolve(_given(config, os.environ), root=project_root(config))
    settings = _with_downloaded(settings)
    engine = against = None
    if settings.engine is not None:
        engine = read_given(settings.engine, settings.origins["facenet_engine"])
        settings = settings_for_given(settings, engine)
    if settings.against is not None:
        against = read_given(settings.against, settings.origins["facenet_against"])
    run = Run(
        settings,
        cpu_identity(),
        read_gates(settings.baselines / "gates.toml"),
        lambda: _progress(config),
        parallel=hasattr(config, "workerinput"),
        engine=engine,
        against=against,
    )
    target, why = run.chosen_target
    run.facts["environment"] = {
        "facenet_validate": metadata.version("facenet-validate"),
        "onnxruntime": installed_version("onnxruntime"),
        "backend": run.backend.name,
        "backend_version": run.backend.version,
        "backend_reason": run.backend.why,
        "backend_unavailable": run.backend.unavailable,
        "device": run.device,
        "cpu": run.cpu.name,
        "cpu_details": run.cpu.details(),
        "threads": run.threads,
        "target": target,
        "target_reason": why,
    }
    return run


def _with_downloaded(settings: Settings) -> Settings:
    """Return settings whose LFW is the downloaded one, where none was named and one is there."""
    from facenet_validate.datasets.download import downloaded_lfw

    found = downloaded_lfw(settings.cache) if settings.lfw is None else None
    if found is None:
        return settings
    origins = {**settings.origins, "facenet_lfw": "fetched by facenet-validate fetch lfw"}
    return replace(settings, lfw=found, origins=origins)


def validate(run: Run) -> None:
    """Check what can be checked before collection, so that a wrong path ends the run at once.

    Raises
    ------
    FacenetValidateError
        Naming what is wrong.
    """
    from facenet_validate.cache import Cache, check_writable
    from facenet_validate.datasets.layout import find_layout
    from facenet_validate.engines.tensorrt.library import find_library
    from facenet_validate.engines.tensorrt.validity import explain_plan, is_plan
    from facenet_validate.models.sources import check_kind
    from facenet_validate.reporting.results import check_report_folder

    settings = run.settings
    if settings.model is None:
        locate(PRETRAINED)
    else:
        check_kind(settings.model, f"{settings.origins['facenet_model']}:")
    if settings.engine is not None and is_plan(settings.engine):
        explain_plan(settings.engine, find_library(run.backend.name), gpu=None)
    if settings.lfw is not None:
        run.pairs = len(find_layout(settings.lfw).pairs.pairs)
    if run.against is not None:
        check_against(run.against, run.backend.name)
    _check_used(run)
    # Reads the further sets: every bad row is told before a test starts.
    _check_required(run, run.set_names)
    if settings.update_baselines and not settings.baselines.is_dir():
        raise BaselineError(f"baselines folder {settings.baselines}: no such folder.")
    check_writable(settings.cache)
    if settings.report is not None:
        check_report_folder(settings.report)
    given = [engine for engine in (run.engine, run.against) if engine is not None]
    check_runnable(given, settings.model, Cache(settings.cache), run.backend)


def _check_required(run: Run, at_hand: tuple[str, ...]) -> None:
    for name in (*run.settings.require, *run.gates.require):
        if name not in at_hand:
            how = "Name its file with --facenet-pairs"
            if name == "lfw":
                how = "Name its folder with --facenet-lfw or FACENET_LFW, or fetch it: "
                how += "facenet-validate fetch lfw"
            raise SettingsError(
                f"data set {path_text(name)} is required and was not given; at hand: "
                f"{', '.join(at_hand)}. {how}."
            )


def _check_used(run: Run) -> None:
    """Check that what the command line asks for means something to the backend.

    In a variable or an ini file it may be meant for other machines.
    """
    settings, backend = run.settings, run.backend
    useless = {
        "facenet_workspace": not backend.builds_plans,
        "facenet_optimization_level": not backend.builds_plans,
        "facenet_scope": settings.scope == "device" and not backend.on_gpu,
    }
    for name, is_useless in useless.items():
        origin = settings.origins.get(name, "")
        if is_useless and origin.startswith("--"):
            wanted = "a GPU" if name == "facenet_scope" else "a TensorRT backend"
            raise SettingsError(
                f"{origin} means nothing to {backend.name}; expected {wanted}. Leave it out, or "
                "name one with --facenet-backend."
            )


def _progress(config: pytest.Config) -> Progress:
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is None or hasattr(config, "workerinput"):
        return Progress(None)
    capture = config.pluginmanager.getplugin("capturemanager")
    uncaptured = capture.global_and_fixture_disabled if capture else nullcontext

    def write(line: str) -> None:
        terminal.ensure_newline()
        terminal.write_line(line)

    return Progress(write, uncaptured, interactive=terminal.isatty)
