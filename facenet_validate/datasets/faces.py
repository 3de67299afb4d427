"""Aligned faces of a verification set, aligned once and kept.

A stored face is one file: a line of JSON with the crop, the boxes of all faces found and the digest
of what follows, then a lossless PNG. It is written beside its place and renamed, so it is whole or
absent; one whose digest is wrong, or which lacks the boxes, is aligned again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.cache import Cache
from facenet_validate.datasets.framing import Box, Framing
from facenet_validate.datasets.images import decode_image, encode_png
from facenet_validate.digests import inputs_digest
from facenet_validate.errors import CacheError, DatasetError
from facenet_validate.versions import onnxruntime_version

SIZE = 160
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StoredFace:
    """An encoded face and where it was cut from."""

    png: bytes
    framing: Framing


@dataclass(frozen=True)
class FaceStore:
    """Aligned faces on disk, by the photo's digest, for one aligner.

    Attributes
    ----------
    folder : Path
        ``<cache>/faces/<aligner>``.
    """

    folder: Path

    def get(self, photo_digest: str) -> StoredFace | None:
        """Return a face, or None if it is absent or damaged."""
        try:
            header, _, png = self._path(photo_digest).read_bytes().partition(b"\n")
            values = json.loads(header)
            whole = hashlib.sha256(png).hexdigest() == values["sha256"]
            if whole and values["photo"] == photo_digest:
                boxes = tuple(_box(box) for box in values["boxes"])
                return StoredFace(png, Framing(_box(values["crop"]), boxes))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def put(self, photo_digest: str, face: StoredFace) -> None:
        """Keep a face.

        Raises
        ------
        CacheError
            If it cannot be written.
        """
        values = {
            "photo": photo_digest,
            "sha256": hashlib.sha256(face.png).hexdigest(),
            "crop": face.framing.crop,
            "boxes": face.framing.boxes,
        }
        header = json.dumps(values)
        path = self._path(photo_digest)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".writing-{uuid4().hex}")
            try:
                temporary.write_bytes(header.encode() + b"\n" + face.png)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(
                f"aligned face {path} cannot be written ({error.strerror}). Free space or name "
                "another folder with --facenet-cache."
            ) from None

    def _path(self, photo_digest: str) -> Path:
        return self.folder / photo_digest[:2] / f"{photo_digest}.face"


def _box(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = values
    return float(x1), float(y1), float(x2), float(y2)


@dataclass(frozen=True)
class AlignedFaces:
    """Faces 160×160, read from files when asked for.

    Attributes
    ----------
    names : tuple of str
        Photo names, in the order of rows.
    digest : str
        Of names, photos and aligner.
    read : callable
        Row → encoded image and its name for errors.
    framings : tuple of Framing
        Where each face was cut from; empty for photos that are taken as they are.
    photo_digests : tuple of str
        SHA-256 of each photo's file.
    aligner : str
        What aligned them.
    """

    names: tuple[str, ...]
    digest: str
    read: Callable[[int], bytes]
    framings: tuple[Framing, ...] = ()
    photo_digests: tuple[str, ...] = ()
    aligner: str = "none"

    @property
    def undetected(self) -> tuple[str, ...]:
        """Photos in which no face was found: the centre crop was taken."""
        return tuple(name for name, framing in self._framed() if framing.faces_found == 0)

    @property
    def several(self) -> tuple[str, ...]:
        """Photos with more than one face."""
        return tuple(name for name, framing in self._framed() if framing.faces_found > 1)

    def _framed(self) -> Iterator[tuple[str, Framing]]:
        return zip(self.names, self.framings, strict=bool(self.framings))

    def part(self, rows: Sequence[int]) -> AlignedFaces:
        """Return some of the faces, with the digest that they have as a set."""
        names = tuple(self.names[row] for row in rows)
        digests = tuple(self.photo_digests[row] for row in rows)
        return AlignedFaces(
            names,
            _set_digest(self.aligner, names, digests),
            lambda row: self.read(rows[row]),
            tuple(self.framings[row] for row in rows) if self.framings else (),
            digests,
            self.aligner,
        )

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Return faces ``(len(rows), 160, 160, 3)`` RGB uint8.

        Raises
        ------
        DatasetError
            If an image cannot be decoded or is not 160×160.
        """
        faces = np.empty((len(rows), SIZE, SIZE, 3), np.uint8)
        for place, row in enumerate(rows):
            name = self.names[row]
            face = decode_image(self.read(int(row)), name=name)
            if face.shape[:2] != (SIZE, SIZE):
                raise DatasetError(
                    f"{name}: {face.shape[1]}×{face.shape[0]} pixels in a set whose other faces "
                    f"are already aligned to {SIZE}×{SIZE}. Align all photos or none."
                )
            faces[place] = face
        return faces


def is_aligned(photo: Path) -> bool:
    """Return whether a photo is already a 160×160 face."""
    return decode_image(_read(photo), name=photo.stem).shape[:2] == (SIZE, SIZE)


def faces_as_they_are(names: Sequence[str], paths: Sequence[Path]) -> AlignedFaces:
    """Return faces of photos that are already aligned."""
    digests = _digests(paths)
    return AlignedFaces(
        tuple(names),
        _set_digest("none", names, digests),
        lambda row: _read(paths[row]),
        photo_digests=tuple(digests),
    )


def _set_digest(aligner: str, names: Sequence[str], digests: Sequence[str]) -> str:
    # Another version of OpenCV may decode a JPEG to other pixels.
    decoder = f"opencv {cv2.__version__}"
    photos = list(zip(names, digests, strict=True))
    return inputs_digest({"aligner": aligner, "decoder": decoder, "photos": photos})


def align_photos(
    names: Sequence[str],
    paths: Sequence[Path],
    cache: Cache,
    *,
    workers: int,
    progress: Progress | None = None,
) -> AlignedFaces:
    """Align photos by MTCNN, taking from the cache what was aligned before.

    Every face is kept as soon as it is found: an interrupted run continues where it stopped.

    Raises
    ------
    DatasetError
        If a photo cannot be read or decoded; it is named.
    """
    from facenet_validate.datasets.alignment import ALIGNER_ID

    runtime = onnxruntime_version()
    aligner = f"{ALIGNER_ID}-opencv-{cv2.__version__}-onnxruntime-{runtime}"
    store = FaceStore(cache.root / "faces" / aligner)
    digests = _digests(paths)
    found: dict[str, Framing] = {}
    todo: dict[str, Path] = {}
    for digest, path in zip(digests, paths, strict=True):
        known = None if cache.rebuild else store.get(digest)
        if known is None:
            todo[digest] = path
        else:
            found[digest] = known.framing
    if todo:
        for done, (digest, face) in enumerate(_align(todo, workers), start=1):
            store.put(digest, face)
            found[digest] = face.framing
            if progress is not None:
                progress(done, len(todo))

    def read(row: int) -> bytes:
        face = store.get(digests[row])
        if face is None:
            raise CacheError(
                f"the aligned face of {names[row]} vanished from the cache {cache.root} during the "
                "run. Run again."
            )
        return face.png

    return AlignedFaces(
        tuple(names),
        _set_digest(aligner, names, digests),
        read,
        framings=tuple(found[digest] for digest in digests),
        photo_digests=tuple(digests),
        aligner=aligner,
    )


def _align(todo: dict[str, Path], workers: int) -> Iterator[tuple[str, StoredFace]]:
    from facenet_validate.datasets.alignment import align_all
    from facenet_validate.datasets.mtcnn import installed_networks

    by_name = {str(path): digest for digest, path in todo.items()}
    photos = ((str(path), _read(path)) for path in todo.values())
    for name, face in align_all(photos, installed_networks(), workers):
        yield by_name[name], StoredFace(encode_png(face.pixels), face.framing)


def _digests(paths: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda path: hashlib.sha256(_read(path)).hexdigest(), paths))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"photo {path}: cannot be read ({error.strerror}).") from None


def check_disjoint(calibration: AlignedFaces, evaluation: AlignedFaces) -> None:
    """Check that no evaluation photo is calibrated on, under whatever name.

    Raises
    ------
    DatasetError
        Naming the first photo that is in both sets: the same file.
    """
    by_digest = dict(zip(evaluation.photo_digests, evaluation.names, strict=True))
    for digest, name in zip(calibration.photo_digests, calibration.names, strict=True):
        if digest in by_digest:
            raise _shared(name, by_digest[digest])


def check_no_picture_shared(calibration: AlignedFaces, evaluation: AlignedFaces) -> None:
    """Check that no evaluation face is calibrated on: the same pixels, in whatever file.

    Raises
    ------
    DatasetError
        Naming the first face that is in both sets.
    """

    def pictures(faces: AlignedFaces) -> Iterator[tuple[str, str]]:
        for row, name in enumerate(faces.names):
            pixels = decode_image(faces.read(row), name=name)
            yield hashlib.sha256(pixels.tobytes()).hexdigest(), name

    known = dict(pictures(evaluation))
    for digest, name in pictures(calibration):
        if digest in known:
            raise _shared(name, known[digest])


def _shared(calibration: str, evaluation: str) -> DatasetError:
    return DatasetError(
        f"calibration photo {calibration} is the evaluation photo {evaluation}. An engine must not "
        "be calibrated on what it is judged by; remove it."
    )
