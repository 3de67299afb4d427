"""The corners of the ROC."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from facenet_validate.metrics.roc import Roc
from tests.metrics.test_verification import Scores, lfw_like, scores


@given(scores())
def test_lines_between_the_corners_pass_through_every_point(case: Scores) -> None:
    roc = Roc.from_pairs(*case)
    curve = roc.curve()
    far, tar = roc.impostor / roc.impostor[-1], roc.genuine / roc.genuine[-1]
    # Along a monotone curve FAR + TAR never falls and rises at every point.
    for values, corners in ((far, curve.far), (tar, curve.tar)):
        np.testing.assert_allclose(
            np.interp(far + tar, curve.far + curve.tar, corners), values, atol=1e-12
        )


@given(scores())
def test_every_corner_is_a_point_where_the_curve_turns(case: Scores) -> None:
    roc = Roc.from_pairs(*case)
    curve = roc.curve()
    assert set(curve.thresholds) <= set(roc.thresholds)
    assert (curve.far[0], curve.tar[0], curve.far[-1], curve.tar[-1]) == (0, 0, 1, 1)
    steps = np.stack([np.diff(curve.far), np.diff(curve.tar)])
    turns = steps[0, 1:] * steps[1, :-1] - steps[0, :-1] * steps[1, 1:]
    assert (np.abs(turns) > 1e-12).all()


def test_the_area_under_the_corners_is_the_auc() -> None:
    distances, same, _ = lfw_like()
    roc = Roc.from_pairs(distances, same)
    curve = roc.curve()
    assert np.trapezoid(curve.tar, curve.far) == pytest.approx(roc.auc(), abs=1e-12)
    assert len(curve.far) < len(roc.thresholds) / 5
