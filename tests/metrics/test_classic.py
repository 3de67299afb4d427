"""The classic grid evaluation, digit for digit, against a literal slow one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import interp1d
from scipy.optimize import brentq

from facenet_validate.metrics.classic import ClassicEvaluation, evaluate_classic
from facenet_validate.metrics.pairs import PairList
from facenet_validate.metrics.protocols import PROTOCOLS, Protocol, with_flips
from facenet_validate.metrics.view2 import evaluate_embeddings
from tests.metrics.test_view2 import ALL_PROTOCOLS, every_protocol, people


class LiteralClassic:
    """What the original computes: every fold, every threshold, every time anew."""

    def __init__(self, embeddings: NDArray[Any], pairs: PairList, protocol: Protocol) -> None:
        # The original fills a float64 array and takes turns between left and right.
        self.first = embeddings[pairs.left].astype(np.float64)
        self.second = embeddings[pairs.right].astype(np.float64)
        self.same, self.folds = pairs.same, pairs.folds
        self.protocol = protocol

    def distances(self, train: NDArray[np.bool_]) -> NDArray[np.float64]:
        mean: Any = 0.0
        if self.protocol.subtract_mean:
            mean = np.mean(np.concatenate([self.first[train], self.second[train]]), axis=0)
        a, b = self.first - mean, self.second - mean
        if self.protocol.distance == "squared L2":
            return np.asarray(np.sum(np.square(a - b), axis=1))
        cosine = np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        if self.protocol.distance == "cosine":
            return np.asarray(1 - cosine)
        return np.asarray(np.arccos(cosine) / math.pi)

    @staticmethod
    def confusion(
        threshold: float, distances: NDArray[np.float64], same: NDArray[np.bool_]
    ) -> tuple[int, int, int, int]:
        accepted = np.less(distances, threshold)
        true_accepts = np.sum(np.logical_and(accepted, same))
        false_accepts = np.sum(np.logical_and(accepted, np.logical_not(same)))
        true_rejects = np.sum(np.logical_and(np.logical_not(accepted), np.logical_not(same)))
        false_rejects = np.sum(np.logical_and(np.logical_not(accepted), same))
        return int(true_accepts), int(false_accepts), int(true_rejects), int(false_rejects)

    def rates(
        self, threshold: float, distances: NDArray[np.float64], same: NDArray[np.bool_]
    ) -> tuple[float, float, float]:
        """True- and false-accept rate, and accuracy."""
        hits, wrong, rejected, missed = self.confusion(threshold, distances, same)
        return hits / (hits + missed), wrong / (wrong + rejected), (hits + rejected) / same.size

    def accuracies(self) -> tuple[list[float], float, float | None]:
        """Fold accuracies, the area under the mean ROC, and the EER on it."""
        grid = np.arange(0, 4, 0.01)
        accuracies, tprs, fprs = [], [], []
        for fold in range(int(self.folds.max()) + 1):
            test = self.folds == fold
            distances = self.distances(~test)
            trained = [self.rates(t, distances[~test], self.same[~test])[2] for t in grid]
            best = grid[int(np.argmax(trained))]
            points = [self.rates(t, distances[test], self.same[test]) for t in grid]
            tprs.append([point[0] for point in points])
            fprs.append([point[1] for point in points])
            accuracies.append(self.rates(best, distances[test], self.same[test])[2])
        tpr, fpr = np.mean(tprs, 0), np.mean(fprs, 0)
        # scikit-learn's metrics.auc is this sum.
        area = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))
        try:
            eer = brentq(lambda x: 1.0 - x - interp1d(fpr, tpr)(x), 0.0, 1.0)
        except ValueError:  # the grid ends before FAR is 1
            return accuracies, area, None
        return accuracies, area, float(eer)

    def validation_rate(self) -> tuple[float, float, float]:
        """VAL, its standard deviation, and FAR."""
        grid = np.arange(0, 4, 0.001)
        vals, fars = [], []
        for fold in range(int(self.folds.max()) + 1):
            test = self.folds == fold
            distances = self.distances(~test)
            trained = [self.rates(t, distances[~test], self.same[~test])[1] for t in grid]
            limit = self.interpolated(trained, grid.tolist()) if max(trained) >= 1e-3 else 0.0
            val, far, _ = self.rates(limit, distances[test], self.same[test])
            vals.append(val)
            fars.append(far)
        return float(np.mean(vals)), float(np.std(vals)), float(np.mean(fars))

    @staticmethod
    def interpolated(far: list[float], thresholds: list[float]) -> float:
        """Go along the line from the last step at or below the wanted FAR to the one after it."""
        at = max(step for step, value in enumerate(far) if value <= 1e-3)
        if at == len(far) - 1:
            return thresholds[at]
        share = (1e-3 - far[at]) / (far[at + 1] - far[at])
        return thresholds[at] + share * (thresholds[at + 1] - thresholds[at])


def classic(
    embeddings: NDArray[Any], pairs: PairList, protocol: Protocol = PROTOCOLS["plain"]
) -> ClassicEvaluation:
    found = evaluate_classic(evaluate_embeddings(embeddings, pairs, protocol))
    assert found is not None
    return found


def assert_digit_for_digit(
    result: ClassicEvaluation, embeddings: NDArray[Any], pairs: PairList, protocol: Protocol
) -> None:
    literal = LiteralClassic(embeddings, pairs, protocol)
    accuracies, area, eer = literal.accuracies()
    assert result.fold_accuracies.tolist() == accuracies
    assert result.accuracy == np.mean(accuracies)
    assert result.accuracy_std == np.std(accuracies)
    assert (result.val, result.val_std, result.far) == literal.validation_rate()
    assert result.auc == pytest.approx(area, abs=1e-14)
    assert result.eer == (eer if eer is None else pytest.approx(eer, abs=1e-9))


@every_protocol
def test_the_grid_is_the_originals_digit_for_digit(protocol: Protocol) -> None:
    embeddings, pairs = people(per_kind=50)
    result = classic(embeddings, pairs, protocol)
    assert_digit_for_digit(result, embeddings, pairs, protocol)


@pytest.mark.parametrize("seed", range(3))
def test_flips_digit_for_digit_and_the_area_that_collapses(seed: int) -> None:
    embeddings, pairs = people(seed, folds=4, per_kind=60)
    both = with_flips(embeddings, embeddings[:, ::-1])
    plain = classic(both, pairs)
    assert_digit_for_digit(plain, both, pairs, PROTOCOLS["plain"])
    # Distances beyond 4 are beyond the grid, and the area ends with it; there is no EER then.
    assert plain.eer is None
    assert plain.auc < evaluate_embeddings(both, pairs).scores.auc - 0.01
    assert_digit_for_digit(
        classic(both, pairs, PROTOCOLS["davidsandberg"]),
        both,
        pairs,
        PROTOCOLS["davidsandberg"],
    )


def test_the_interpolation_is_scipys_where_scipy_has_one() -> None:
    """FAR rises at every step of the fine grid: 4,000 impostors, one between any two steps."""
    steps = np.arange(0, 4, 0.001)
    random = np.random.default_rng(5)
    impostor = np.concatenate([steps + 0.0005, steps + 0.0002])
    genuine = random.uniform(0, 0.02, size=impostor.size)
    distances = np.concatenate([genuine, impostor])
    # On a line, the squared distance from the origin is the square of the place.
    embeddings = np.concatenate([[0.0], np.sqrt(distances)])[:, None]
    count = distances.size
    pairs = PairList(
        np.zeros(count, np.intp),
        np.arange(1, count + 1),
        np.arange(count) < genuine.size,
        np.arange(count) // steps.size % 2,
    )
    expected = []
    for fold in range(2):
        test = pairs.folds == fold
        measured = embeddings[1:, 0] ** 2
        seen = np.sort(measured[~test & ~pairs.same])
        far = np.searchsorted(seen, steps) / seen.size
        limit = float(interp1d(far, steps, kind="slinear")(1e-3))
        expected.append(float(np.mean(measured[test & pairs.same] < limit)))
    result = classic(embeddings, pairs)
    assert result.val == np.mean(expected)
    assert 0 < result.val < 1


def test_a_far_out_of_reach_accepts_nothing() -> None:
    """The original's threshold is 0 where no step of the grid accepts so many impostors."""
    embeddings, pairs = people()
    # Impostors are all beyond 4.
    wide = embeddings * np.float32(100)
    result = classic(wide, pairs)
    assert (result.val, result.far) == (0, 0)
    assert_digit_for_digit(result, wide, pairs, PROTOCOLS["plain"])


@pytest.mark.parametrize("fold", [0, 2])
def test_a_fold_without_genuine_pairs_has_no_classic_figures(fold: int) -> None:
    """The original divides by their number there; our own evaluation only needs them to train."""
    embeddings, pairs = people(folds=3, per_kind=4)
    one_kind = pairs.without(np.flatnonzero(pairs.same & (pairs.folds == fold)))
    view = evaluate_embeddings(embeddings, one_kind)
    assert 0 < view.scores.accuracy <= 1
    assert evaluate_classic(view) is None


def test_exact_thresholds_are_never_worse_trained_than_the_grids() -> None:
    embeddings, pairs = people(per_kind=50)
    for protocol in ALL_PROTOCOLS[:3]:
        exact = evaluate_embeddings(embeddings, pairs, protocol)
        grid = classic(embeddings, pairs, protocol)
        for fold, (ours, theirs) in enumerate(
            zip(exact.scores.thresholds, grid.fold_thresholds, strict=True)
        ):
            train = pairs.folds != fold
            same, distances = pairs.same[train], exact.distances[train]
            assert np.sum((distances < ours) == same) >= np.sum((distances < theirs) == same)


def test_a_pair_at_a_grid_step_is_rejected_there() -> None:
    """Genuine pairs at 0.25, impostors at 0.5: the best step is the one after 0.25."""
    same = np.tile([True, False], 8)
    embeddings = np.concatenate([[0.0], np.sqrt(np.where(same, 0.25, 0.5))])[:, None]
    pairs = PairList(np.zeros(16, np.intp), np.arange(1, 17), same, np.repeat([0, 1], 8))
    result = classic(embeddings, pairs)
    assert 0.25 in np.arange(0, 4, 0.01)
    assert result.fold_thresholds.tolist() == [np.arange(0, 4, 0.01)[26]] * 2
    assert result.accuracy == 1
    assert_digit_for_digit(result, embeddings, pairs, PROTOCOLS["plain"])


@pytest.mark.parametrize("beyond", [1.0, 9.0], ids=["steps follow", "to the grid's end"])
def test_a_far_that_is_just_met_is_met_up_to_its_last_step(beyond: float) -> None:
    """One training impostor of 1,000 below: FAR is 1e-3 from 0.1 on, up to the others."""
    fold = np.concatenate([[0.1005], np.full(999, beyond), np.repeat([0.05, 0.5], 5)])
    same = np.arange(fold.size) >= 1000
    embeddings = np.concatenate([[0.0], np.sqrt(fold), np.sqrt(fold)])[:, None]
    count = 2 * fold.size
    pairs = PairList(
        np.zeros(count, np.intp),
        np.arange(1, count + 1),
        np.tile(same, 2),
        np.repeat([0, 1], fold.size),
    )
    result = classic(embeddings, pairs)
    assert (result.val, result.far) == (1, 1e-3)
    assert_digit_for_digit(result, embeddings, pairs, PROTOCOLS["plain"])
