"""Embeddings of any number of photos in a folder: a file for every so many rows, checked by digest.

`writing` fills a folder, and goes on where an earlier process was stopped. `Shards` reads it.
"""

from __future__ import annotations

from facenet_validate.shards.manifest import Manifest, read_manifest
from facenet_validate.shards.photos import ListedPhotos
from facenet_validate.shards.reader import Shards
from facenet_validate.shards.writer import ShardWriter, writing

__all__ = ["ListedPhotos", "Manifest", "ShardWriter", "Shards", "read_manifest", "writing"]
