"""MTCNN face detection on ONNX Runtime, with the numeric conventions FaceNet was aligned with.

Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks",
IEEE Signal Processing Letters 23(10), 2016. The conventions (transposed input, one-based inclusive
boxes, truncations, area interpolation) are those of ``align/detect_face.py`` in
davidsandberg/facenet, whose crops the published FaceNet accuracies rest on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from facenet_validate.datasets.mtcnn_networks import (
    MtcnnNetworks,
    installed_networks,
    without_prelu,
)

__all__ = ["Detections", "Mtcnn", "MtcnnNetworks", "installed_networks", "suppress"]

MIN_FACE = 20
"""Side of the smallest face that is searched for, in source pixels."""
PYRAMID_FACTOR = 0.709
MOST_PIXELS = 16 * 2**20
"""Pixels of the largest photo that is searched in full size. Larger photos are reduced to it.

A search takes about 100 bytes for each pixel, 1.6 GB in all. Faces smaller than 20 pixels of the
reduced photo are not found: in a photo of 108 megapixels, faces smaller than 51 of its 12,000
pixels.
"""
PNET_THRESHOLD, RNET_THRESHOLD, ONET_THRESHOLD = 0.6, 0.7, 0.7

_PNET_CELL, _PNET_STRIDE = 12, 2
_RNET_SIDE, _ONET_SIDE = 24, 48
# Few enough that a layer's tensors stay in a core's cache.
_RNET_CROPS, _ONET_CROPS = 8, 4
_NMS_BLOCK = 256

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Detections:
    """Faces found in one image, highest score first.

    Attributes
    ----------
    boxes : numpy.ndarray, shape (F, 4), float64
        x1, y1, x2, y2 in source pixels: neither rounded nor clipped to the image.
    scores : numpy.ndarray, shape (F,), float64
        The last network's probability of a face, descending.
    """

    boxes: Floats
    scores: Floats


@dataclass(frozen=True)
class _Level:
    """P-Net's candidates at one scale: cells (K, 2) as x, y; scores (K,); offsets (K, 4)."""

    scale: float
    cells: NDArray[np.intp]
    scores: Pixels
    offsets: Pixels


class Mtcnn:
    """The three-stage detector: one thread, no state between images.

    Parameters
    ----------
    networks : MtcnnNetworks
        See :func:`installed_networks`.
    """

    def __init__(self, networks: MtcnnNetworks) -> None:
        self._pnet = _session(networks.pnet)
        self._rnet = _session(networks.rnet)
        self._onet = _session(networks.onet)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Find the faces of one image. One of more than `MOST_PIXELS` is reduced first, by area.

        Parameters
        ----------
        image : numpy.ndarray, shape (H, W, 3), uint8
            RGB.
        """
        height, width, _ = image.shape
        if height * width <= MOST_PIXELS:
            return self._detect(image)
        reduced = _reduced(image)
        found = self._detect(reduced)
        across, down = width / reduced.shape[1], height / reduced.shape[0]
        return Detections(found.boxes * (across, down, across, down), found.scores)

    def _detect(self, image: NDArray[np.uint8]) -> Detections:
        # The networks were trained in a column-major framework: they take x before y. Transposed
        # here once, and not again for every level of the pyramid and every crop.
        pixels = cv2.transpose(image).astype(np.float32)
        boxes = self._propose(pixels)
        if len(boxes):
            boxes = self._refine(pixels, boxes)
        if len(boxes):
            return self._conclude(pixels, boxes)
        return Detections(np.empty((0, 4)), np.empty(0))

    def _propose(self, pixels: Pixels) -> Floats:
        """Run P-Net over the pyramid: integral square boxes (K, 4) in source pixels."""
        levels = [self._scan(pixels, scale) for scale in _scales(pixels.shape)]
        if not levels:
            return np.empty((0, 4))
        counts = [len(level.scores) for level in levels]
        scales = np.repeat([level.scale for level in levels], counts)[:, np.newaxis]
        cells = np.concatenate([level.cells for level in levels])
        scores = np.concatenate([level.scores for level in levels]).astype(np.float64)
        offsets = np.concatenate([level.offsets for level in levels]).astype(np.float64)
        corners = _PNET_STRIDE * np.hstack((cells, cells)) + (1, 1, _PNET_CELL, _PNET_CELL)
        boxes = np.trunc(corners / scales)
        ends = accumulate(counts, initial=0)
        kept = np.concatenate(
            [
                start + suppress(boxes[start:stop], scores[start:stop], 0.5)
                for start, stop in pairwise(ends)
            ]
        )
        kept = kept[suppress(boxes[kept], scores[kept], 0.7)]
        boxes = boxes[kept]
        return _integral_squares(boxes + offsets[kept] * _sides(boxes))

    def _scan(self, pixels: Pixels, scale: float) -> _Level:
        """Run P-Net at one scale."""
        width, height, _ = pixels.shape
        size = math.ceil(height * scale), math.ceil(width * scale)
        scaled = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        # Equal to resizing the 8-bit image, in two thirds of the time.
        level = _normalized(np.rint(scaled, out=scaled))
        offsets, probabilities = self._pnet.run(
            ("conv2d_4", "softmax"), {"input_1": level[np.newaxis]}
        )
        probability = probabilities[0, :, :, 1]
        cells = np.argwhere(probability >= PNET_THRESHOLD)
        x, y = cells.T
        # A single candidate takes its offsets from the mirrored column. This is a mistake of the
        # original (from its MATLAB source), kept because FaceNet's own crops were made with it.
        column = len(probability) - 1 - x if len(cells) == 1 else x
        return _Level(scale, cells, probability[x, y], offsets[0, column, y])

    def _refine(self, pixels: Pixels, boxes: Floats) -> Floats:
        """Run R-Net on proposals: integral square boxes (K, 4)."""
        names = ("dense_2", "softmax_1")
        offsets, scores = _look(
            self._rnet, names, pixels, boxes, side=_RNET_SIDE, crops_per_run=_RNET_CROPS
        )
        passed = scores > RNET_THRESHOLD
        boxes, scores, offsets = boxes[passed], scores[passed], offsets[passed]
        kept = suppress(boxes, scores, 0.7)
        return _integral_squares(_regressed(boxes[kept], offsets[kept]))

    def _conclude(self, pixels: Pixels, boxes: Floats) -> Detections:
        """Run O-Net on the boxes that R-Net kept."""
        names = ("dense_5", "softmax_2")
        offsets, scores = _look(
            self._onet, names, pixels, boxes, side=_ONET_SIDE, crops_per_run=_ONET_CROPS
        )
        passed = scores > ONET_THRESHOLD
        boxes, scores = _regressed(boxes[passed], offsets[passed]), scores[passed]
        kept = suppress(boxes, scores, 0.7, of_smaller=True)
        return Detections(boxes[kept], scores[kept])


def suppress(
    boxes: Floats, scores: Floats, threshold: float, *, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Suppress non-maxima: drop every box that overlaps a better kept one too much.

    Boxes are inclusive of both corners (a box from 3 to 3 is one pixel wide).

    Parameters
    ----------
    boxes : numpy.ndarray, shape (K, 4), float64
        x1, y1, x2, y2.
    scores : numpy.ndarray, shape (K,), float64
        Of two equal scores the later one counts as better.
    threshold : float
        The largest overlap that is kept, as a fraction.
    of_smaller : bool
        Measure the intersection against the smaller box instead of against the union.

    Returns
    -------
    numpy.ndarray, shape (M,), intp
        Indices of the boxes that are kept, best first.
    """
    remaining = np.argsort(scores, kind="stable")[::-1]
    corners = boxes.T + np.array([[0.0], [0.0], [1.0], [1.0]])
    areas = (corners[2] - corners[0]) * (corners[3] - corners[1])
    kept: list[NDArray[np.intp]] = []
    # In blocks, so that memory is linear in K: a large photo has thousands of candidates.
    while len(remaining):
        block = remaining[:_NMS_BLOCK]
        x1, y1, x2, y2 = corners[:, remaining]
        left, top, right, bottom = corners[:, block, np.newaxis]
        width = np.minimum(right, x2) - np.maximum(left, x1)
        height = np.minimum(bottom, y2) - np.maximum(top, y1)
        shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
        ours, theirs = areas[block, np.newaxis], areas[remaining]
        whole = np.minimum(ours, theirs) if of_smaller else ours + theirs - shared
        spared = shared / whole <= threshold
        alive = np.ones(len(remaining), dtype=np.bool_)
        best = []
        for row, spared_by_row in enumerate(spared):
            if alive[row]:
                best.append(row)
                alive &= spared_by_row
        kept.append(block[best])
        remaining = remaining[len(block) :][alive[len(block) :]]
    return np.concatenate(kept) if kept else remaining


def _reduced(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image reduced to `MOST_PIXELS`, in proportion but for whole pixels."""
    height, width, _ = image.shape
    factor = math.sqrt(MOST_PIXELS / (height * width))
    size = max(1, math.floor(width * factor)), max(1, math.floor(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _scales(shape: tuple[int, ...]) -> Iterator[float]:
    """Yield the pyramid's scales, finest first, while a P-Net cell still fits."""
    finest = _PNET_CELL / MIN_FACE
    level, side = 0, min(shape[:2]) * finest
    while side >= _PNET_CELL:
        yield finest * PYRAMID_FACTOR**level
        level, side = level + 1, side * PYRAMID_FACTOR


def _look(
    session: ort.InferenceSession,
    names: tuple[str, str],
    pixels: Pixels,
    boxes: Floats,
    *,
    side: int,
    crops_per_run: int,
) -> tuple[Floats, Floats]:
    """Run a network on crops of the transposed image: offsets (K, 4), face probabilities (K,)."""
    (feed,) = session.get_inputs()
    offsets, scores = np.empty((len(boxes), 4)), np.empty(len(boxes))
    for start in range(0, len(boxes), crops_per_run):
        rows = slice(start, start + crops_per_run)
        corners = boxes[rows].astype(int).tolist()
        crops = np.empty((len(corners), side, side, 3), dtype=np.float32)
        for crop, box in zip(crops, corners, strict=True):
            cut = _cut(pixels, *box)
            cv2.resize(cut, (side, side), dst=crop, interpolation=cv2.INTER_AREA)
        offsets[rows], probabilities = session.run(names, {feed.name: _normalized(crops)})
        scores[rows] = probabilities[:, 1]
    return offsets, scores


def _cut(pixels: Pixels, x1: int, y1: int, x2: int, y2: int) -> Pixels:
    """Cut one box from the transposed image; black outside the image.

    Coordinates are one-based and inclusive: pixel x1 − 1 is the first one inside.
    """
    width, height, columns, rows = x2 - x1 + 1, y2 - y1 + 1, *pixels.shape[:2]
    left, top, right, bottom = max(x1 - 1, 0), max(y1 - 1, 0), min(x2, columns), min(y2, rows)
    if (right - left, bottom - top) == (width, height):
        return pixels[left:right, top:bottom]
    whole = np.zeros((width, height, 3), dtype=np.float32)
    if left < right and top < bottom:
        inside = pixels[left:right, top:bottom]
        whole[left - x1 + 1 : right - x1 + 1, top - y1 + 1 : bottom - y1 + 1] = inside
    return whole


def _normalized(pixels: Pixels) -> Pixels:
    """Map 0..255 to −1..1, in place."""
    pixels -= np.float32(127.5)
    pixels *= np.float32(1 / 128)
    return pixels


def _sides(boxes: Floats) -> Floats:
    """Return width, height, width, height of each box: (K, 4)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.hstack((sides, sides))


def _regressed(boxes: Floats, offsets: Floats) -> Floats:
    """Apply a network's box regression: offsets are fractions of the inclusive sides."""
    return boxes + offsets * (_sides(boxes) + 1)


def _integral_squares(boxes: Floats) -> Floats:
    """Widen the shorter side about the centre, truncate, and drop boxes without a pixel."""
    sides = boxes[:, 2:] - boxes[:, :2]
    side = np.maximum(sides[:, :1], sides[:, 1:])
    corner = boxes[:, :2] + sides * 0.5 - side * 0.5
    squares = np.trunc(np.hstack((corner, corner + side)))
    return squares[(squares[:, 2:] >= squares[:, :2]).all(axis=1)]


def _session(network: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(without_prelu(network), options, providers=["CPUExecutionProvider"])
