"""``facenet-validate verify``: all pairs and identification of embeddings that lie in shards."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facenet_validate.base.errors import ShardError
from facenet_validate.base.machine import usable_processors
from facenet_validate.base.wording import path_text
from facenet_validate.base.workers import Threads, Workers
from facenet_validate.commands import progress, table
from facenet_validate.commands.output import as_utf8, say
from facenet_validate.metrics.gallery_search import search_rows
from facenet_validate.metrics.identification import (
    Enrolment,
    Searches,
    compare_searches,
    enrol_first_images,
)
from facenet_validate.metrics.large_set import TARGETS, Find, InMemory, LargeSet, large_set
from facenet_validate.metrics.rows import Comparisons
from facenet_validate.metrics.stored_stripes import StoredStripes
from facenet_validate.reporting.large_set import (
    Beside,
    Rows,
    identification_rows,
    pairs_rows,
    pairs_values,
    searches_rows,
    searches_values,
)
from facenet_validate.run.ray_session import RayWorkers, check_ray, ray_session
from facenet_validate.shards import Shards

_RANKS = (1, 5, 10)


def run(arguments: argparse.Namespace) -> None:
    """Compare, search, and say what was found."""
    engine = Shards(arguments.folder)
    old = None if arguments.against is None else Shards(arguments.against)
    if old is not None:
        _check_same_photos(engine, old)
    people = engine.people
    try:
        with _workers(arguments) as workers:
            pairs = _pairs(engine, old, people, arguments, workers)
            searched, rows = _identification(engine, old, people, workers)
    except ValueError as error:
        raise ShardError(f"{path_text(arguments.folder)}: {error}") from None
    values = {"schema": 1, "threshold": arguments.threshold, **pairs_values(pairs), **searched}
    if arguments.json:
        as_utf8()
        say(json.dumps(_without_infinity(values), indent=1, ensure_ascii=False) + "\n")
    else:
        say(table([*pairs_rows(pairs), *rows]))


def _check_same_photos(engine: Shards, old: Shards) -> None:
    if engine.manifest.set != old.manifest.set:
        raise ShardError(
            f"{path_text(old.folder)} holds embeddings of other photos than "
            f"{path_text(engine.folder)}: both engines must embed the same set."
        )
    if engine.shape != old.shape:
        raise ShardError(
            f"{path_text(old.folder)} holds embeddings of {old.shape[1]} values, "
            f"{path_text(engine.folder)} of {engine.shape[1]}: they cannot be compared."
        )


@contextmanager
def _workers(arguments: argparse.Namespace) -> Iterator[Workers]:
    """Give what compares and searches."""
    if not arguments.ray:
        yield Threads(arguments.workers or len(usable_processors()))
        return
    check_ray()
    with ray_session() as ray:
        yield RayWorkers(ray, arguments.workers)


def _pairs(
    engine: Shards,
    old: Shards | None,
    people: NDArray[np.intp],
    arguments: argparse.Namespace,
    workers: Workers,
) -> Beside:
    def compared(title: str, templates: Shards, probes: Shards | None = None) -> LargeSet:
        pairs = Comparisons.of(templates, people, probes=probes)
        with progress().stage(title) as report:
            find: Find = InMemory(workers, report)
            if arguments.work is not None:
                find = StoredStripes(arguments.work, workers, report=report)
            return large_set(pairs, TARGETS, arguments.threshold, find=find)

    if old is None:
        return Beside(compared("comparing all pairs", engine))
    return Beside(
        compared("comparing all pairs", engine),
        compared("comparing all pairs of the old engine", old),
        compared("comparing the old engine's templates with the engine's probes", old, engine),
    )


def _identification(
    engine: Shards, old: Shards | None, people: NDArray[np.intp], workers: Workers
) -> tuple[dict[str, Any], Rows]:
    """Return identification as JSON has it, and as rows; or why there is none."""
    try:
        enrolment = enrol_first_images(people)
        if not len(enrolment.non_mated):
            raise ValueError("every person has two photos or more: nobody is left to be unknown")
    except ValueError as error:
        return {"identification": {"not_shown": str(error)}}, [
            ("identification", f"not shown: {error}")
        ]
    found, values = _search(engine, engine, enrolment, workers)
    if old is None:
        return {"identification": values}, searches_rows(values)
    reference, _ = _search(old, old, enrolment, workers)
    mixed, _ = _search(old, engine, enrolment, workers)
    compared = {
        name: compare_searches(reference, one, enrolment)
        for name, one in (("engine", found), ("mixed", mixed))
    }
    told = {name: asdict(one) for name, one in compared.items()}
    rows = [row for name, one in compared.items() for row in identification_rows(one, name)]
    return {"identification": values, "identification_beside_old": told}, rows


def _search(
    templates: Shards, probes: Shards, enrolment: Enrolment, workers: Workers
) -> tuple[Searches, dict[str, Any]]:
    with progress().stage("searching the gallery"):
        found, close = search_rows(templates, probes, enrolment, most=max(_RANKS), workers=workers)
    return found, searches_values(found, {rank: close.within(rank) for rank in _RANKS})


def _without_infinity(value: Any) -> Any:
    """Return JSON values with null for what is infinite."""
    if isinstance(value, dict):
        return {key: _without_infinity(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
