"""Speed and memory of the metrics, on embeddings made up in LFW's shape: `tox -e perf`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facenet_validate.metrics.all_pairs import all_pairs, compare_all_pairs
from facenet_validate.metrics.bootstrap import bootstrap_identities
from facenet_validate.metrics.delong import delong_paired
from facenet_validate.metrics.gallery_rates import gallery_rates
from facenet_validate.metrics.identification import enrol_first_images, search
from facenet_validate.metrics.paired import compare_decisions
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.power import minimum_detectable_drop
from facenet_validate.metrics.protocols import PROTOCOLS, with_flips
from facenet_validate.metrics.view2 import View2, evaluate_embeddings
from tests.metrics.test_classic import LiteralClassic

IMAGES, DIMENSIONS = 7701, 512
PLAIN = PROTOCOLS["plain"]
Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Lfw:
    """Embeddings of two engines and pairs, as many as LFW has."""

    reference: Rows
    engine: Rows
    identities: NDArray[np.intp]
    pairs: PairList


def _embeddings(identities: NDArray[np.intp]) -> tuple[Rows, Rows]:
    """Return unit embeddings of a reference and of an engine whose rows have a cosine of 0.999."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(identities.max() + 1, DIMENSIONS))
    rows = centres[identities] + random.normal(size=(len(identities), DIMENSIONS))
    noisy = rows + 0.063 * random.normal(size=rows.shape)
    reference, engine = (
        (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
        for made in (rows, noisy)
    )
    return reference, engine


@pytest.fixture(scope="module")
def lfw() -> Lfw:
    random = np.random.default_rng(1)
    identities = np.sort(np.concatenate([np.arange(4281), random.integers(4281, size=3420)]))
    same = np.tile(np.repeat([True, False], 300), 10)
    left = random.integers(IMAGES, size=6000)
    several = np.flatnonzero(np.append(np.diff(identities) == 0, False))
    left[same] = random.choice(several, size=3000)
    right = np.where(same, left + 1, (left + 2000) % IMAGES)
    return Lfw(
        *_embeddings(identities),
        identities,
        PairList(left, right, same, np.repeat(np.arange(10), 600)),
    )


def _report(case: Lfw, before: View2, engine: Rows) -> View2:
    """All that View 2 reports of an engine beside the reference, but the bootstrap."""
    pairs = case.pairs
    after = evaluate_embeddings(engine, pairs, before.rule.protocol)
    frozen = before.rule.distances(engine, pairs)
    drop = compare_decisions(before.correct, before.rule.correct(frozen, pairs))
    delong_paired(before.distances, after.distances, pairs.same)
    minimum_detectable_drop(drop.lost, drop.won, drop.pairs, delta=0.003)
    assert len(after.roc.curve().far) > 2
    return after


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def test_view_2_report_beside_the_classic_evaluation(benchmark: Any, lfw: Lfw) -> None:
    """An engine, from embeddings to every figure, against the classic evaluation of an engine.

    The reference is evaluated once a run, for all engines, and so before the clock starts.
    """
    reference = evaluate_embeddings(lfw.reference, lfw.pairs, PLAIN)

    def ours() -> None:
        _report(lfw, reference, lfw.engine)

    def classic() -> None:
        literal = LiteralClassic(lfw.engine, lfw.pairs, PLAIN)
        literal.accuracies()
        literal.validation_rate()

    ours()
    benchmark.pedantic(ours, rounds=15)
    times = []
    for _ in range(3):
        mine = median(_seconds(ours) for _ in range(5))
        times.append((mine, _seconds(classic)))
    ratio = median(slow / fast for fast, slow in times)
    benchmark.extra_info["times_faster_than_the_classic_evaluation"] = ratio
    print(
        f"\nView 2 of an engine in {median(t for t, _ in times) * 1e3:.1f} ms; the classic "
        f"evaluation in {median(t for _, t in times):.2f} s, {ratio:.0f} times that"
    )
    assert min(t for t, _ in times) < 0.025
    assert ratio > 100


def test_view_2_report_with_flips_and_means(benchmark: Any, lfw: Lfw) -> None:
    """The davidsandberg protocol, 1,024 dimensions and a mean a fold; told, not limited."""
    reference, engine = (with_flips(r, r[:, ::-1]) for r in (lfw.reference, lfw.engine))
    before = evaluate_embeddings(reference, lfw.pairs, PROTOCOLS["davidsandberg"])
    benchmark.pedantic(lambda: _report(lfw, before, engine), rounds=5, warmup_rounds=1)


def test_bootstrap(benchmark: Any, lfw: Lfw) -> None:
    """2,000 replicates over identities."""
    pairs = lfw.pairs
    before = evaluate_embeddings(lfw.reference, pairs, PLAIN)
    after = evaluate_embeddings(lfw.engine, pairs, PLAIN)
    frozen = before.rule.distances(lfw.engine, pairs)

    def resample() -> None:
        bootstrap_identities(
            pairs, lfw.identities, reference=before, engine=after, frozen=frozen, replicates=2000
        )

    benchmark.pedantic(resample, rounds=3, warmup_rounds=1)
    seconds = min(_seconds(resample) for _ in range(3))
    print(f"\n2,000 replicates in {seconds:.2f} s")
    assert seconds < 2


def _gallery() -> NDArray[np.intp]:
    """Who is in each of 11,684 images of 4,281 people, one of them in 530."""
    random = np.random.default_rng(2)
    people = [np.arange(4281), np.zeros(529, np.intp), random.integers(4281, size=6874)]
    return np.sort(np.concatenate(people))


def test_all_pairs(benchmark: Any) -> None:
    """68 million pairs of one engine."""
    identities = _gallery()
    reference, engine = _embeddings(identities)
    benchmark.pedantic(lambda: all_pairs(reference, identities), rounds=3, warmup_rounds=1)
    seconds = min(_seconds(lambda: all_pairs(reference, identities)) for _ in range(3))
    both = _seconds(lambda: compare_all_pairs(reference, engine, identities))
    print(f"\nall pairs in {seconds:.2f} s, of two engines in {both:.2f} s")
    assert seconds < 5


def test_all_pairs_memory() -> None:
    """Peak of a fresh process that scores two engines, embeddings and libraries included."""
    work = (
        "import resource; from tests.benchmarks import test_metrics as here; "
        "people = here._gallery(); here.compare_all_pairs(*here._embeddings(people), people); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", work], check=True, capture_output=True, text=True, timeout=300
    )
    peak = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    print(f"\nall pairs of two engines: peak {peak / 1e6:.0f} MB")
    assert peak < 1e9


def test_a_deployed_threshold_over_all_pairs() -> None:
    """68 million pairs of the reference and of the engine, and twice as many mixed ones."""
    identities = _gallery()
    reference, engine = _embeddings(identities)
    limit = all_pairs(reference, identities, (1e-3,)).points[0].threshold

    def three() -> None:
        gallery_rates(reference, identities, limit)
        gallery_rates(engine, identities, limit)
        gallery_rates(reference, identities, limit, probes=engine)

    seconds = min(_seconds(three) for _ in range(2))
    print(f"\nFMR and FNMR over all pairs, reference, engine and mixed: {seconds:.2f} s")
    assert seconds < 10


def test_identification() -> None:
    """As many photos as the people in pairs have."""
    identities = _gallery()
    reference, engine = _embeddings(identities)

    def three() -> None:
        enrolment = enrol_first_images(identities)
        for templates, probes in ((reference, reference), (engine, engine), (reference, engine)):
            search(templates, probes, enrolment)

    seconds = min(_seconds(three) for _ in range(2))
    print(f"\nidentification, reference, engine and mixed: {seconds:.2f} s")
    assert seconds < 5


def test_memory_of_a_replacement() -> None:
    """Peak of a fresh process that compares all pairs and identifies, mixed templates included."""
    work = (
        "import resource; from tests.benchmarks import test_metrics as here; "
        "people = here._gallery(); old, new = here._embeddings(people); "
        "here.gallery_rates(old, people, 1.0, probes=new); "
        "here.search(old, new, here.enrol_first_images(people)); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", work], check=True, capture_output=True, text=True, timeout=300
    )
    peak = int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
    print(f"\nall pairs and identification, mixed: peak {peak / 1e6:.0f} MB")
    assert peak < 1e9
