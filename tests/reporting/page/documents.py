"""Reports for tests of the page: values as the suites leave them, of embeddings made up here."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from facenet_validate.benchmarking.sessions import to_mapping
from facenet_validate.gates import catalogue
from facenet_validate.gates.plain import plain
from facenet_validate.gates.verdicts import GateResult, Verdict
from facenet_validate.metrics.view2 import evaluate_embeddings
from facenet_validate.reporting.photos import PhotoRules
from facenet_validate.reporting.speed import stored_values
from facenet_validate.run.evaluation import EngineComparison, EngineVerification
from tests.history.sessions import make_session
from tests.run.test_replacement import PEOPLE, RULES, gates, noisy, photos

KINDS = ("blur", "jpeg", "low_resolution")


@cache
def whole() -> str:
    """Return a report with every measurement that the page knows, as JSON."""
    dataset, old = photos()
    group_of = np.where(dataset.identities[dataset.left] < PEOPLE // 2, 0, 1)
    dataset = replace(dataset, groups=("a", "b"), group_of=group_of, suspect=np.array([0]))
    new = noisy(old, 0.12)
    views = {"old": evaluate_embeddings(old, dataset.pairs)}
    views["new"] = evaluate_embeddings(new, dataset.pairs)
    data: Any = SimpleNamespace(
        named=lambda name: dataset,
        faces_of=lambda name: None,
        photo_rules=lambda name: PhotoRules("none", None),
        first=SimpleNamespace(name=""),
    )
    embedder: Any = SimpleNamespace(
        view=lambda which, name: views[which],
        scored=lambda which, faces: {"old": old, "new": new}[which],
        embeddings=lambda which, faces: {"old": old, "new": new}[which],
    )
    engine: Any = "new"
    other: Any = "old"
    compared = EngineComparison(engine, other, "reference", "lfw", data, embedder, RULES)
    verified = EngineVerification(dataset, views["new"], views["old"], views["new"], "mtcnn")
    limits = gates(accuracy__paired_drop=0.003, accuracy__group_drop=0.02)
    judged = {
        "paired comparison": compared.lost_decisions(limits),
        "stored templates": compared.stored_templates(limits),
        "groups": compared.groups(limits),
        "operating point": compared.operating_point(limits),
        "identification": compared.identification(limits),
    }
    measurements = {
        "verification": verified.values(),
        "pair distances": compared.pair_distances(),
        "row cosines": compared.cosine_distribution(),
        **{name: one.values for name, one in judged.items()},
        **_others(),
    }
    results = [result for one in judged.values() for result in one.results]
    records = [
        _gate(one.gate, one.verdict, one.observed, one.limit, one.interval, one.detail)
        for one in results
        if isinstance(one, GateResult)
    ]
    records += [
        _gate("parity.cosine_min", Verdict.FAIL, 0.5, 0.98, None, "worst: photo_0001"),
        _gate("parity.cosine_p1", Verdict.PASS, 1 - 2.4e-12, 0.99, None, ""),
        _gate("performance.fp32_ratio", Verdict.PASS, 2.1, 1.2, (2.0, "inf"), "", batch=8),
        _gate("performance.stored", Verdict.NOT_EVALUATED, None, 1.03, None, "none", batch=8),
        _gate("robustness.blur", Verdict.INCONCLUSIVE, 0.01, 0.02, ("-inf", 0.03), "few pairs"),
        _gate("build.problems", Verdict.NOT_RUN, None, 0, None, ""),
    ]
    return json.dumps(_document(records, measurements))


def document() -> dict[str, Any]:
    """Return a report of the test's own."""
    found: dict[str, Any] = json.loads(whole())
    return found


def _document(gates: list[dict[str, Any]], measurements: dict[str, Any]) -> dict[str, Any]:
    verdicts = [gate["verdict"] for gate in gates]
    return {
        "schema": 1,
        "started_at": "2026-01-01T10:00:00+00:00",
        "finished_at": "2026-01-01T11:00:00+00:00",
        "verdict": "fail",
        "sentence": "INT8 may not replace FP32: parity.cosine_min fails.",
        "exit_status": 1,
        "counts": {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
        "gate_titles": {gate.name: gate.observes for gate in catalogue.CATALOGUE},
        "protocol": "squared L2",
        "partial": "",
        "settings": {"precisions": ["int8"], "batch_sizes": [8], "protocol": "plain"},
        "gates_file": "/project/baselines/gates.toml",
        "environment": {
            "facenet_validate": "0.2.0",
            "onnxruntime": "1.32.0",
            "backend": "onnxruntime",
            "backend_version": "1.32.0",
            "backend_reason": "there is no GPU",
            "backend_unavailable": "",
            "device": "Fast(R) CPU",
            "cpu": "Fast(R) CPU",
            "cpu_details": "family 6",
            "threads": 2,
            "target": "cpu",
            "target_reason": "no VNNI",
        },
        "dataset": {
            "name": "lfw",
            "title": "some people",
            "pairs": 900,
            "images": 750,
            "people": 450,
            "pairs_sha256": "ab" * 32,
            "files": {},
        },
        "engines": {"int8": {"sha256": "cd" * 32, "recipe": "INT8", "options": {"threads": "2"}}},
        "reference": {"sha256": "ef" * 32, "runtime": "onnxruntime 1.32.0"},
        "photos": {"lfw": "changed"},
        "gates": gates,
        "measurements": [
            {
                "name": name,
                "precision": "int8",
                "dataset": "lfw",
                **plain(values, name),
                "test": f"suites/test_{name}.py",
            }
            for name, values in measurements.items()
        ],
        "errors": [],
        "required_and_not_judged": [],
    }


def _gate(
    gate: str,
    verdict: str,
    observed: float | None,
    limit: float | None,
    interval: Any,
    detail: str,
    batch: int | None = None,
) -> dict[str, Any]:
    return {
        "gate": gate,
        "precision": "int8",
        "target": "cpu",
        "dataset": "lfw",
        "recipe_only": gate == "build.problems",
        "batch": batch,
        "verdict": str(verdict),
        "fails": verdict == Verdict.FAIL,
        "try": 1,
        "observed": observed,
        "limit": limit,
        "interval": interval and [str(v) if np.isinf(float(v)) else v for v in interval],
        "detail": detail,
        "test": "suites/test_all.py",
    }


def _others() -> dict[str, Any]:
    """Return measurements of a timed, a corrupted and a diagnosed engine."""
    session = make_session(9)
    chance = np.random.default_rng(3)
    sessions = [make_session(day, epoch=1 + day // 4) for day in range(8)]
    return {
        "speed": {
            "batch": 8,
            "scope": "end-to-end",
            "fps": 80.5,
            "blocks": 24,
            "block_seconds": list(session.block_seconds),
            "measured_again": [],
            "disturbance": "another process",
            "unsettled": True,
            "surroundings": {},
            "ratio": 2.1,
            "ratio_interval": [2.0, 2.2],
            "quads": 12,
            "log_ratios": chance.normal(0.74, 0.02, 12).tolist(),
            "beside": "fp32",
            "session": to_mapping(session),
            "stored": stored_values(sessions),
        },
        "latency": {"batch": 8, "batches": 250, "p50_ms": 99.0, "p90_ms": 104.5, "clock": "host"},
        "slower layers": {
            "batch": 8,
            "beside": "fp32",
            "gates": {
                "performance.stored": {
                    "layers": [
                        {"name": "conv_1", "kind": "Conv", "ms": 3.5, "expected_ms": 1.5},
                        {"name": "conv_2", "kind": "Conv", "ms": 2.5, "expected_ms": 1.25},
                    ],
                    "added_ms": 3.25,
                    "explained": 0.9,
                },
                "performance.fp32_ratio": {"untold": "the engine has no profiler"},
            },
        },
        "self-check": {"comparisons": 20, "false_failures": 0, "latency_ratios": [1.0, 1.01]},
        "build": {"source": "the ONNX graph", "shares": {"int8": 0.99}, "bytes": 27_202_421},
        "corruptions": {
            "pictures": 400,
            "as_they_are": {"reference_accuracy": 0.99, "engine_accuracy": 0.985},
            "kinds": [
                {
                    "kind": kind,
                    "lost": 5,
                    "won": 2,
                    "pairs": 900,
                    "drop": 0.0033,
                    "upper_95": 0.0081,
                    "mcnemar_p_value": 0.2,
                    "severities": [
                        {
                            "severity": step,
                            "pairs": 180,
                            "reference_accuracy": 0.99 - 0.02 * step,
                            "engine_accuracy": 0.985 - 0.025 * step,
                        }
                        for step in (1, 2, 3)
                    ],
                }
                for kind in KINDS
            ],
        },
        "diagnosis": _diagnosis(),
        "my own": {"figure": 1.25, "table": {"deep_down": 3}, "list": [1, 2], "text": "hello"},
    }


def _diagnosis() -> dict[str, Any]:
    found = {"cosine_before": 0.61, "detail": ""}
    nodes = [
        {
            "node": f"node_{place}",
            "kind": "Conv",
            "block": "block35 1",
            "local_sqnr": 60.0 - place,
            "local_cosine": 0.999,
            "sqnr": 60.0 - place - 30.0 * (place > 4),
            "cosine": 0.99,
        }
        for place in range(10)
    ]
    return {
        "text": "red and blue are exchanged (explains 99.7 % of the difference)",
        "cause": "colour order",
        "advice": "Feed the engine RGB.",
        "alike": ["the first layer's weights are in the other order"],
        "faces": 64,
        "worst_faces": ["photo_0001"],
        "tried": [
            {
                **found,
                "cause": "colour order",
                "title": "red and blue are exchanged",
                "removed": 0.997,
                "cosine_after": 0.999,
                "named": True,
            },
            {
                **found,
                "cause": "scale",
                "title": "inputs are scaled twice",
                "removed": -0.5,
                "cosine_after": 0.4,
                "named": False,
            },
        ],
        "not_tried": [{"cause": "layer weights", "reason": "the graph is not at hand"}],
        "walk": {
            "source": "marked outputs",
            "untold": "",
            "notes": ["marking outputs changes fusion"],
            "jump": "node_5",
            "nodes": nodes,
        },
    }
