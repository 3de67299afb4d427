"""Aligned faces of a verification set: from photos aligned already, or aligned once and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.digests import inputs_digest
from facenet_validate.base.errors import CacheError, DatasetError
from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.progress import Report
from facenet_validate.base.versions import onnxruntime_version
from facenet_validate.cache import Cache
from facenet_validate.datasets.face_store import FaceStore, StoredFace
from facenet_validate.datasets.framing import Framing
from facenet_validate.datasets.images import check_image, decode_image, encode_png
from facenet_validate.datasets.photos import SIZE, Kind, Photos, kind_of, look_at, read_photo
from facenet_validate.datasets.verification_set import PackedPhotos

Stage = Callable[[], AbstractContextManager[Report | None]]
"""Entered while photos are aligned; gives the function that reports progress, or None."""


@dataclass(frozen=True)
class AlignedFaces:
    """Faces, 160×160 or of a packed set's size, decoded when asked for.

    Attributes
    ----------
    names : tuple of str
        Photo names, in the order of rows.
    digest : str
        SHA-256 of the names, the photos' digests and the aligner.
    read : callable
        Row → encoded image.
    framings : tuple of Framing
        Where each face was cut from; empty for photos that were aligned already.
    photo_digests : tuple of str
        SHA-256 of each photo's file.
    aligner : str
        What aligned them; ``none`` if they were aligned already.
    side : int
        Width and height of every face in pixels.
    place : str
        Where the photos are, before a photo's name in errors.
    """

    names: tuple[str, ...]
    digest: str
    read: Callable[[int], bytes]
    framings: tuple[Framing, ...] = ()
    photo_digests: tuple[str, ...] = ()
    aligner: str = "none"
    side: int = SIZE
    place: str = ""

    @property
    def kind(self) -> Kind:
        """Whether these photos were aligned already, for other photos of the same set."""
        return Kind(self.aligner == "none", self.names)

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
            self.side,
            self.place,
        )

    def load(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Return faces ``(len(rows), side, side, 3)`` RGB uint8.

        Raises
        ------
        DatasetError
            If an image cannot be decoded or is not of the set's size.
        """
        side = self.side
        faces = np.empty((len(rows), side, side, 3), np.uint8)
        for place, row in enumerate(rows):
            name = f"{self.place}{self.names[row]}"
            face = decode_image(self.read(int(row)), name=name)
            if face.shape[:2] != (side, side):
                raise DatasetError(
                    f"{name}: {face.shape[1]}×{face.shape[0]} pixels in a set whose other faces "
                    f"are already aligned to {side}×{side}. Align all photos or none."
                )
            faces[place] = face
        return faces

    def spread(self, count: int, size: int = SIZE) -> NDArray[np.float32]:
        """Return faces from all over the set as a batch ``(count, 3, size, size)``, standardized.

        Parameters
        ----------
        count : int
            How many; the first and the last face of the set are among them.
        size : int
            Pixels a side that the engine reads.
        """
        rows = np.linspace(0, len(self.names) - 1, count).astype(np.intp)
        return standardize(self.load(rows), size)

    def cycled(self, count: int, size: int = SIZE) -> NDArray[np.float32]:
        """Return the set's first faces as a batch ``(count, 3, size, size)``, standardized.

        A set of fewer faces begins again.
        """
        return standardize(self.load(np.arange(count) % len(self.names)), size)


def faces_of(
    names: Sequence[str],
    paths: Sequence[Path],
    cache: Cache,
    *,
    workers: int,
    stage: Stage = nullcontext,
    beside: Kind | None = None,
) -> AlignedFaces:
    """Return photos as aligned faces: unchanged if all are 160×160, aligned by MTCNN if none is.

    Faces that were aligned before come from the cache. Every face is stored as soon as it is
    found: an interrupted run continues where it stopped.

    Parameters
    ----------
    names, paths : sequences
        The photos.
    cache : Cache
        Where aligned faces are kept.
    workers : int
        Processes that align.
    stage : callable
        Entered while photos are aligned.
    beside : Kind, optional
        Other photos of the same set, which have to be of the same kind.

    Raises
    ------
    DatasetError
        If some are 160×160 and others are not, with how many, the first named; or a photo cannot
        be read or decoded.
    """
    photos = look_at(names, paths)
    return faces_in_photos(photos, cache, workers=workers, stage=stage, beside=beside)


def faces_in_photos(
    photos: Photos,
    cache: Cache,
    *,
    workers: int,
    stage: Stage = nullcontext,
    beside: Kind | None = None,
) -> AlignedFaces:
    """Return photos that were looked at as aligned faces, as `faces_of` does."""
    if kind_of(photos.names, photos.sizes, beside).aligned:
        return _unchanged(photos)
    with stage() as report:
        return _align_photos(photos, cache, workers, report)


def identity_of(photos: Photos) -> tuple[str, str]:
    """Return what aligns photos, and the digest that they will have as a set of aligned faces."""
    aligned = kind_of(photos.names, photos.sizes).aligned
    aligner = "none" if aligned else _aligner(photos)
    return aligner, _set_digest(aligner, photos.names, photos.digests)


def already_aligned(names: Sequence[str], paths: Sequence[Path], advice: str = "") -> AlignedFaces:
    """Return faces of photos that must be aligned already, and may not be.

    Parameters
    ----------
    names, paths : sequences
        The photos, at least one.
    advice : str
        What to do with photos that are not aligned, for the error.

    Raises
    ------
    DatasetError
        If a photo is not 160×160 or cannot be read; the first is named by its path.
    """
    photos = look_at(names, paths)
    if not kind_of([str(path) for path in paths], photos.sizes).aligned:
        width, height = photos.sizes[0]
        raise DatasetError(
            f"{paths[0]}: {width}×{height} pixels; expected an aligned face of {SIZE}×{SIZE}."
            f"{' ' * bool(advice)}{advice}"
        )
    return _unchanged(photos)


def packed_faces(packed: PackedPhotos, names: Sequence[str], title: str) -> AlignedFaces:
    """Return the faces inside a set's own file, as they are.

    Parameters
    ----------
    packed : PackedPhotos
    names : sequence of str
        The photos.
    title : str
        The set's name, for errors.
    """
    return AlignedFaces(
        tuple(names),
        _set_digest("none", names, packed.digests),
        lambda row: packed.encoded[row],
        photo_digests=packed.digests,
        side=packed.side,
        place=f"{title}: ",
    )


def _unchanged(photos: Photos) -> AlignedFaces:
    return AlignedFaces(
        photos.names,
        _set_digest("none", photos.names, photos.digests),
        lambda row: read_photo(photos.paths[row]),
        photo_digests=photos.digests,
    )


def _set_digest(aligner: str, names: Sequence[str], digests: Sequence[str]) -> str:
    # Another version of OpenCV may decode a JPEG to other pixels.
    decoder = f"opencv {cv2.__version__}"
    photos = list(zip(names, digests, strict=True))
    return inputs_digest({"aligner": aligner, "decoder": decoder, "photos": photos})


def _align_photos(
    photos: Photos, cache: Cache, workers: int, progress: Report | None
) -> AlignedFaces:
    names, digests = photos.names, photos.digests
    aligner = _aligner(photos)
    store = FaceStore(cache.root / "faces" / aligner)
    found: dict[str, Framing] = {}
    todo: dict[str, Path] = {}
    for digest, path in zip(digests, photos.paths, strict=True):
        known = None if cache.rebuild else store.get(digest)
        if known is None:
            todo[digest] = path
            continue
        if not known.checked:
            check_image(read_photo(path), name=str(path))
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
        names,
        _set_digest(aligner, names, digests),
        read,
        framings=tuple(found[digest] for digest in digests),
        photo_digests=digests,
        aligner=aligner,
    )


def _aligner(photos: Photos) -> str:
    """Return the aligner's name: another one if a photo is so large that it is reduced first."""
    from facenet_validate.datasets.alignment import ALIGNER_ID, LARGE_ID
    from facenet_validate.datasets.mtcnn import MOST_PIXELS

    large = any(width * height > MOST_PIXELS for width, height in photos.sizes)
    aligner = LARGE_ID if large else ALIGNER_ID
    return f"{aligner}-opencv-{cv2.__version__}-onnxruntime-{onnxruntime_version()}"


def _align(todo: dict[str, Path], workers: int) -> Iterator[tuple[str, StoredFace]]:
    from facenet_validate.datasets.alignment import align_all
    from facenet_validate.datasets.mtcnn import installed_networks

    by_name = {str(path): digest for digest, path in todo.items()}
    photos = ((str(path), read_photo(path)) for path in todo.values())
    for name, face in align_all(photos, installed_networks(), workers):
        yield by_name[name], StoredFace(encode_png(face.pixels, filtered=False), face.framing)


def check_disjoint(calibration: AlignedFaces, evaluation: AlignedFaces) -> None:
    """Check that no evaluation photo is used for calibration, under any name.

    Raises
    ------
    DatasetError
        If a file is in both sets. The first such photo is named.
    """
    by_digest = dict(zip(evaluation.photo_digests, evaluation.names, strict=True))
    for digest, name in zip(calibration.photo_digests, calibration.names, strict=True):
        if digest in by_digest:
            raise _shared(name, by_digest[digest])


def check_no_picture_shared(calibration: AlignedFaces, evaluation: AlignedFaces) -> None:
    """Check that no evaluation face is used for calibration: no equal pixels, in any file.

    Raises
    ------
    DatasetError
        If a face is in both sets. The first such face is named.
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
        "be calibrated on photos that it is judged by; remove it."
    )
