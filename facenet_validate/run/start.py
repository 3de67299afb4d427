"""How a run begins: what makes it ours, its settings, and what is checked before collection."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from facenet_validate.base.errors import BaselineError, SettingsError
from facenet_validate.base.files import is_regular
from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.progress import Progress
from facenet_validate.base.versions import onnxruntime_version
from facenet_validate.base.wording import path_text
from facenet_validate.gates.document import is_ours, may_be_there
from facenet_validate.gates.limits import GatesFile, read_gates
from facenet_validate.models.pretrained import (
    ORL_PHOTOS,
    PRETRAINED,
    carries,
    check_carried,
    locate,
)
from facenet_validate.models.quantization.recipes import check_around
from facenet_validate.reporting.report import EnvironmentFacts, RunReport
from facenet_validate.run.run import RUN, Run
from facenet_validate.run.settings import Given, Settings, gather, resolve
from facenet_validate.run.supplied import (
    check_against,
    check_runnable,
    read_supplied,
    settings_for_supplied,
)

GATES_FILE = Path("baselines", "gates.toml")
"""Where a project keeps its limits."""


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
    return make_run(
        settings,
        lambda: read_gates(settings.baselines / GATES_FILE.name),
        lambda: _progress(config),
        parallel=hasattr(config, "workerinput"),
    )


def make_run(
    settings: Settings,
    gates: Callable[[], GatesFile],
    progress: Callable[[], Progress],
    *,
    parallel: bool = False,
) -> Run:
    """Return a run of what was asked for.

    Parameters
    ----------
    settings : Settings
        As they were given: the set that is at hand is put in here.
    gates : callable
        Returns the limits.
    progress : callable
        Returns what shows progress; called when it is first needed.
    parallel : bool
        Whether this process is one of several workers.

    Raises
    ------
    FacenetValidateError
        If a setting is wrong, or a path that was named does not hold what it should.
    """
    settings = _with_packaged(_with_downloaded(settings))
    engine = against = None
    if settings.engine is not None:
        engine = read_supplied(settings.engine, settings.origins["facenet_engine"])
        settings = settings_for_supplied(settings, engine)
    if settings.against is not None:
        against = read_supplied(settings.against, settings.origins["facenet_against"])
    run = Run(
        settings,
        cpu_identity(),
        gates(),
        progress,
        parallel=parallel,
        engine=engine,
        against=against,
    )
    run.report = _begun(run)
    return run


def _begun(run: Run) -> RunReport:
    target, why = run.chosen_target
    settings, backend = run.settings, run.backend
    environment = EnvironmentFacts(
        facenet_validate=metadata.version("facenet-validate"),
        onnxruntime=onnxruntime_version(),
        backend=backend.name,
        backend_version=backend.version,
        backend_reason=backend.why,
        backend_unavailable=backend.unavailable,
        device=run.device,
        cpu=run.cpu.name,
        cpu_details=run.cpu.details(),
        threads=run.threads,
        target=target,
        target_reason=why,
    )
    asked = {
        "precisions": list(settings.precisions),
        "batch_sizes": list(settings.batch_sizes),
        "workspace_mib": settings.workspace,
        "optimization_level": settings.optimization_level,
        "profile": settings.profile,
        "int8_around": settings.int8_around,
        "scope": settings.scope,
        "protocol": settings.protocol,
        "robustness": settings.robustness or "off",
    }
    return RunReport(asked, str(run.gates.path), environment)


def _with_downloaded(settings: Settings) -> Settings:
    """Return settings whose LFW is the downloaded one, where no set was named and one is there."""
    from facenet_validate.datasets.download import downloaded_lfw

    asked = settings.lfw is not None or settings.packaged_set != "auto"
    found = None if asked else downloaded_lfw(settings.cache)
    if found is None:
        return settings
    origins = {**settings.origins, "facenet_lfw": "fetched by facenet-validate fetch lfw"}
    return replace(settings, lfw=found, origins=origins)


def _with_packaged(settings: Settings) -> Settings:
    """Return settings that name the set to judge on where no LFW is, and what fits it.

    All people of the ORL photos are judged on: INT8 is then calibrated on drawn faces.
    """
    if settings.lfw is not None:
        return settings
    packaged = settings.packaged_set
    if packaged == "auto":
        packaged = "orl" if carries(ORL_PHOTOS) else "synthetic"
    settings = replace(settings, packaged_set=packaged)
    if packaged == "orl" and "facenet_calibration" not in settings.origins:
        settings = replace(settings, calibration="packaged")
    return settings


def validate(run: Run) -> None:
    """Check what can be checked before collection, so that a wrong path ends the run at once.

    Raises
    ------
    FacenetValidateError
        Naming what is wrong.
    """
    from facenet_validate.cache import Cache, check_writable
    from facenet_validate.datasets.layout import find_layout
    from facenet_validate.models.sources import check_kind
    from facenet_validate.reporting.folder import check_report_folder

    settings = run.settings
    if settings.model is None:
        locate(PRETRAINED)
    else:
        check_kind(settings.model, f"{settings.origins['facenet_model']}:")
    if settings.engine is not None:
        run.backend.check_file(settings.engine)
    if run.dataset_name == "orl":
        check_carried(ORL_PHOTOS)
    if settings.lfw is not None:
        run.pairs = len(find_layout(settings.lfw).pairs.pairs)
    if run.against is not None:
        check_against(run.against, run.backend.name)
    run.backend.check_options(settings.origins, settings.scope)
    around = settings.origins.get("facenet_int8_around", "")
    if around.startswith("--"):  # in a variable or an ini file it may be meant for other machines
        check_around(run.target, around)
    # Reads the further sets: every bad row is told before a test starts.
    _check_required(run, run.set_names)
    if settings.update_baselines and not settings.baselines.is_dir():
        raise BaselineError(f"baselines folder {settings.baselines}: no such folder.")
    check_writable(settings.cache)
    if settings.picture is not None and not _is_file(settings.picture):
        raise SettingsError(
            f"--facenet-picture: no picture at {path_text(settings.picture)}. Name a file that a "
            "failing test of robustness has saved."
        )
    if settings.report is not None:
        check_report_folder(settings.report)
    check_runnable(run.engine, run.against, settings.model, Cache(settings.cache), run.backend)


def _is_file(path: Path) -> bool:
    """Return whether a regular file is there; False where the system does not say so."""
    try:
        return is_regular(path)
    except OSError:
        return False


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
