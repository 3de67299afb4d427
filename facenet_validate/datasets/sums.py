"""``SHA256SUMS``: the list of digests in a folder that this package filled."""

from __future__ import annotations

from pathlib import Path

from facenet_validate.base.digests import file_digest
from facenet_validate.base.files import check_regular
from facenet_validate.base.progress import Report

SUMS = "SHA256SUMS"


def write_sums(folder: Path, progress: Report | None = None) -> None:
    """Write the digests of all files in a folder and below it, as ``sha256sum`` lists them.

    Raises
    ------
    OSError
        If a file cannot be read, or the list cannot be written.
    """
    lines = [f"{digest}  {name}\n" for name, digest in _digests(folder, progress).items()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def changed_file(folder: Path, progress: Report | None = None) -> str:
    """Return the first file that differs from the list, is missing, or is not listed.

    Parameters
    ----------
    folder : Path
        A folder with a list by `write_sums`.
    progress : callable, optional
        Called as ``progress(files read, files)``.

    Returns
    -------
    str
        The file's path in the folder; empty if every file is as listed.

    Raises
    ------
    OSError
        If the list or a file cannot be read.
    ValueError
        If the list is not text of digests and names.
    """
    check_regular(folder / SUMS)
    text = (folder / SUMS).read_text(encoding="utf-8")
    listed = {}
    for line in text.splitlines():
        digest, separator, name = line.partition("  ")
        if not separator:
            raise ValueError(f"{line[:80]!r} is not a digest and a name")
        listed[name] = digest
    found = _digests(folder, progress)
    differing = (n for n in sorted({*listed, *found}) if listed.get(n) != found.get(n))
    return next(differing, "")


def _digests(folder: Path, progress: Report | None) -> dict[str, str]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    found = {}
    for done, path in enumerate(paths, start=1):
        found[path.relative_to(folder).as_posix()] = file_digest(path)
        if progress is not None:
            progress(done, len(paths))
    return found
