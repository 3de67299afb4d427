"""Photos → aligned faces: the crop FaceNet's published accuracies rest on, over a pool of workers.

The crop is that of ``align/align_dataset_mtcnn.py`` in davidsandberg/facenet with ``--margin 32
--image_size 160``, stretched by OpenCV's bilinear interpolation.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.datasets.images import decode_image
from facenet_validate.datasets.mtcnn import Detections, Mtcnn, MtcnnNetworks
from facenet_validate.errors import DatasetError

ALIGNER_ID = "mtcnn-margin32-160-1"
"""Changes whenever a pixel of an aligned face may change: stored faces are keyed by it."""

SIZE = 160
MARGIN = 16
"""Source pixels added on each side of a detected box."""

_FALLBACK = (-0.252, -0.308, 0.244, 0.316)
"""Crop of a photo without a face: x1, y1, x2, y2 from its centre, in shorter sides.

The median crop, margin included, of 400 LFW photos drawn at random: 62, 48, 186, 204 of 250 pixels.
"""

_PHOTOS_PER_TASK = 8
_TASKS_PER_WORKER = 2

Photo = tuple[str, bytes]


@dataclass(frozen=True)
class AlignedFace:
    """One photo's face.

    Attributes
    ----------
    pixels : numpy.ndarray, shape (160, 160, 3), uint8
        RGB.
    box : tuple of float
        The crop: x1, y1, x2, y2 in source pixels, the last two exclusive.
    faces_found : int
        How many faces the photo shows; 0 means that the centre crop was taken.
    """

    pixels: NDArray[np.uint8]
    box: tuple[float, float, float, float]
    faces_found: int


def align_face(image: NDArray[np.uint8], detections: Detections) -> AlignedFace:
    """Crop the most prominent face and stretch it to 160×160.

    Of several faces the one with the largest ``area − 2·d²`` is taken, where d is the distance of
    the box's centre from the photo's. It gets a margin of 16 source pixels on each side, clipped to
    the photo. Where there is no face the crop lies where faces lie in LFW's photos.

    Parameters
    ----------
    image : numpy.ndarray, shape (H, W, 3), uint8
        RGB, at least one pixel.
    detections : Detections
        What :meth:`Mtcnn.detect` found in it.
    """
    height, width, _ = image.shape
    boxes = detections.boxes
    corners = np.hstack(
        (
            np.maximum(boxes[:, :2] - MARGIN, 0),
            np.minimum(boxes[:, 2:] + MARGIN, (width, height)),
        )
    ).astype(np.int32)
    # A box that lies beside the photo leaves nothing to crop.
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    boxes, corners = boxes[inside], corners[inside]
    if len(boxes):
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        offsets = (boxes[:, :2] + boxes[:, 2:]) / 2 - (width / 2, height / 2)
        x1, y1, x2, y2 = corners[np.argmax(areas - 2 * np.square(offsets).sum(axis=1))].tolist()
    else:
        x1, y1, x2, y2 = _centre_crop(width, height)
    pixels = cv2.resize(image[y1:y2, x1:x2], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    return AlignedFace(
        pixels.astype(np.uint8, copy=False),
        (float(x1), float(y1), float(x2), float(y2)),
        len(boxes),
    )


def _centre_crop(width: int, height: int) -> tuple[int, int, int, int]:
    side = min(width, height)
    left, top, right, bottom = (round(fraction * side) for fraction in _FALLBACK)
    x, y = width // 2, height // 2
    return x + left, y + top, max(x + right, x + left + 1), max(y + bottom, y + top + 1)


def align_all(
    photos: Iterable[Photo], networks: MtcnnNetworks, workers: int
) -> Iterator[tuple[str, AlignedFace]]:
    """Decode, detect and crop photos, in worker processes where there is more than one.

    Photos are drawn as they are needed and few are in flight, so neither photos nor faces pile up.
    The workers end with the iterator: when it is exhausted, closed, or raises.

    Parameters
    ----------
    photos : iterable of (str, bytes)
        Name, for results and errors, and the encoded JPEG or PNG.
    networks : MtcnnNetworks
        See :func:`facenet_validate.datasets.mtcnn.installed_networks`.
    workers : int
        Processes; 1 works in this one.

    Yields
    ------
    (str, AlignedFace)
        In the order they are finished.

    Raises
    ------
    DatasetError
        If a photo cannot be decoded (it is named), or a worker was killed.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1")
    if workers == 1:
        mtcnn = Mtcnn(networks)
        for photo in photos:
            yield _align(photo, mtcnn)
        return
    pool = ProcessPoolExecutor(
        workers, mp_context=_WorkerContext(), initializer=_start_worker, initargs=(networks,)
    )
    try:
        yield from _in_pool(pool, iter(photos), workers * _TASKS_PER_WORKER)
    except BrokenProcessPool as error:
        raise DatasetError(
            f"one of the {workers} processes that align faces ended abruptly: most often the "
            "system killed it for lack of memory. Free memory and run again."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _in_pool(
    pool: ProcessPoolExecutor, photos: Iterator[Photo], in_flight: int
) -> Iterator[tuple[str, AlignedFace]]:
    running: set[Future[list[tuple[str, AlignedFace]]]] = set()
    while True:
        while len(running) < in_flight and (task := list(islice(photos, _PHOTOS_PER_TASK))):
            running.add(pool.submit(_align_in_worker, task))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield from future.result()


def _align(photo: Photo, mtcnn: Mtcnn) -> tuple[str, AlignedFace]:
    name, data = photo
    image = decode_image(data, name=name)
    return name, align_face(image, mtcnn.detect(image))


class _WorkerProcess(SpawnProcess):
    """A spawned process that never imports the program's main module nor hears Ctrl-C.

    The main module may be pytest, or a script without a guard that would align faces again. Ctrl-C
    reaches the whole process group; the one who waits for the workers ends them.
    """

    def start(self) -> None:
        main = sys.modules["__main__"]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class _WorkerContext(SpawnContext):
    Process = _WorkerProcess


class _Worker(threading.local):
    """What a worker process keeps between tasks."""

    mtcnn: Mtcnn


_worker = _Worker()


def _start_worker(networks: MtcnnNetworks) -> None:
    cv2.setNumThreads(1)
    _worker.mtcnn = Mtcnn(networks)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A parent that was killed cannot end its workers, which would wait for tasks for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _align_in_worker(task: list[Photo]) -> list[tuple[str, AlignedFace]]:
    return [_align(photo, _worker.mtcnn) for photo in task]
