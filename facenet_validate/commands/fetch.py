"""``facenet-validate fetch lfw``: the photos and pairs, for those with internet."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from facenet_validate.cache import check_writable
from facenet_validate.commands import cache_root, progress, table
from facenet_validate.commands.output import say
from facenet_validate.datasets.download import ARCHIVES, LISTS, fetch, lfw_folder
from facenet_validate.datasets.layout import find_layout

MIRROR = "FACENET_LFW_MIRROR"


def run(arguments: argparse.Namespace) -> None:
    """Download LFW, unless it is there, and say how to use it."""
    root = cache_root(arguments.cache)
    folder: Path = arguments.to or lfw_folder(root, arguments.photos)
    if arguments.to is None:
        check_writable(root)
    new = fetch(
        LISTS,
        ARCHIVES[arguments.photos],
        folder,
        progress().stage,
        mirror=arguments.mirror or os.environ.get(MIRROR) or None,
    )
    layout = find_layout(folder)
    use = (
        "pytest suites/ finds it in this cache by itself"
        if arguments.to is None
        else f"pytest suites/ --facenet-lfw {folder}"
    )
    rows = [
        ("photos", f"{layout.photos} ({arguments.photos})"),
        ("pairs", f"{len(layout.pairs.pairs)} in {layout.pairs_path}"),
        ("state", "downloaded, digests checked" if new else "was there; every digest checked"),
        ("next", use),
    ]
    say(table(rows))
