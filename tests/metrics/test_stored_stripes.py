"""Stripes in a folder: killed at any moment and started again, the figures have the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facenet_validate.base.workers import Threads
from facenet_validate.metrics import stored_stripes
from facenet_validate.metrics.large_set import InMemory, LargeSet, large_set
from facenet_validate.metrics.operating import ErrorRates
from facenet_validate.metrics.points import AllPairsPoint
from facenet_validate.metrics.rows import ArrayRows, Comparisons
from facenet_validate.metrics.stored_stripes import StoredStripes
from facenet_validate.metrics.stripes import stripes_of

TARGETS = (1e-2, 1e-3)
CUT = partial(stripes_of, most=64)
_WORK = """
import os, signal, sys
from pathlib import Path
from facenet_validate.base import files
from tests.metrics.test_stored_stripes import digits, scored

folder, moment = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
fsync, replace = os.fsync, Path.replace

def count():
    global calls
    calls += 1
    if calls == moment:
        os.kill(os.getpid(), signal.SIGKILL)

def counted_fsync(number):
    count()
    fsync(number)
    count()

def counted_replace(path, target):
    count()
    found = replace(path, target)
    count()
    return found

os.fsync, Path.replace = counted_fsync, counted_replace
print(digits(scored(folder)))
"""


def pairs() -> Comparisons:
    random = np.random.default_rng(5)
    identities = random.integers(60, size=260)
    centres = random.normal(size=(60, 16))
    rows = centres[identities] + 0.7 * random.normal(size=(260, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Comparisons.of(ArrayRows(rows.astype(np.float32)), identities)


def scored(folder: Path, **more: Any) -> LargeSet:
    return large_set(pairs(), TARGETS, 0.9, find=StoredStripes(folder, cut=CUT, **more))


def digits(found: LargeSet) -> str:
    """Every digit of every figure."""
    things = [rate.point for rate in found.rates] + [found.operating]
    kinds = [AllPairsPoint] * len(found.rates) + [ErrorRates]
    values = {
        f"{number} {field.name}": np.asarray(getattr(thing, field.name)).tolist()
        for number, (thing, kind) in enumerate(zip(things, kinds, strict=True))
        for field in fields(kind)
    }
    return json.dumps(values)


def test_a_folder_changes_no_digit(tmp_path: Path) -> None:
    assert digits(scored(tmp_path)) == digits(large_set(pairs(), TARGETS, 0.9))


def test_what_was_compared_once_is_not_compared_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = scored(tmp_path)
    monkeypatch.setattr(stored_stripes, "stripe", lambda *given: pytest.fail("compared again"))
    told: list[tuple[int, int]] = []
    again = scored(tmp_path, report=lambda done, total: told.append((done, total)))
    assert digits(again) == digits(first)
    assert told == [(5, 5)]


def test_a_run_killed_at_any_moment_goes_on_with_the_same_digits(tmp_path: Path) -> None:
    """Every stripe is written by two syncs and a rename: killed before and after each."""
    expected, killed = digits(scored(tmp_path / "whole")), 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for moment in (1, 3, 4, 6, 11, 10**6):
        done = subprocess.run(
            [sys.executable, "-c", _WORK, str(tmp_path / "work"), str(moment)],
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )
        if done.returncode == -signal.SIGKILL:
            killed += 1
            continue
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == expected
    assert killed == 5
    assert digits(scored(tmp_path / "work")) == expected
    (folder,) = [path for path in (tmp_path / "work").iterdir() if path.is_dir()]
    left = sorted(path.name for path in folder.iterdir())
    assert left == [f"{rows.start:09d}-{rows.stop:09d}.stripe" for rows in CUT(260)]


def test_a_damaged_stripe_is_made_again(tmp_path: Path) -> None:
    expected = digits(scored(tmp_path))
    paths = sorted(tmp_path.rglob("*.stripe"))
    whole = [path.read_bytes() for path in paths]
    paths[0].write_bytes(b"")
    paths[1].write_bytes(whole[1][:-1])
    paths[2].write_bytes(whole[2][:100] + b"\0" + whole[2][101:])
    assert digits(scored(tmp_path)) == expected
    assert [path.read_bytes() for path in paths] == whole


def test_other_embeddings_people_or_limits_are_kept_apart(tmp_path: Path) -> None:
    find = StoredStripes(tmp_path, cut=CUT)
    one = pairs()
    rows = one.templates.block(0, 260)
    swapped = np.roll(one.people.of_image, 1)
    moved = rows.copy()
    moved[7, 3] = np.nextafter(moved[7, 3], np.float32(2))
    kept: dict[Path, bytes] = {}
    for number, (case, threshold) in enumerate(
        [
            (one, 0.9),
            (one, 0.8),
            (Comparisons.of(ArrayRows(rows), swapped), 0.9),
            (Comparisons.of(ArrayRows(moved), one.people.of_image), 0.9),
            (replace(one, probes=ArrayRows(rows)), 0.9),
        ]
    ):
        large_set(case, TARGETS, threshold, find=find)
        assert len(list(tmp_path.glob("*/000000000-*.stripe"))) == number + 1
        for path in tmp_path.rglob("*.stripe"):
            assert kept.setdefault(path, path.read_bytes()) == path.read_bytes()


def test_two_threads_give_the_digits_of_one(tmp_path: Path) -> None:
    found = scored(tmp_path / "two", workers=Threads(2))
    assert digits(found) == digits(scored(tmp_path / "one"))
    assert digits(large_set(pairs(), TARGETS, 0.9, find=InMemory(Threads(2)))) == digits(found)
