"""Embeddings in shards, read in blocks of rows: memory holds the block that was asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import ShardError
from facenet_validate.base.wording import path_text, reason
from facenet_validate.shards.files import digest_path, state, values_path
from facenet_validate.shards.manifest import Manifest, read_manifest
from facenet_validate.shards.photos import ListedPhotos, read_photos


class Shards:
    """The embeddings in a folder that ``facenet-validate embed`` wrote.

    A shard's digest is checked when a row of it is first read.

    Parameters
    ----------
    folder : Path

    Attributes
    ----------
    folder : Path
    manifest : Manifest
        What was embedded with what.

    Raises
    ------
    ShardError
        If the folder has no manifest, or a shard is not there.

    Examples
    --------
    >>> shards = Shards(Path("people.embeddings"))  # doctest: +SKIP
    >>> shards.block(0, 1000).shape  # doctest: +SKIP
    (1000, 512)
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Manifest = read_manifest(folder)
        self._checked: set[int] = set()
        for shard in range(self.manifest.shards):
            for path in (values_path(folder, shard), digest_path(folder, shard)):
                if not path.exists():
                    raise self._unusable(shard, "is not there")

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process open the same folder, and check every digest itself."""
        return _reopened, (self.folder.absolute(), self.manifest)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and values a row: N, D."""
        return self.manifest.rows, self.manifest.dimension

    def block(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return rows ``start`` to ``stop``, the latter excluded, as float32 of their own.

        Raises
        ------
        ShardError
            If a shard is damaged or gone: it is named.
        ValueError
            If there are no such rows.
        """
        rows, dimension = self.shape
        if not 0 <= start <= stop <= rows:
            raise ValueError(f"rows {start} to {stop} of {rows}")
        found = np.empty((stop - start, dimension), np.float32)
        size = self.manifest.shard_rows
        for shard in range(start // size, -(-stop // size)):
            first, last = self.manifest.span(shard)
            low, high = max(start, first), min(stop, last)
            found[low - start : high - start] = self._rows(shard, low - first, high - first)
        return found

    @cached_property
    def photos(self) -> ListedPhotos:
        """The photos behind the rows.

        Raises
        ------
        ShardError
            If ``names.jsonl`` is not the file that was written.
        """
        return read_photos(self.folder, self.manifest.photos, self.manifest.rows)

    @cached_property
    def people(self) -> NDArray[np.intp]:
        """Who is on each photo ``(N,)``: people numbered in alphabetical order.

        Raises
        ------
        ShardError
            If that is not known of a photo: it is named.
        """
        for name, person in zip(self.photos.names, self.photos.people, strict=True):
            if person is None:
                raise ShardError(
                    f"{path_text(self.folder)}: nobody knows who is on {name}. Put the photos into "
                    "a folder for each person, and embed them anew."
                )
        _, numbers = np.unique(np.array(self.photos.people), return_inverse=True)
        return numbers.astype(np.intp)

    def _rows(self, shard: int, start: int, stop: int) -> NDArray[np.float32]:
        try:
            if shard not in self._checked:
                if state(self.folder, self.manifest, shard) != "whole":
                    raise self._unusable(shard, "is damaged, by its digest")
                self._checked.add(shard)
            # Mapped anew for every block: pages of a mapping that stays count as memory in use.
            mapped = np.load(values_path(self.folder, shard), mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise self._unusable(shard, f"cannot be read ({reason(error)})") from None
        except ValueError:
            raise self._unusable(shard, "was changed while it was read") from None
        rows: NDArray[np.float32] = mapped[start:stop]
        return rows

    def _unusable(self, shard: int, why: str) -> ShardError:
        return ShardError(
            f"{path_text(self.folder)}: shard {shard:06d} of {self.manifest.shards} {why}. Run "
            "facenet-validate embed again: it makes what is missing."
        )


def _reopened(folder: Path, manifest: Manifest) -> Shards:
    found = Shards(folder)
    if found.manifest != manifest:
        raise ShardError(
            f"{path_text(folder)} holds other embeddings on this host. Put the same folder in the "
            "same place on every host."
        )
    return found
