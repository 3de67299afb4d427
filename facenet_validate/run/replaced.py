"""Names of version 0.1.0 that suites may still use, and what stands in their place.

Suites are copied into users' projects. A copy of 0.1.0 does not find its imports and fixtures any
more; then one line says what to write, or how to copy the suites anew.
"""

from __future__ import annotations

import re

import pytest

FIXTURES = {
    "facenet_against_engine": "facenet_comparison, whose test runs beside that engine too",
    "facenet_artefact": "facenet_build",
    "facenet_artefacts": "facenet_build",
    "facenet_cache": "facenet_run.settings.cache, the cache's folder",
    "facenet_calibration": "facenet_run",
    "facenet_compared_engine": "facenet_comparison",
    "facenet_compared_with": "facenet_comparison.beside",
    "facenet_dataset": "facenet_set",
    "facenet_device": "facenet_engine",
    "facenet_embedder": "facenet_embeddings and facenet_reference",
    "facenet_engines": "facenet_engine",
    "facenet_factory": "facenet_engine",
    "facenet_fp32_engine": "facenet_timing, which times beside it",
    "facenet_gallery": "facenet_comparison.all_pairs()",
    "facenet_gallery_embeddings": "facenet_comparison.all_pairs()",
    "facenet_gpu_watch": "facenet_timing",
    "facenet_prepared": "facenet_reference_engine",
    "facenet_scored": "facenet_verification and facenet_comparison",
    "facenet_self_check": "facenet_timing.self_check(facenet_gates)",
    "facenet_set_faces": "facenet_comparison.faces",
    "facenet_sets": "facenet_set",
    "facenet_timed_beside": "facenet_timing.beside",
    "facenet_views": "facenet_verification",
}
"""Fixture of 0.1.0 → what to take instead."""

MODULES = {
    "backends": "facenet_validate.engines.backends",
    "benchmarking.machine": "facenet_validate.base.machine",
    "closing": "facenet_validate.base.closing",
    "collecting": "facenet_validate.run.collecting",
    "digests": "facenet_validate.base.digests",
    "errors": "facenet_validate, such as FacenetValidateError",
    "fixtures.data": "facenet_validate.fixtures.public",
    "fixtures.engines": "facenet_validate.fixtures.public",
    "fixtures.judging": "facenet_validate.fixtures.public",
    "gates_document": "facenet_validate.gates.document",
    "given": "facenet_validate.run.supplied",
    "judge": "facenet_validate: Gates",
    "outcomes": "facenet_validate.run.outcomes",
    "output": "facenet_validate.commands.output",
    "paths": "facenet_validate.base.paths",
    "progress": "facenet_validate.base.progress",
    "reporting.header": "facenet_validate.run.header",
    "reporting.plain": "facenet_validate.gates.plain",
    "reporting.records": "facenet_validate.gates.records",
    "session": "facenet_validate.run.session",
    "settings": "facenet_validate.run.settings",
    "stopwatch": "facenet_validate: Timing",
    "verdicts": "facenet_validate: GateResult, Observed and Verdict",
    "versions": "facenet_validate.base.versions",
    "wording": "facenet_validate.base.wording",
}
"""Module of 0.1.0, below ``facenet_validate`` → where its names are now."""

_ANEW = "facenet-validate init DIR copies the suites of this version"


def name_replacements(
    report: pytest.CollectReport | pytest.TestReport, call: pytest.CallInfo[object] | None
) -> None:
    """Say in one line what took the place of a name of 0.1.0 that a test does not find."""
    if not report.failed or call is None or call.excinfo is None:
        return
    if text := _replacement(call.excinfo.value):
        report.longrepr = text


def _replacement(error: BaseException) -> str:
    fixture = getattr(error, "argname", None)
    if isinstance(error, pytest.FixtureLookupError):
        if fixture not in FIXTURES:
            return ""
        return f"{fixture} is a fixture of 0.1.0. Take {FIXTURES[fixture]}; {_ANEW}."
    cause = error if isinstance(error, ImportError) else error.__cause__
    if not isinstance(cause, ImportError) or not (cause.name or "").startswith("facenet_validate."):
        return ""
    module = str(cause.name)
    place = MODULES.get(module.removeprefix("facenet_validate."))
    missing = re.match(r"cannot import name '(\w+)'", str(cause))
    if place is None and missing is None:
        return ""
    what = f"{missing[1]} of {module}" if missing else module
    where = f"See {place}" if place else "See facenet_validate.__all__"
    return f"{what} is a name of 0.1.0. {where}; {_ANEW}."
