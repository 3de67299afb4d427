"""A diagnosis of the small network's engines: what is planted is named, and nothing else is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from planted_causes import Plant, Planted, planted_inputs, planted_outputs

from facenet_validate.base.errors import EngineError
from facenet_validate.diagnosis import causes, diagnosing
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosing import diagnose, simplest
from facenet_validate.diagnosis.diagnosis import Cause, Finding, NotTried
from facenet_validate.diagnosis.rule import unit
from tests.diagnosis.conftest import opened, with_weights


@pytest.fixture(autouse=True)
def _any_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long experiments take says how busy the machine is."""
    monkeypatch.setattr(diagnosing, "SECONDS", math.inf)
    monkeypatch.setattr(diagnosing, "FULL_SECONDS", math.inf)


FEW_PIXELS = {"framing", "colour order + standardized per image"}
"""Faults that pictures of 32 pixels, or sixteen dimensions, do not show."""


def one_of_each() -> Iterator[Plant]:
    """Yield the first planted fault of every cause."""
    seen = set(FEW_PIXELS)
    for plant in (*planted_outputs(), *planted_inputs()):
        if plant.cause not in seen:
            seen.add(plant.cause)
            yield plant


@pytest.mark.parametrize("plant", list(one_of_each()), ids=lambda plant: plant.cause)
def test_a_planted_fault_is_named(case: Case, plant: Plant) -> None:
    engine = plant.make(case.reference, np.random.default_rng(1))
    diagnosis = diagnose(replace(case, engine=engine))
    assert diagnosis.cause is not None
    assert set(diagnosis.cause.cause.name.split(" + ")) <= set(plant.cause.split(" + "))
    assert diagnosis.cause.removed > 0.8


def test_the_numbers_of_a_fault_are_told(case: Case) -> None:
    half = Planted(case.reference, give=lambda rows: rows * np.float32(0.5))
    found = diagnose(replace(case, engine=half)).cause
    assert found is not None
    assert found.detail == "every row times 0.5"
    assert found.removed == pytest.approx(1)
    assert (found.cosine_before, found.cosine_after) == pytest.approx((1, 1))


def test_a_sound_engine_has_no_cause_though_every_experiment_is_made(case: Case) -> None:
    diagnosis = diagnose(case, full=True)
    assert diagnosis.cause is None
    assert not any(finding.named for finding in diagnosis.tried)
    assert {"colour order", "layout", "output permuted"} <= {
        finding.cause.name for finding in diagnosis.tried
    }


def test_rows_of_noise_have_no_cause(case: Case) -> None:
    noise = np.random.default_rng(1).standard_normal((len(case.faces), 16)).astype(np.float32)
    noise *= np.float32(0.15)
    noisy = Planted(case.reference, give=lambda rows: rows + noise[: len(rows)])
    assert diagnose(replace(case, engine=noisy), full=True).cause is None


@pytest.mark.parametrize("layer", ["stem/b", "block17/1b"])
def test_a_layer_of_random_weights_has_no_cause_in_input_or_output(
    case: Case, spread_onnx: onnx.ModelProto, tmp_path: Path, layer: str
) -> None:
    random = np.random.default_rng(1)

    def drawn(name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        made = values.std() * random.standard_normal(values.shape)
        return made.astype(np.float32) if name == f"{layer}/weight" else values

    onnx.save(with_weights(spread_onnx, drawn), tmp_path / "random.onnx")
    engine = opened(tmp_path / "random.onnx")
    assert diagnose(replace(case, engine=engine), full=True).cause is None


@pytest.mark.parametrize(
    ("give", "reason"),
    [
        (lambda rows: np.full_like(rows, np.nan), "24 of 24 embeddings are not finite"),
        (np.zeros_like, "every embedding is zero"),
        (lambda rows: rows[:, :8], r"shape (24, 8), the reference (24, 16)"),
    ],
)
def test_embeddings_that_cannot_be_compared_are_not_tried(
    case: Case, give: object, reason: str
) -> None:
    diagnosis = diagnose(replace(case, engine=Planted(case.reference, give=give)))  # type: ignore[arg-type]
    assert diagnosis.cause is None
    reasons = {one.name: one.reason for one in diagnosis.not_tried}
    assert all(reason in reasons[name] for name in ("row", "output", "input"))


def test_an_experiment_that_fails_is_one_not_tried(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_findings(_: Case) -> Iterator[Finding]:
        raise EngineError("out of memory")
        yield

    monkeypatch.setattr(diagnosing, "EXPERIMENTS", (broken_findings,))
    assert diagnose(case).not_tried == (NotTried("broken", "EngineError: out of memory"),)


def test_experiments_end_when_their_time_is_over(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosing, "SECONDS", 0)
    noisy = Planted(case.reference, give=lambda rows: rows[:, ::-1] * rows)
    diagnosis = diagnose(replace(case, engine=noisy))
    assert not diagnosis.complete
    assert NotTried("input", "0 processor seconds were over", over=True) in diagnosis.not_tried


def test_one_embedding_for_every_face_is_told_and_a_ruined_engine_is_no_such(case: Case) -> None:
    axis = np.eye(1, case.expected.shape[1], 3, dtype=np.float32)
    constant = Planted(case.reference, give=lambda rows: np.repeat(axis, len(rows), axis=0))
    cause = diagnose(replace(case, engine=constant)).cause
    assert cause is not None
    assert cause.cause.name == "constant output"
    noise = np.random.default_rng(0)
    ruined = Planted(
        case.reference,
        give=lambda rows: unit(axis + 1e-3 * noise.normal(size=rows.shape)).astype(np.float32),
    )
    diagnosis = diagnose(replace(case, engine=ruined))
    assert diagnosis.cause is None
    assert "constant output" not in {one.cause.name for one in diagnosis.tried}
    assert diagnosis.tried


def seen(name: str, removed: float, *, named: bool = True) -> Finding:
    return Finding(Cause(name, "", ""), removed, 0.5, 0.9, named)


@pytest.mark.parametrize(
    ("tried", "name"),
    [
        ([seen("simple", 0.9), seen("fitted", 0.94)], "simple"),
        ([seen("simple", 0.9), seen("fitted", 0.96)], "fitted"),
        ([seen("simple", 0.995), seen("fitted", 1.0)], "simple"),
        ([seen("simple", 0.9, named=False), seen("fitted", 0.9)], "fitted"),
    ],
)
def test_a_fit_must_leave_half_of_what_a_simpler_fault_leaves(
    tried: list[Finding], name: str
) -> None:
    cause = simplest(tried)
    assert cause is not None
    assert cause.cause.name == name


def test_two_faults_are_one_cause_with_the_names_of_both() -> None:
    both = causes.together(causes.COLOUR_ORDER, causes.RANGE_0_1)
    assert both.name == "colour order + range 0 to 1"
    assert both.title == "red and blue are exchanged, and pixels are fed as 0 to 1"
