"""Small sets in LFW's layout with odd files among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import gallery, load_set
from facenet_validate.datasets.verification_set import VerificationSet

PAIRED = ("Anna", "Ben", "Cleo", "Dan")
"""People of the pairs; they have three photos each, of which one or two are in pairs."""

OTHERS = ("Xeno", "Yves", "Zoe")
"""People to calibrate on, with two photos each."""

PAIRS = "2\t1\nAnna\t1\t2\nAnna\t1\tBen\t1\nCleo\t1\t2\nCleo\t1\tDan\t1\n"


def picture(seed: int, side: int = 160) -> bytes:
    """Return a PNG that no other seed gives."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return encode_png(np.kron(small, np.ones((side // 8, side // 8, 1), np.uint8)))


def write_set(folder: Path, names: Mapping[str, str] | None = None, pairs: str = PAIRS) -> Path:
    """Write the set; some people may go by another name on disk.

    The photo's number of PNG is the person's times ten and the photo's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pairs.txt").write_text(pairs, encoding="utf-8")
    for person, name in enumerate((*PAIRED, *OTHERS)):
        name = (names or {}).get(name, name)  # noqa: PLW2901
        for photo in range(1, 4 if person < len(PAIRED) else 3):
            write(folder, f"{name}/{name}_{photo:04d}.png", picture(10 * person + photo))
    return folder


def write(folder: Path, relative: str, content: bytes) -> Path:
    path = folder / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def load(folder: Path) -> VerificationSet:
    return load_set(find_layout(folder), name="lfw", title="set")


def relative(folder: Path, paths: Iterable[Path]) -> list[str]:
    return sorted(str(path.relative_to(folder.resolve())) for path in paths)


def used(folder: Path) -> dict[str, list[str]]:
    """Return the files that a set uses for pairs, for calibration and for the gallery."""
    found = load(folder)
    return {
        "pairs": relative(folder, found.paths),
        "calibration": relative(folder, found.calibration_paths),
        "gallery": relative(folder, gallery(find_layout(folder), found).paths),
    }
