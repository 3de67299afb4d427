"""A pytest session as it is reported: what its tests left, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from _pytest.junitxml import xml_key

from facenet_validate.base.errors import FacenetValidateError
from facenet_validate.base.wording import refusal
from facenet_validate.gates.records import gates_of, measurements_of
from facenet_validate.reporting.folder import UNFINISHED, ReportFolder
from facenet_validate.reporting.report import RunReport
from facenet_validate.reporting.results import (
    SCHEMA,
    Results,
    broken,
    first_line,
    has_ended,
)
from facenet_validate.reporting.step_summary import VARIABLE, append_step_summary, step_summary
from facenet_validate.reporting.summary import (
    ending_sentence,
    report_document,
    suite_properties,
    write_summary,
)
from facenet_validate.run.ending import ending_of, record_sessions, unmet_requirements
from facenet_validate.run.run import RUN, Run
from facenet_validate.run.start import named_report_folder

COLLECTED = pytest.StashKey[bool]()
"""Whether this process collected tests of ours."""

_LISTS = (
    "collectonly",
    "showfixtures",
    "show_fixtures_per_test",
    "setuponly",
    "setupplan",
    "cacheshow",
)


def runs_tests(config: pytest.Config) -> bool:
    """Say whether pytest was started to run tests, not to list them."""
    return not any(config.getoption(option, None) for option in _LISTS)


def report_usage_error(config: pytest.Config, message: str) -> None:
    """Write a report of a run that ended before it began, where its folder can be told."""
    if not runs_tests(config) or (folder := named_report_folder(config)) is None:
        return
    status = int(pytest.ExitCode.USAGE_ERROR)
    error = broken("", "configure", message)
    with suppress(OSError):  # the error that is told matters more
        ReportFolder.begin(folder, _unfinished()).finish(
            _unfinished()
            | {"finished_at": _now(), "verdict": "fail", "exit_status": status, "errors": [error]}
        )


@contextmanager
def refuse(config: pytest.Config, kind: type[Exception]) -> Iterator[None]:
    """End what is being done with one line, where a setting, a file or the system refuses it.

    The controlling process reports a run that ended so.

    Parameters
    ----------
    kind : exception class
        What pytest knows the end by.
    """
    try:
        yield
    except (FacenetValidateError, OSError) as error:
        message = f"facenet: {refusal(error)}" if isinstance(error, OSError) else str(error)
        if not hasattr(config, "workerinput"):
            report_usage_error(config, message)
        raise kind(message) from None


def _unfinished() -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "started_at": _now(),
        "finished_at": None,
        "verdict": UNFINISHED,
        "exit_status": None,
        "gates": [],
        "measurements": [],
        "errors": [],
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return in one line why a test or file did not come to its end."""
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}"
    if isinstance(report.longrepr, tuple):
        return first_line(report.longrepr[2].removeprefix("Skipped: "))
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None:
        return first_line(crash.message)
    lines = report.longreprtext.splitlines()
    # What pytest marks as the error; a worker's name above it says nothing.
    errors = [line[1:].strip() for line in lines if line.startswith("E ")]
    others = [line for line in lines if not line.startswith("[gw")]
    return first_line("\n".join(errors)) or first_line("\n".join(others))


class Stopping:
    """Ends a session after an error that every further test would only repeat."""

    def __init__(self, session: pytest.Session) -> None:
        self._session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A report that is to be rerun is no failure yet.
        if report.failed and (kind := getattr(report, "facenet_stop", "")):
            self._session.shouldfail = f"facenet: {kind}, see above"


class ReportedSession:
    """Collects what tests report, and writes what becomes of it; in the controlling process only.

    Parameters
    ----------
    config : pytest.Config
        The session's. An unfinished report is written at once, where a report was asked for.

    Raises
    ------
    pytest.UsageError
        If the unfinished report cannot be written.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.results = Results()
        self._broken_files: list[dict[str, Any]] = []
        self._folder: ReportFolder | None = None
        self._begun = _unfinished()
        self._exitstatus = 0
        self._ours = False  # whether tests of ours were to run
        self._reported = False  # whether this session has a verdict
        run = config.stash.get(RUN, None)
        if run is None or run.settings.report is None or not runs_tests(config):
            return
        try:
            self._folder = ReportFolder.begin(run.settings.report, self._begun)
        except OSError as error:
            raise pytest.UsageError(
                f"report folder {run.settings.report} cannot be written "
                f"({error.filename or run.settings.report}: {error.strerror}). Move that away, or "
                "name another folder with --facenet-report."
            ) from None

    # -- what is reported ------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self) -> Generator[None, object, object]:
        try:
            return (yield)
        except pytest.UsageError as error:
            self._broken_files.append(broken("", "collect", str(error)))
            raise

    def pytest_keyboard_interrupt(self) -> None:
        # Of pytest.exit too, whose exit status may be any.
        self.results.interrupted = True

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            text = report.longreprtext
            self._broken_files.append(
                broken(report.nodeid, "collect", text, reason=_reason(report))
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # A worker that crashed leaves a report of its own making, which may hide one of ours.
        crashed = str(report.when) == "???"
        if not getattr(report, "facenet", crashed):
            return
        error = getattr(report, "facenet_error", "")
        if report.failed and hasattr(report, "facenet_stop"):
            self.results.stopped = self.results.stopped or first_line(error)
        self.results.add(
            report.nodeid,
            report.when or "",
            gates_of(report.user_properties),
            measurements_of(report.user_properties),
            (error or report.longreprtext) if report.failed else "",
            getattr(report, "facenet_judges", ()),
            first_line(error) or _reason(report),
        )
        if report.skipped and not gates_of(report.user_properties):
            told = f"skipped: {_reason(report)}"
            self.results.skipped += [(gate, told) for gate in getattr(report, "facenet_judges", ())]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        del error
        output = getattr(node, "workeroutput", {})
        if (collected := output.get("facenet_collected")) is not None:
            self.results.collected = bool(self.results.collected) or collected
        if RUN in self.config.stash and "facenet_report" in output:
            told = RunReport.from_values(output["facenet_report"])
            self.config.stash[RUN].report.merge(told)

    # -- how it ends -----------------------------------------------------------------------------

    # First: JUnit's file is written at the session's end too, and knows only what it was told.
    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        results = self.results
        self._exitstatus = int(session.exitstatus)
        if COLLECTED in self.config.stash:
            results.collected = self.config.stash[COLLECTED]
        self._ours = results.touched or bool(results.collected)
        ended = results.came_to_its_end(self._exitstatus)
        if not ended and (self._ours or results.collected is None or self._broken_files):
            # Whether a test of ours was to run is unknown: an older report must not stand for it.
            self._reported = self._ours or self._folder is not None
            results.errors += self._broken_files
            told = self._broken_files[0]["reason"] if self._broken_files else ""
            results.stopped = results.stopped or told or "the run was interrupted"
        else:
            self._reported = self._ours
        run = self.config.stash.get(RUN, None)
        if run is not None and self._reported and runs_tests(self.config):
            self._judge(run, session)

    def _judge(self, run: Run, session: pytest.Session) -> None:
        results = self.results
        recorded = record_sessions(run, results, self._exitstatus)
        results.unmet = unmet_requirements(run, results)
        verdict = ending_of(run, results, self._exitstatus).verdict
        if (verdict == "fail" or not recorded) and has_ended(self._exitstatus):
            self._exitstatus = session.exitstatus = int(pytest.ExitCode.TESTS_FAILED)
        xml = self.config.stash.get(xml_key, None)
        if xml is not None:
            ending = ending_of(run, results, self._exitstatus)
            for name, value in suite_properties(ending).items():
                xml.add_global_property(name, value)

    def finish(self, session: pytest.Session) -> None:
        """Write the report, when every other plugin has had its say on the exit status."""
        self._exitstatus = int(session.exitstatus)
        if self._folder is None:
            return
        try:
            if not self._reported:
                self._folder.put_back()
                return
            run = self.config.stash[RUN]
            document = report_document(ending_of(run, self.results, self._exitstatus))
            self._folder.finish({**self._begun, **document})
        except OSError as error:
            # The terminal's summary is still to come, and with it every other result.
            self.results.report_error = f"{self._folder.path}: {error.strerror}"
            self._exitstatus = session.exitstatus = max(
                self._exitstatus, int(pytest.ExitCode.TESTS_FAILED)
            )

    def summarise(self, terminal: pytest.TerminalReporter) -> None:
        """Print the table of gates and the verdict, where tests of ours were to run."""
        run = self.config.stash.get(RUN, None)
        if run is None or not self._ours or not runs_tests(self.config):
            return
        ending = ending_of(run, self.results, self._exitstatus)
        write_summary(terminal, ending)
        if path := os.environ.get(VARIABLE):
            try:
                append_step_summary(Path(path), step_summary(ending, ending_sentence(ending)))
            except OSError as error:
                text = f"{VARIABLE}: {path} was not written: {error.strerror}"
                terminal.write_line(text, yellow=True)
