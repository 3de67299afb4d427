"""What ``facenet-validate inspect`` says of a packed verification set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.digests import short

if TYPE_CHECKING:
    from facenet_validate.datasets.verification_set import PackedPhotos, VerificationSet

_CHUNK = 256


def is_set(path: Path) -> bool:
    """Return whether a file is a packed set. Models are pickled too: the ending tells."""
    from facenet_validate.datasets.bin_set import ENDING

    return path.suffix.lower() == ENDING


def describe_set(path: Path) -> list[tuple[str, str]]:
    """Return (subject, text) of a packed set, after every photo was decoded.

    Raises
    ------
    DatasetError
        If a run would refuse the set.
    """
    import numpy as np

    from facenet_validate.datasets.bin_set import load_bin
    from facenet_validate.datasets.faces import packed_faces
    from facenet_validate.datasets.notes import note_lines

    found = load_bin(path, "inspected")
    assert found.packed is not None
    packed, side = found.packed, found.packed.side
    faces = packed_faces(packed, found.names, found.title)
    for start in range(0, len(found.names), _CHUNK):
        faces.load(np.arange(start, min(start + _CHUNK, len(found.names)), dtype=np.intp))
    size = path.stat().st_size / 1e6
    return [
        ("file", f"{path} ({size:.1f} MB, sha256 {short(found.pairs_digest)})"),
        (
            "kind",
            "InsightFace's packed set, a pickle of photos and booleans; nothing in it was run",
        ),
        ("pairs", _pairs(found)),
        ("photos", _photos(found, packed)),
        ("people", f"{found.people:,} by genuine pairs and equal photos; the file names nobody"),
        ("folds", _folds(found)),
        *(("note", line) for line in note_lines(found.notes.facts())),
        ("alignment", f"the photos are taken as aligned faces of {side}×{side}, without MTCNN"),
        (
            "input",
            "RGB, resized to the model's size (bilinear to a larger one, by area to a smaller "
            "one), then (x − 127.5) / 128",
        ),
        ("calibration", "on none of its photos, but on LFW's or on drawn faces"),
        ("run", f"pytest suites/test_accuracy.py --facenet-pairs NAME={path}"),
    ]


def _pairs(found: VerificationSet) -> str:
    import numpy as np

    pairs, genuine = len(found.same), int(found.same.sum())
    sides = np.sort(np.stack([found.left, found.right]), axis=0)
    repeated = pairs - len(np.unique(sides, axis=1).T)
    again = f"; {repeated:,} repeat another" if repeated else ""
    return f"{pairs:,}: {genuine:,} genuine, {pairs - genuine:,} impostor{again}"


def _photos(found: VerificationSet, packed: PackedPhotos) -> str:
    from facenet_validate.datasets.headers import JPEG_START

    kinds = Counter("JPEG" if e.startswith(JPEG_START) else "PNG" for e in packed.encoded)
    kind = " and ".join(f"{count:,} {name}" for name, count in sorted(kinds.items()))
    distinct = len(set(packed.digests))
    return (
        f"{2 * len(found.same):,}, {distinct:,} of them distinct by their bytes; "
        f"{packed.side}×{packed.side} pixels; {kind}; all decode"
    )


def _folds(found: VerificationSet) -> str:
    import numpy as np

    genuine = np.bincount(found.folds[found.same], minlength=int(found.folds.max()) + 1)
    sizes = np.bincount(found.folds)
    return (
        f"{len(sizes)} in the file's order, of {_range(sizes.tolist())} pairs, "
        f"{_range(genuine.tolist())} of them genuine"
    )


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
