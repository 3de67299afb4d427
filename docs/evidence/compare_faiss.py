"""The nearest templates, found by our search and by faiss's exact index, in one thread each.

    pip install faiss-cpu
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python docs/evidence/compare_faiss.py

50,000 templates and 8,192 probes of 512 values, drawn as in measure_large_sets.py. Prints the
processors' time of a probe and template by each, and how many of the places found are the same.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

import numpy as np
from measure_gates import say
from numpy.typing import NDArray

from facenet_validate.metrics.gallery_search import nearest
from facenet_validate.metrics.rows import ArrayRows

TEMPLATES, PROBES = 50_000, 8192


def draw() -> NDArray[np.float32]:
    """Return ten embeddings a person: normal centres in 128 directions, and noise of 0.7."""
    random = np.random.default_rng(20)
    count = TEMPLATES + PROBES
    rows = np.repeat(random.normal(size=(count // 10 + 1, 128)), 10, axis=0)[:count]
    rows = (rows + 0.7 * random.normal(size=rows.shape)) @ random.normal(size=(128, 512))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def main() -> None:
    """Search by both, for the nearest and for the ten nearest."""
    faiss: Any = import_module("faiss")
    faiss.omp_set_num_threads(1)
    drawn = draw()
    rows, gallery = ArrayRows(drawn), np.arange(TEMPLATES)
    probes = np.arange(TEMPLATES, TEMPLATES + PROBES)
    index = faiss.IndexFlatL2(drawn.shape[1])
    index.add(drawn[:TEMPLATES])
    for most in (1, 10):
        began = time.process_time()
        _, places = index.search(drawn[TEMPLATES:], most)
        between = time.process_time()
        found = nearest(rows, rows, gallery, probes, None, most=most)
        ended = time.process_time()
        theirs, ours = (
            1e9 * seconds / TEMPLATES / PROBES for seconds in (between - began, ended - between)
        )
        same = float((found.places == places).mean())
        say(f"{most} nearest: faiss {theirs:.1f} ns, ours {ours:.1f} ns; places alike {same:.5f}")


if __name__ == "__main__":
    main()
