"""Names of version 0.1.0 that suites may still use, and what stands in their place.

Suites are copied into users' projects. A copy of 0.1.0 does not find its imports and fixtures any
more; then one line says what to write, or how to copy the suites anew.
"""

from __future__ import annotations

import re

import pytest

from facenet_validate.run.judging import Gates

FIXTURES = {
    "facenet_against_engine": "facenet_comparison, whose test runs beside that engine too",
    "facenet_artefact": "facenet_build",
    "facenet_artefacts": "facenet_build",
    "facenet_cache": "facenet_run.settings.cache, the cache's folder",
    "facenet_calibration": "facenet_faces; calibration photos have no fixture any more",
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
    "engines.builds": "facenet_validate.engines.artefacts",
    "engines.built": "facenet_validate.engines.build_facts",
    "engines.onnxruntime_cuda": "facenet_validate.engines.onnxruntime.cuda_engine",
    "engines.runnable": "facenet_validate.engines.onnxruntime.runnable",
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

NAMES = {
    "datasets.images.standardize": "facenet_validate.base.preprocessing",
    "engines.onnxruntime.OnnxRuntimeEngine": "facenet_validate.engines.onnxruntime.engine",
    "models.quantization.recipes.PRECISIONS": "facenet_validate.base.vocabulary",
    "run.Run": "facenet_validate: Run",
}
"""Name of 0.1.0 in a module that is still there → where the name is now."""

METHODS = {
    "at_least": "facenet_gates.hold(gate, value, detail)",
    "at_most": "facenet_gates.hold(gate, value, detail)",
}
"""Method of ``facenet_gates`` in 0.1.0 → what to call instead."""

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
    """Return what took the place of what an error misses; empty where it is not ours."""
    if isinstance(error, pytest.FixtureLookupError):
        return _instead_of_fixture(error.argname or "")
    if isinstance(error, AttributeError) and isinstance(error.obj, Gates):
        return _instead_of_method(error.name or "")
    # The file that pytest could not import says why; what a test raises itself is its own.
    cause = error.__cause__ if isinstance(error, pytest.Collector.CollectError) else error
    if isinstance(cause, ImportError) and (cause.name or "").startswith("facenet_validate."):
        return _instead_of_import(str(cause.name), str(cause))
    return ""


def _instead_of_fixture(name: str) -> str:
    if name not in FIXTURES:
        return ""
    return f"{name} is a fixture of 0.1.0. Take {FIXTURES[name]}; {_ANEW}."


def _instead_of_method(name: str) -> str:
    if name not in METHODS:
        return ""
    return f"facenet_gates.{name} is a method of 0.1.0. Call {METHODS[name]}; {_ANEW}."


def _instead_of_import(module: str, message: str) -> str:
    below = module.removeprefix("facenet_validate.")
    missing = re.match(r"cannot import name '(\w+)'", message)
    if missing is None:
        place = MODULES.get(below, "")
        return f"{module} is a module of 0.1.0. See {place}; {_ANEW}." if place else ""
    name = missing[1]
    place = NAMES.get(f"{below}.{name}", "")
    if place:
        return f"{name} of {module} is a name of 0.1.0. See {place}; {_ANEW}."
    return f"{name} of {module} is not in this version. See facenet_validate.__all__; {_ANEW}."
