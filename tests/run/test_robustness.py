"""An engine on corrupted photos beside the reference: toy people, and faults that are planted."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, cast
from xml.etree import ElementTree

import numpy as np
import pytest

from facenet_validate.base.errors import EngineError
from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.corruptions import KINDS, QUICK_KINDS
from facenet_validate.gates import catalogue
from facenet_validate.gates.records import Subject
from facenet_validate.gates.verdicts import GateResult, Verdict
from facenet_validate.metrics.comparison import frozen_decisions
from facenet_validate.metrics.paired import mcnemar_one_sided
from facenet_validate.run.judging import Gates
from facenet_validate.run.replacement import Judged
from facenet_validate.run.robustness import Robustness, RobustnessRules
from tests.run.toy_faces import (
    SIDE,
    ToyEmbedder,
    ToyEngine,
    blind_to_blur,
    faces_of,
    photos,
    toy_set,
)


def gates(delta: float = 0.01) -> Gates:
    limits = {f"robustness.{kind}": delta for kind in KINDS}
    return Gates(limits, Subject("int8", "cpu", "toy", recipe_only=False), [], "warn")


REFERENCE = ToyEngine()
BLIND = blind_to_blur(photos(), share=0.75)


@cache
def toy(*, grey: bool = False) -> tuple[Any, Any]:
    """The photos, and what embeds them."""
    dataset, faces = toy_set(), faces_of(photos(grey=grey))
    return SimpleNamespace(first=dataset, faces=faces), ToyEmbedder(dataset, faces)


def robustness(
    engine: ToyEngine,
    extent: Literal["quick", "full"] = "quick",
    *,
    report: Path | None = None,
    reference: ToyEngine = REFERENCE,
    grey: bool = False,
) -> Robustness:
    data, embedder = toy(grey=grey)
    rules = RobustnessRules(
        extent=extent,
        alpha=0.01 / (4 if extent == "quick" else 11),
        report=report,
        cache=Path(),
        replayed=None,
        derandomize=True,
    )
    return Robustness(cast("Any", engine), cast("Any", reference), data, embedder, rules)


def verdicts(judged: Judged) -> dict[str, Verdict]:
    return {one.gate.partition(".")[2]: cast("GateResult", one).verdict for one in judged.results}


def test_every_kind_has_a_gate_and_the_quick_ones_are_judged_by_default() -> None:
    rows = {gate.name: gate for gate in catalogue.CATALOGUE if gate.family == "robustness"}
    assert list(rows) == [f"robustness.{kind}" for kind in KINDS]
    quick = [name for name, row in rows.items() if row.needs == ("robustness",)]
    assert quick == [f"robustness.{kind}" for kind in QUICK_KINDS]


def test_an_engine_that_decides_as_the_reference_passes() -> None:
    found = robustness(REFERENCE).corruptions(gates())
    assert verdicts(found) == dict.fromkeys(QUICK_KINDS, Verdict.PASS)
    assert found.values["pictures"] == 240
    for one in found.values["kinds"]:
        assert [at["severity"] for at in one["severities"]] == [1, 2, 3, 4, 5]
        assert sum(at["pairs"] for at in one["severities"]) == one["pairs"] > 900


def test_an_engine_that_breaks_only_under_blur_fails_there_by_name() -> None:
    """It decides photos as they are, and passes every other kind."""
    data, embedder = toy()
    view = embedder.view(REFERENCE, "toy")
    assert frozen_decisions(view, embedder.scored(BLIND, data.faces)).paired.lost == 0
    found = robustness(BLIND).corruptions(gates())
    expected = dict.fromkeys(QUICK_KINDS, Verdict.PASS) | {"blur": Verdict.FAIL}
    assert verdicts(found) == expected


def test_the_loss_grows_with_the_severity() -> None:
    found = robustness(BLIND).corruptions(gates())
    (blur,) = [one for one in found.values["kinds"] if one["kind"] == "blur"]
    lost = [at["lost"] for at in blur["severities"]]
    assert lost[0] < lost[-1]
    assert sum(lost) == blur["lost"]


def test_full_judges_eleven_kinds() -> None:
    found = robustness(REFERENCE, "full").corruptions(gates())
    assert verdicts(found) == dict.fromkeys(KINDS, Verdict.PASS)
    # 48 photos at five severities are all there are.
    assert found.values["pictures"] == 240


def test_grey_photos_cannot_lose_their_colours() -> None:
    found = robustness(REFERENCE, "full", grey=True).corruptions(gates())
    assert verdicts(found) == dict.fromkeys(KINDS, Verdict.PASS) | {"grey": Verdict.NOT_EVALUATED}
    (grey,) = [one for one in found.results if one.gate == "robustness.grey"]
    assert grey.detail == "it changes no photo of this set"


def test_pairs_of_a_photo_without_embedding_are_lost() -> None:
    """NaN is a distance that no threshold accepts: it must not pass for impostors."""

    def damage(batch: Any, rows: Any) -> Any:
        rows[np.abs(batch).mean((1, 2, 3)) > 0.45] = np.nan
        return rows

    found = robustness(ToyEngine(damage)).corruptions(gates())
    assert verdicts(found)["brightness"] is Verdict.FAIL
    (result,) = [one for one in found.results if one.gate == "robustness.brightness"]
    assert "embeddings are not finite" in result.detail
    (kind,) = [one for one in found.values["kinds"] if one["kind"] == "brightness"]
    assert kind["won"] == 0


def test_a_reference_without_embeddings_is_refused() -> None:
    def damage(batch: Any, rows: Any) -> Any:
        rows[np.abs(batch).mean((1, 2, 3)) > 0.45] = np.nan
        return rows

    with pytest.raises(EngineError, match="FP32 reference has NaN"):
        robustness(ToyEngine(), reference=ToyEngine(damage)).corruptions(gates())


def test_one_person_fails_no_gate() -> None:
    """Whose corrupted photos are all lost: more than the limit, and significant of pairs alone."""
    known = {one.tobytes() for one in standardize(photos(), SIDE)}
    face = photos()[0].mean(2).ravel()

    def damage(batch: Any, rows: Any) -> Any:
        alike = [np.corrcoef(one.mean(0).ravel(), face)[0, 1] > 0.6 for one in batch]
        changed = [one.tobytes() not in known for one in batch]
        rows[np.array(alike) & np.array(changed)] *= -1
        return rows

    found = robustness(ToyEngine(damage)).corruptions(gates())
    for one in found.values["kinds"]:
        assert one["drop"] > 0.01
        assert mcnemar_one_sided(one["lost"], one["won"]) < 1e-6
    assert set(verdicts(found).values()) == {Verdict.INCONCLUSIVE}


def test_without_a_limit_a_kind_is_not_evaluated() -> None:
    unlimited = Gates({}, Subject("int8", "cpu", "toy", recipe_only=False), [], "warn")
    found = robustness(REFERENCE).corruptions(unlimited)
    assert set(verdicts(found).values()) == {Verdict.NOT_EVALUATED}


def test_the_curves_are_drawn_and_kept(tmp_path: Path) -> None:
    found = robustness(BLIND, report=tmp_path).corruptions(gates())
    drawn = tmp_path / found.values["picture"]
    assert drawn == tmp_path / "pictures" / "robustness-int8-on-toy.svg"
    root = ElementTree.fromstring(drawn.read_text())
    lines = root.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 2 * len(QUICK_KINDS)
    assert all(len(line.get("points", "").split()) == 6 for line in lines)
    json.dumps(found.values)
