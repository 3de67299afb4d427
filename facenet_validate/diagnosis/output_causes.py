"""Experiments on embeddings alone: scale, sign, norm, order and axes of the dimensions.

What is fitted is fitted on every second face and judged on the others.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from facenet_validate.diagnosis import causes
from facenet_validate.diagnosis.case import Case
from facenet_validate.diagnosis.diagnosis import Cause, Finding
from facenet_validate.diagnosis.rule import Rows, comparable, judged, unit

SAME_SCALE = 0.01
"""Spread of the rows' norms, as a share of their mean, up to which one scale explains them."""


def output_findings(case: Case) -> Iterator[Finding]:
    """Imitate faults behind the last layer: each is arithmetic on the reference's embeddings."""
    found, expected = comparable(case)
    precision = case.engine.info.precision
    fit, judge = slice(0, None, 2), slice(1, None, 2)

    def finding(cause: Cause, imitated: Rows, detail: str = "") -> Finding:
        return judged(cause, found[judge], expected[judge], imitated, precision, detail)

    lengths = np.linalg.norm(found, axis=1)
    sign = np.sign(np.sum(found[fit] * expected[fit])) or 1.0
    scale = float(sign * lengths[fit].mean() / np.linalg.norm(expected[fit], axis=1).mean())
    cause = causes.OUTPUT_NEGATED if scale < 0 else causes.OUTPUT_SCALED
    if lengths.std() <= SAME_SCALE * lengths.mean():
        yield finding(cause, scale * expected[judge], f"every row times {scale:.4g}")
    else:
        normed = unit(expected[judge]) * lengths[judge, np.newaxis]
        yield finding(
            causes.NORM_MISSING, normed, f"norms {lengths.min():.4g} to {lengths.max():.4g}"
        )

    # What follows looks at directions: the rows have the engine's own lengths.
    lengths = lengths[:, np.newaxis]
    rows, known = unit(found), unit(expected)
    signs = np.where(np.sum(rows[fit] * known[fit], axis=0) < 0, -1.0, 1.0)
    turned = f"{np.sum(signs < 0)} of {len(signs)} dimensions"
    yield finding(causes.SIGNS_CHANGED, lengths[judge] * known[judge] * signs, turned)

    order, signs = matched_dimensions(rows[fit], known[fit])
    moved = int(np.sum(order != np.arange(len(order))))
    detail = f"{moved} of {len(order)} dimensions at another place"
    if np.any(signs < 0):
        detail += f", {np.sum(signs < 0)} with the opposite sign"
    yield finding(causes.OUTPUT_PERMUTED, lengths[judge] * known[judge][:, order] * signs, detail)

    scales = fitted_scales(rows[fit], known[fit])
    detail = f"scales {scales.min():.3g} to {scales.max():.3g}"
    yield finding(causes.DIMENSIONS_SCALED, lengths[judge] * unit(known[judge] * scales), detail)


def matched_dimensions(
    rows: NDArray[np.float64], known: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the dimension of ``known`` that each dimension of ``rows`` is, and its sign.

    The assignment whose squared differences have the least sum, over all orders and signs: for
    given columns that is the one whose products have the largest sum of sizes.

    Parameters
    ----------
    rows, known : ndarray of shape (N, D)
        Rows of length 1.
    """
    products = rows.T @ known
    of, order = linear_sum_assignment(np.abs(products), maximize=True)
    return order, np.where(products[of, order] < 0, -1.0, 1.0)


def fitted_scales(rows: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a scale for each dimension, by least squares.

    A dimension in which the faces differ little decides nothing, so each scale is drawn to 1 with
    the weight of one face.
    """
    prior = np.mean(known**2)
    return np.asarray((np.sum(known * rows, axis=0) + prior) / (np.sum(known**2, axis=0) + prior))
