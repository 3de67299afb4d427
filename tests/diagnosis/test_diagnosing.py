"""A diagnosis of the small network's engines: what is planted is named, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from planted_causes import Plant, Planted, planted_inputs, planted_outputs

from facenet_validate.datasets.synthetic import render_photo
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosing import diagnose
from facenet_validate.engines.onnxruntime.engine import OnnxRuntimeEngine
from facenet_validate.engines.protocol import Engine
from facenet_validate.models.prepared import PreparedModel

FACES = 24


@pytest.fixture(scope="session")
def faces() -> NDArray[np.uint8]:
    """Drawn faces (24, 160, 160, 3) of as many people."""
    return np.stack([render_photo(person, 0) for person in range(FACES)])


@pytest.fixture(scope="session")
def reference(prepared_small: PreparedModel) -> Engine:
    entry = prepared_small.entry
    return OnnxRuntimeEngine(
        entry.path, digest=entry.digest, precision="fp32", artefact="small", device="", threads=1
    )


@pytest.fixture
def case(reference: Engine, prepared_small: PreparedModel, faces: NDArray[np.uint8]) -> Case:
    """The reference against itself."""
    names = tuple(f"face {row}" for row in range(FACES))
    return Case(reference, reference, prepared_small, faces, names)


@pytest.mark.parametrize(
    "plant",
    [*planted_outputs(), *planted_inputs()],
    ids=lambda plant: f"{plant.cause}, {plant.strength}",
)
def test_a_planted_fault_is_named(case: Case, plant: Plant) -> None:
    engine = plant.make(case.reference, np.random.default_rng(1))
    diagnosis = diagnose(replace(case, engine=engine))
    for f in diagnosis.tried[:6]:
        print(f)
    print(diagnosis.not_tried)
    assert diagnosis.cause is not None
    assert plant.cause in diagnosis.cause.cause.name
