"""The synthetic faces on disk: drawn once, whole or absent, verified at every use."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import uuid4

import cv2
from filelock import FileLock

from facenet_validate.base.errors import CacheError
from facenet_validate.base.progress import Report
from facenet_validate.cache import Cache
from facenet_validate.datasets.sums import SUMS, changed_file, write_sums
from facenet_validate.datasets.synthetic import (
    CALIBRATION_PEOPLE,
    EVALUATION_PEOPLE,
    SYNTHETIC_VERSION,
    write_synthetic_faces,
)

PEOPLE = EVALUATION_PEOPLE + CALIBRATION_PEOPLE


def synthetic_folder(cache: Cache, progress: Report | None = None) -> Path:
    """Return the folder with the synthetic faces in LFW's layout, drawing them if needed.

    Another version of OpenCV may draw other pixels, so each has a folder of its own.

    Raises
    ------
    CacheError
        If the folder cannot be written.
    """
    folder = (
        cache.root / "synthetic" / f"{SYNTHETIC_VERSION}-{PEOPLE}-people-opencv-{cv2.__version__}"
    )
    if not cache.rebuild and _is_whole(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if cache.rebuild or not _is_whole(folder):
                _draw(folder, progress)
    except OSError as error:
        raise CacheError(
            f"synthetic faces {folder}: cannot be written ({error.strerror}). Free space or name "
            "another folder with --facenet-cache."
        ) from None
    return folder


def _draw(folder: Path, progress: Report | None) -> None:
    staging = folder.with_name(f".drawing-{uuid4().hex}")
    staging.mkdir()
    try:
        write_synthetic_faces(staging, progress)
        write_sums(staging)
        if _is_whole(folder) and (folder / SUMS).read_bytes() == (staging / SUMS).read_bytes():
            return
        if folder.exists():
            # A damaged folder, or somebody else's, is set aside rather than deleted.
            folder.rename(staging.with_name(staging.name.replace(".drawing-", ".replaced-")))
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        return not changed_file(folder)
    except (OSError, ValueError):  # no folder, no list, or a list that is not text
        return False
