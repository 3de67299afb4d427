"""All pairs and identification of drawn embeddings: time, memory, and what a kill changes.

    python docs/evidence/measure_large_sets.py --work FOLDER [--images N …] [--kills 10]

Draws 512-d embeddings into shards: a person's centre is normal in 128 directions, and each image
adds normal noise of 0.7. Of two people one has 19 images and the other 1, so ten a person. Then
``facenet-validate verify`` runs on them as a user would run it, with the plain matrix product
measured before and after it. With ``--kills``, a run on the smallest set is killed (SIGKILL) at so
many random moments and started again; its figures are compared with those of a run that was not.
This script writes the tables between the markers in docs/evidence/large-sets.md. A line is replaced
where the same number of images is measured again.

With ``--lfw DIR`` real embeddings of LFW's View 2 photos, by FP32 and by INT8, are compared in
stripes and as the suites compare all pairs, and every bit of the figures beside each other.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path

import numpy as np
from measure_gates import embeddings_of_lfw, say, write_table

from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.workers import Threads
from facenet_validate.cache import Cache
from facenet_validate.metrics.all_pairs import all_pairs
from facenet_validate.metrics.large_set import InMemory, large_set
from facenet_validate.metrics.rows import ArrayRows, Comparisons
from facenet_validate.shards import ListedPhotos, Manifest, writing

PAGE = Path(__file__).with_name("large-sets.md")
DIMENSIONS, DIRECTIONS, SHARD_ROWS = 512, 128, 4096
THRESHOLD = "1.1"


@dataclass(frozen=True)
class Spent:
    """What commands took.

    Attributes
    ----------
    clock, processors : float
        Seconds.
    peak : int
        Most memory at a time, in bytes.
    """

    clock: float
    processors: float
    peak: int


def draw(folder: Path, images: int) -> Path:
    """Write a drawn set into shards, unless it is there."""
    identities = np.repeat(np.arange(images // 10), np.resize([19, 1], images // 10))
    assert len(identities) == images
    listed = ListedPhotos(
        tuple(f"{row}.jpg" for row in range(images)),
        tuple(f"{person:07d}" for person in identities),
        tuple(f"{row:064x}" for row in range(images)),
    )
    manifest = Manifest(
        rows=images,
        dimension=DIMENSIONS,
        shard_rows=SHARD_ROWS,
        batch=64,
        model="0" * 64,
        engine="0" * 64,
        precision="int8",
        runtime="drawn",
        device="drawn",
        cpu="drawn",
        preprocessing="none",
        aligner="none",
        set=sha256(f"drawn {images}".encode()).hexdigest(),
        photos=sha256(listed.encoded()).hexdigest(),
    )
    random = np.random.default_rng(20)
    turn = random.normal(size=(DIRECTIONS, DIMENSIONS)).astype(np.float32)
    centres = random.normal(size=(images // 10, DIRECTIONS)).astype(np.float32)
    with writing(folder, manifest, listed.encoded()) as writer:
        for shard in writer.missing:
            start, stop = manifest.span(shard)
            noise = np.random.default_rng((21, shard)).normal(size=(stop - start, DIRECTIONS))
            rows = (centres[identities[start:stop]] + 0.7 * noise.astype(np.float32)) @ turn
            writer.write(shard, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return folder


def product() -> float:
    """Return the processors' seconds of a pair in the plain product, with all threads."""
    random = np.random.default_rng(1)
    left, right = random.normal(size=(2, 2048, DIMENSIONS)).astype(np.float32)
    out = np.empty((2048, 2048), np.float32)
    spent = []
    for _ in range(40):
        start = time.process_time()
        np.matmul(left, right.T, out=out)
        spent.append(time.process_time() - start)
    return float(np.median(spent)) / out.size


def verify(folder: Path, work: Path, out: Path, kill_after: float | None = None) -> Spent | None:
    """Run the command; None if it was killed before its end."""
    program = Path(sys.executable).with_name("facenet-validate")
    command = [str(program), "verify", str(folder), "--json"]
    command += ["--threshold", THRESHOLD, "--work", str(work)]
    began = time.perf_counter()
    with out.open("wb") as written:
        running = subprocess.Popen(command, stdout=written)
    while True:
        pid, status, usage = os.wait4(running.pid, os.WNOHANG)
        clock = time.perf_counter() - began
        if pid:
            break
        if kill_after is not None and clock >= kill_after:
            os.kill(running.pid, signal.SIGKILL)
        time.sleep(0.01)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode == -signal.SIGKILL:
        return None
    if running.returncode:
        raise SystemExit(f"verify ended with {running.returncode}")
    return Spent(clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def measured(work: Path, images: int) -> list[str]:
    """Return a row of the table: a set's size, and what its comparison took."""
    folder = draw(work / f"{images}.embeddings", images)
    before = product()
    stripes = work / f"{images}.work"
    shutil.rmtree(stripes, ignore_errors=True)
    spent = verify(folder, stripes, work / f"{images}.json")
    assert spent is not None
    plain = (before + product()) / 2
    pairs = images * (images - 1) // 2
    rate = plain * pairs / spent.processors
    row = [
        *(f"{images:,}", f"{images // 10:,}", f"{pairs:,}"),
        *(f"{spent.clock:,.0f}", f"{spent.processors:,.0f}"),
        *(f"{plain * 1e9:.1f}", f"{rate:.2f}", f"{spent.peak / 1e9:.2f}"),
    ]
    say(" | ".join(row))
    return row


def killed(work: Path, images: int, kills: int) -> list[str]:
    """Kill runs at random moments, start them again, and compare the bytes of their figures."""
    folder = draw(work / f"{images}.embeddings", images)
    expected = work / f"{images}.expected.json"
    shutil.rmtree(work / "whole", ignore_errors=True)
    whole = verify(folder, work / "whole", expected)
    assert whole is not None
    random = np.random.default_rng(int(time.time()))
    hit = same = 0
    while hit < kills:
        out, stripes = work / "killed.json", work / f"killed.{time.time_ns()}"
        if verify(folder, stripes, out, float(random.uniform(0, whole.clock))) is not None:
            continue
        hit += 1
        found = len(list(stripes.glob("*/*.stripe")))
        verify(folder, stripes, out)
        same += out.read_bytes() == expected.read_bytes()
        shutil.rmtree(stripes)
        say(f"killed {hit} of {kills}, with {found} stripes compared; the same so far: {same}")
    return [f"{images:,}", str(kills), str(same)]


def lfw_rows(lfw: Path, work: Path) -> Iterator[list[str]]:
    """Yield a row an engine and rate: TAR, and whether all figures have the bits of the suites."""
    dataset, fp32, (int8,) = embeddings_of_lfw(lfw, Cache(work), 1)
    targets = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    for name, rows in (("FP32", fp32), ("INT8", int8.astype(np.float32))):
        suites = all_pairs(rows, dataset.identities, targets)
        pairs = Comparisons.of(ArrayRows(rows), dataset.identities)
        stripes = large_set(pairs, targets, find=InMemory(Threads(2)))
        for one, rate in zip(suites.points, stripes.rates, strict=True):
            same = all(
                np.array_equal(getattr(one, field.name), getattr(rate.point, field.name))
                for field in fields(one)
            )
            yield [name, f"{one.target:g}", repr(one.tar), "the same" if same else "other bits"]


def earlier_rows(page: Path) -> dict[str, Sequence[str]]:
    """Return the rows of the page's first table by their number of images."""
    lines = page.read_text().split("<!-- pairs: begin -->")[1].split("<!-- pairs: end -->")[0]
    rows = [line.strip("| ").split(" | ") for line in lines.strip().splitlines()[2:]]
    return {row[0]: row for row in rows}


def main() -> None:
    """Measure, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 200_000], metavar="N")
    parser.add_argument("--lfw", type=Path, metavar="DIR")
    parser.add_argument("--kills", type=int, default=0, metavar="N")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    say(cpu_identity().name)
    if arguments.lfw:
        head = ["engine", "FAR", "TAR", "figures"]
        write_table(PAGE, "lfw", head, list(lfw_rows(arguments.lfw, arguments.work)))
        return
    if arguments.kills:
        row = killed(arguments.work, min(arguments.images), arguments.kills)
        write_table(PAGE, "kills", ["images", "runs killed", "the same bytes at the end"], [row])
        return
    head = [
        *("images", "people", "pairs", "clock, s", "processors, s"),
        *("plain product, ns a pair", "share of its rate", "peak memory, GB"),
    ]
    for images in arguments.images:
        rows = earlier_rows(PAGE) | {f"{images:,}": measured(arguments.work, images)}
        by_size = sorted(rows.values(), key=lambda row: int(row[0].replace(",", "")))
        write_table(PAGE, "pairs", head, by_size)


if __name__ == "__main__":
    main()
