"""Toy people whose faces are patterns, and an engine that tells them apart in a millisecond."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.preprocessing import standardize
from facenet_validate.datasets.faces import AlignedFaces
from facenet_validate.datasets.images import encode_png
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.engines.embedding import Faces, embed
from facenet_validate.metrics.view2 import View2, evaluate_embeddings

PEOPLE, PHOTOS, SIDE, CELLS = 16, 3, 64, 8

Rows = NDArray[np.float32]


def photos(*, grey: bool = False) -> NDArray[np.uint8]:
    """Photos (48, 64, 64, 3): a pattern a person, with fine detail, and noise a photo."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(PEOPLE):
        pattern = random.uniform(60, 190, (CELLS, CELLS, 1 if grey else 3)).astype(np.float32)
        face = cv2.resize(pattern, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        for _ in range(PHOTOS):
            shown = face.reshape(SIDE, SIDE, -1) + random.normal(0, 4, (SIDE, SIDE, 1))
            shown = np.broadcast_to(shown, (SIDE, SIDE, 3))
            found.append(np.clip(np.rint(shown), 0, 255).astype(np.uint8))
    return np.stack(found)


def faces_of(pictures: NDArray[np.uint8]) -> AlignedFaces:
    names = tuple(f"photo_{row:03}" for row in range(len(pictures)))
    encoded = [encode_png(one) for one in pictures]
    return AlignedFaces(names, "toy", lambda row: encoded[row], photo_digests=names, side=SIDE)


def toy_set() -> VerificationSet:
    """Every genuine pair, and as many impostor pairs, in four folds."""
    first = np.arange(PEOPLE) * PHOTOS
    left = np.concatenate([first, first, first + 1])
    right = np.concatenate([first + 1, first + 2, first + 2])
    other = (right + PHOTOS * (1 + np.arange(len(right)) % 5)) % (PEOPLE * PHOTOS)
    names = tuple(f"photo_{row:03}" for row in range(PEOPLE * PHOTOS))
    return VerificationSet(
        name="toy",
        title="toy people",
        names=names,
        paths=tuple(Path(name) for name in names),
        identities=np.repeat(np.arange(PEOPLE), PHOTOS),
        left=np.concatenate([left, left]),
        right=np.concatenate([right, other]),
        same=np.arange(2 * len(left)) < len(left),
        folds=np.arange(2 * len(left)) % 4,
        suspect=np.array([], np.intp),
        calibration_names=(),
        calibration_paths=(),
        pairs_digest="",
    )


def toy_rows(batch: NDArray[np.float32]) -> Rows:
    """Return the pattern of each picture, as a unit vector."""
    small = [cv2.resize(one.mean(0), (CELLS, CELLS), interpolation=cv2.INTER_AREA) for one in batch]
    rows = np.stack(small).reshape(len(batch), -1)
    rows = rows - rows.mean(1, keepdims=True)
    rows[:, 0] += 1e-3  # a flat picture has a direction too
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def laplacian_energy(batch: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean square of each picture's Laplacian."""
    return np.array([np.mean(cv2.Laplacian(one.mean(0), cv2.CV_32F) ** 2) for one in batch])


class ToyEngine:
    """An engine; ``damage`` takes the batch and its rows and returns others."""

    def __init__(self, damage: Callable[[NDArray[np.float32], Rows], Any] | None = None) -> None:
        self._damage = damage
        self.input = SimpleNamespace(shape=("N", 3, SIDE, SIDE))
        self.info = SimpleNamespace(precision="int8", artefact="toy")

    def run(self, batch: NDArray[np.float32]) -> Rows:
        rows = toy_rows(batch)
        return rows if self._damage is None else np.asarray(self._damage(batch, rows), np.float32)

    def run_many(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[Rows]:
        return map(self.run, batches)


def blind_to_blur(clean: NDArray[np.uint8], share: float) -> ToyEngine:
    """An engine that zeroes a share of its channels where a picture is far smoother than faces."""
    least = 0.5 * laplacian_energy(standardize(clean, SIDE)).min()

    def damage(batch: NDArray[np.float32], rows: Rows) -> Rows:
        broken = laplacian_energy(batch) < least
        rows[broken, : round(share * rows.shape[1])] = 0
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    return ToyEngine(damage)


class ToyEmbedder:
    """Embeds, and remembers it of every engine."""

    def __init__(self, dataset: VerificationSet, faces: AlignedFaces) -> None:
        self._dataset, self._faces = dataset, faces
        self._known: dict[tuple[Any, str], Rows] = {}

    def scored(self, engine: Any, faces: Faces) -> Rows:
        key = engine, faces.digest
        if key not in self._known:
            self._known[key] = embed(engine, faces, 64)
        return self._known[key]

    scored_pictures = scored

    def view(self, engine: Any, name: str) -> View2:
        assert name == self._dataset.name
        return evaluate_embeddings(self.scored(engine, self._faces), self._dataset.pairs)
