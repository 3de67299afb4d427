"""LFW from the internet: resumed after interruptions, checked by digest, complete or absent.

Files and digests are those of scikit-learn's loader, since the university's host is gone.
"""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any
from uuid import uuid4

from facenet_validate.base.errors import DatasetError
from facenet_validate.base.progress import Report
from facenet_validate.datasets.archive import check_free, extract
from facenet_validate.datasets.sums import SUMS, changed_file, write_sums

_TRIES = 4
_MOST_WRONG_FILES = 2
"""Downloads with a wrong digest before the mirror is given up."""
_TIMEOUT = 30.0
_CHUNK = 1 << 18
_MOST_BYTES = 1 << 30

Stage = Callable[[str], AbstractContextManager[Report]]


@dataclass(frozen=True)
class Remote:
    """A file to download: its name at a mirror, its original address, and its SHA-256."""

    name: str
    url: str
    sha256: str


ARCHIVES = {
    "funneled": Remote(
        "lfw-funneled.tgz",
        "https://ndownloader.figshare.com/files/5976015",
        "b47c8422c8cded889dc5a13418c4bc2abbda121092b3533a83306f90d900100a",
    ),
    "original": Remote(
        "lfw.tgz",
        "https://ndownloader.figshare.com/files/5976018",
        "055f7d9c632d7370e6fb4afc7468d40f970c34a80d4c6f50ffec63f5a8d536c0",
    ),
}
"""The photos: as they were found, or aligned by congealing ("funneled")."""

LISTS = (
    Remote(
        "pairs.txt",
        "https://ndownloader.figshare.com/files/5976006",
        "ea42330c62c92989f9d7c03237ed5d591365e89b3e649747777b70e692dc1592",
    ),
    Remote(
        "pairsDevTrain.txt",
        "https://ndownloader.figshare.com/files/5976012",
        "1d454dada7dfeca0e7eab6f65dc4e97a6312d44cf142207be28d688be92aabfa",
    ),
    Remote(
        "pairsDevTest.txt",
        "https://ndownloader.figshare.com/files/5976009",
        "7cb06600ea8b2814ac26e946201cdb304296262aad67d046a16a7ec85d0ff87c",
    ),
)
"""The pairs of both views."""


def lfw_folder(cache_root: Path, photos: str) -> Path:
    """Return where a cache keeps downloaded photos."""
    return cache_root / "lfw" / photos


def downloaded_lfw(cache_root: Path) -> Path | None:
    """Return the LFW folder in a cache; None if none was downloaded completely."""
    folders = (lfw_folder(cache_root, photos) for photos in ARCHIVES)
    # Path.is_file raises where a folder may not be searched.
    return next((folder for folder in folders if os.path.isfile(folder / SUMS)), None)  # noqa: PTH113


def fetch(
    files: tuple[Remote, ...],
    archive: Remote,
    folder: Path,
    stage: Stage,
    *,
    mirror: str | None = None,
) -> bool:
    """Download files and an archive of photos into a folder, which appears when it is complete.

    After an interruption, the files downloaded so far stay beside the folder, and the next call
    continues with them.

    Parameters
    ----------
    files, archive : Remote
        Files to copy into the folder, and the archive to extract into it.
    folder : Path
        Must be absent, empty, or made by this function.
    stage : callable
        Shows progress.
    mirror : str, optional
        Address of a folder with all files. They are checked by the same digests.

    Returns
    -------
    bool
        True if files were downloaded; False if the folder exists and is unchanged.

    Raises
    ------
    DatasetError
        If the folder holds something else, a file cannot be downloaded or has another digest, the
        archive is refused, or the disk is full.
    """
    from filelock import FileLock

    folder = folder.absolute()
    downloads = folder.with_name(f".{folder.name}.downloading")
    staging = folder.with_name(f".{folder.name}.extracting-{uuid4().hex}")
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if _is_there(folder, stage):
                shutil.rmtree(downloads, ignore_errors=True)
                return False
            for remote in (*files, archive):
                _download(remote, downloads, stage, mirror)
            staging.mkdir()
            try:
                with stage("extracting photos") as report:
                    extract(downloads / archive.name, archive.sha256, staging, report)
                for remote in files:
                    shutil.copyfile(downloads / remote.name, staging / remote.name)
                with stage("noting digests") as report:
                    write_sums(staging, report)
                if folder.exists():
                    folder.rmdir()  # it is empty
                staging.rename(folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            shutil.rmtree(downloads, ignore_errors=True)
    except OSError as error:
        raise DatasetError(
            f"{folder}: cannot be written ({error.strerror}). Free space, or name another folder "
            "with --to."
        ) from None
    return True


def _is_there(folder: Path, stage: Stage) -> bool:
    """Return whether the folder exists, after a check that it is unchanged; False if empty."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if not (folder / SUMS).is_file():
        raise DatasetError(
            f"{folder} exists and was not made by this command. Nothing was touched; name another "
            "folder with --to, or use this one: --facenet-lfw."
        )
    with stage("verifying") as report:
        try:
            changed = changed_file(folder, report)
        except ValueError:
            changed = SUMS
    if changed:
        raise DatasetError(
            f"{folder}: files are missing, changed or added since it was downloaded, the first "
            f"{changed}. Nothing was touched; move it away, or name another folder with --to."
        )
    return True


def _download(remote: Remote, folder: Path, stage: Stage, mirror: str | None) -> None:
    """Download a file, unless it is there completely."""
    import pooch

    url = remote.url if mirror is None else f"{mirror.rstrip('/')}/{remote.name}"
    pooch.get_logger().setLevel("ERROR")  # this module reports progress and errors
    why, wrong = "", 0
    with stage(f"downloading {remote.name} (kB)") as report:
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(0.25 * 2**attempt)
            try:
                pooch.retrieve(
                    url,
                    f"sha256:{remote.sha256}",
                    fname=remote.name,
                    path=folder,
                    downloader=partial(_resume, folder / f"{remote.name}.part", report),
                )
            except ValueError:  # pooch found a wrong digest, and has deleted the file
                why = f"the file there is another one: expected sha256 {remote.sha256}"
                wrong += 1
                if wrong == _MOST_WRONG_FILES:
                    break
            except urllib.error.HTTPError as error:
                why = f"the server answered {error.code} {error.reason}"
            except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
                why = str(getattr(error, "reason", error))
            else:
                return
    raise DatasetError(
        f"{url}: {why} (tried {attempt + 1} times). What was downloaded is kept for the next time. "
        f"Check the connection, or name a mirror that has {remote.name} with --mirror."
    )


def _resume(part: Path, report: Report, url: str, output_file: Any, _pooch: Any) -> None:
    """Download a file for pooch, and continue a partial file, which stays if the connection breaks.

    ``report`` is called with (kB done, kB in all).
    """
    if not url.startswith(("http://", "https://")):
        raise DatasetError(f"{url}: expected an address that starts with http:// or https://.")
    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "facenet-validate", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  checked above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
            _write(response, part, start, report)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # the partial file is complete already
            raise
    part.replace(output_file)


def _write(response: Any, part: Path, start: int, report: Report) -> None:
    """Append a response to a partial file, or start the file anew if the server sends all of it."""
    sent = str(response.headers.get("Content-Range", ""))
    resumed = response.status == 206 and sent.startswith(f"bytes {start}-")
    done = start if resumed else 0
    length = response.headers.get("Content-Length")
    total = done + int(length) if length is not None else None
    _check_size(part, total or 0)
    if total is not None:
        check_free(part.parent, total - done, f"the rest of {part.stem}")
    with part.open("ab" if resumed else "wb") as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            _check_size(part, done)
            report(done // 1000, (total or done) // 1000)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _check_size(part: Path, size: int) -> None:
    if size > _MOST_BYTES:
        raise DatasetError(
            f"{part.name}: more than {_MOST_BYTES >> 20} MiB; that is not LFW. Name another mirror."
        )
