"""A diagnosis as people read it: the cause first, 80 columns, and nothing rounded to all."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from facenet_validate.diagnosis.diagnosis import (
    Cause,
    Diagnosis,
    Finding,
    NodeDifference,
    NotTried,
    Walk,
)
from facenet_validate.diagnosis.telling import (
    MOST_TRIED,
    WIDTH,
    numbers,
    one_line,
    values,
    words,
)

COLOUR = Cause(
    "colour order",
    "red and blue are exchanged",
    "Feed RGB. OpenCV reads BGR: cv2.cvtColor(image, cv2.COLOR_BGR2RGB).",
    ("the first layer's weights are permuted",),
)
SCALED = Cause("output scaled", "the embeddings are multiplied by a constant", "Look for a scale.")
NAMED = Finding(COLOUR, 0.99981, 0.91234, 0.99999, named=True)
OTHER = Finding(SCALED, -0.2, 0.91234, 0.91234, named=False, detail="every row times 0.99")
GOOD = NodeDifference("first", "Conv", "stem", 60.0, 1.0, 60.0, 1.0)
BAD = NodeDifference("repeat/4/conv", "Conv", "block35 4", 9.5, 0.94, 9.25, 0.93)
LAST = NodeDifference("embeddings", "LpNormalization", "", None, None, 12.0, 0.95)
WALK = Walk("ONNX Runtime's added outputs", (GOOD, BAD, LAST), BAD, notes=("fusion may change",))
NAMED_CAUSE = Diagnosis(
    NAMED,
    (NAMED, OTHER),
    (NotTried("crop margin", "the original photos are not given"),),
    WALK,
    40,
    ("ann/1.jpg", "ben/2.jpg"),
)
UNKNOWN = replace(NAMED_CAUSE, cause=None, tried=(replace(NAMED, named=False, removed=0.31), OTHER))


def test_the_cause_stands_first_then_the_evidence_then_what_to_do() -> None:
    assert words(NAMED_CAUSE).splitlines() == [
        "cause: red and blue are exchanged.",
        "evidence: imitated on the FP32 reference, it explains over 99.9 % of the",
        "  difference on 40 faces. Mean row cosine 0.9123 without it, 1.0000 with it.",
        "what to do: Feed RGB. OpenCV reads BGR: cv2.cvtColor(image, cv2.COLOR_BGR2RGB).",
        "or: the first layer's weights are permuted. No embedding tells these apart.",
    ]


def test_no_known_cause_is_a_verdict_that_says_where_to_look() -> None:
    told = words(UNKNOWN)
    jump = "block35 4, Conv repeat/4/conv"
    assert one_line(UNKNOWN) == f"no known cause explains it; the first jump is at {jump}"
    assert told.startswith("cause: no known cause explains it; the first jump is at block35 4")
    assert "2 known causes were imitated on 40 faces; the nearest, colour order,\n" in told
    assert "explains 31.0 %." in told
    assert f"what to do: look at {jump} first" in told


def test_a_graph_that_cannot_be_walked_says_why() -> None:
    told = words(replace(UNKNOWN, walk=Walk(untold="a plan that was built elsewhere")))
    assert told.startswith("cause: no known cause explains it.\n")
    assert told.endswith("what to do: a plan that was built elsewhere")
    assert "nodes: not walked" in numbers(replace(UNKNOWN, walk=Walk(untold="a plan")))
    assert "\nwhat to do:" in words(replace(UNKNOWN, walk=None, tried=()))


def test_numbers_are_a_table_the_first_jump_and_the_worst_faces() -> None:
    assert numbers(NAMED_CAUSE).splitlines() == [
        "tried on 40 faces     explains  row cosine",
        "colour order       over 99.9 %  0.9123 → 1.0000",
        "output scaled          nothing  0.9123 → 0.9123  every row times 0.99",
        "not tried: crop margin: the original photos are not given",
        "nodes: 3 of each engine side by side, by ONNX Runtime's added outputs",
        "first jump: block35 4, Conv repeat/4/conv: SQNR 9.2 dB after 60.0 dB, cosine",
        "  0.9300; by itself, fed with the reference's tensors, 9.5 dB",
        "last node: LpNormalization embeddings: SQNR 12.0 dB",
        "note: fusion may change",
        "faces that moved most: ann/1.jpg, ben/2.jpg",
    ]


def test_what_explains_least_is_counted_and_stands_in_the_report() -> None:
    others = [replace(OTHER, cause=replace(SCALED, name=f"cause {n}")) for n in range(MOST_TRIED)]
    many = replace(NAMED_CAUSE, tried=(NAMED, replace(NAMED, removed=0.5), *others))
    told = numbers(many)
    assert "and 2 more experiments" in told
    assert (told.count("colour order"), told.count("cause ")) == (1, MOST_TRIED - 1)
    assert len(values(many)["tried"]) == MOST_TRIED + 2


@pytest.mark.parametrize("told", [NAMED_CAUSE, UNKNOWN])
def test_no_line_is_longer_than_eighty_columns(told: Diagnosis) -> None:
    long = replace(OTHER, detail="words " * 40)
    told = replace(told, tried=(*told.tried, long), worst=("a/long/path.jpg",) * 9)
    lines = f"{words(told)}\n{numbers(told)}".splitlines()
    assert max(len(line) for line in lines) <= WIDTH


def test_the_report_has_every_experiment_and_every_node() -> None:
    found = json.loads(json.dumps(values(NAMED_CAUSE)))
    assert (found["cause"], found["faces"]) == ("colour order", 40)
    assert found["text"] == "red and blue are exchanged (explains over 99.9 % of the difference)"
    assert [one["named"] for one in found["tried"]] == [True, False]
    assert found["walk"]["jump"] == "repeat/4/conv"
    assert [node["local_sqnr"] for node in found["walk"]["nodes"]] == [60.0, 9.5, None]
    assert values(UNKNOWN)["cause"] is None
    assert values(replace(UNKNOWN, walk=None))["walk"] is None
