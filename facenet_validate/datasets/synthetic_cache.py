"""The synthetic faces on disk: drawn once, whole or absent, verified at every use."""

from __future__ import annotations

from pathlib import Path

import cv2

from facenet_validate.base.progress import Report
from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import (
    CALIBRATION_PEOPLE,
    EVALUATION_PEOPLE,
    SYNTHETIC_VERSION,
    write_synthetic_faces,
)
from facenet_validate.datasets.written_folder import written_folder

PEOPLE = EVALUATION_PEOPLE + CALIBRATION_PEOPLE


def synthetic_folder(cache: Cache, progress: Report | None = None) -> Path:
    """Return the folder with the synthetic faces in LFW's layout, drawing them if needed.

    Another version of OpenCV may draw other pixels, so each has a folder of its own.

    Raises
    ------
    CacheError
        If the folder cannot be written.
    """
    name = f"{SYNTHETIC_VERSION}-{PEOPLE}-people-opencv-{cv2.__version__}"
    folder = cache.root / "synthetic" / name
    return written_folder(cache, folder, write_synthetic_faces, "synthetic faces", progress)
