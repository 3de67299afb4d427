"""Pack LFW's View 2 as InsightFace packs it, from faces that this project aligns.

    python docs/evidence/pack_lfw.py LFW OUT.bin [PAIRS]

LFW is the folder with pairs.txt and the photos. The faces are MTCNN's crops of 160×160, reduced to
112×112 and saved as JPEG: InsightFace's own file has another crop. PAIRS keeps the first ones only.
The folder of aligned faces is FACENET_CACHE's, or the plugin's own.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import cv2
import numpy as np

from facenet_validate.base.machine import usable_processors
from facenet_validate.cache import Cache
from facenet_validate.commands import cache_root
from facenet_validate.datasets.faces import faces_of
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set

SIDE = 112
QUALITY = 95


def main(folder: Path, out: Path, pairs: int | None) -> None:
    """Align what is not in the cache, and write the file."""
    found = load_set(find_layout(folder), name="lfw", title="")
    rows = np.stack([found.left, found.right], axis=1)[:pairs].ravel()
    faces = faces_of(
        found.names, found.paths, Cache(cache_root(None)), workers=len(usable_processors())
    )
    encoded: dict[int, bytes] = {}
    for row in dict.fromkeys(rows.tolist()):
        (face,) = faces.load(np.array([row]))
        small = cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        encoded[row] = bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])
    photos = [encoded[row] for row in rows.tolist()]
    out.write_bytes(pickle.dumps((photos, found.same[:pairs].tolist()), protocol=2))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
