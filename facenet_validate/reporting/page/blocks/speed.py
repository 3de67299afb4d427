"""What was timed."""

from __future__ import annotations

from facenet_validate.reporting.page.blocks.place import Place
from facenet_validate.reporting.page.model import Block, Figure, Table
from facenet_validate.reporting.page.parts import Line, cells
from facenet_validate.reporting.page.pictures.layers import layers_figure
from facenet_validate.reporting.page.pictures.speeds import (
    blocks_figure,
    quads_figure,
    stored_figure,
)


def speed(at: Place) -> Block:
    """Return blocks, quads and stored sessions of an engine."""
    measured = at.measured
    figures: list[Figure] = []
    if measured["block_seconds"]:
        figures.append(blocks_figure(f"{at.name}-blocks", measured))
    if measured["log_ratios"]:
        gates = {"fp32": "fp32_ratio", "fp16": "fp16_ratio", "against": "against"}
        gate = f"performance.{gates.get(measured['beside'].text, '')}"
        figures.append(quads_figure(f"{at.name}-quads", measured, at.beside, at.limit(gate)))
    if measured["stored"]:
        figures.append(stored_figure(f"{at.name}-stored", measured))
    words = [
        ("Disturbed: ", measured["disturbance"].cell()) if measured["disturbance"] else (),
        ("Block times had not settled when warming up ended.",)
        if measured["unsettled"].value
        else (),
    ]
    told = tuple(line for line in words if line)
    return Block(f"Speed, {at.where}, {measured['scope'].text}", told, tuple(figures))


def latency(at: Place) -> Block:
    """Return percentiles of the latency of single batches."""
    keys = (
        ("p50_ms", "median"),
        ("p90_ms", "ninetieth percentile"),
        ("p99_ms", "ninety-ninth percentile"),
        ("latency_p50_ms", "with copies, median"),
        ("latency_p90_ms", "with copies, ninetieth percentile"),
        ("latency_p99_ms", "with copies, ninety-ninth percentile"),
        ("enqueue_p50_ms", "enqueue, median"),
    )
    rows = tuple(((label,), *cells(at.measured[key])) for key, label in keys if at.measured[key])
    words: Line = (
        at.measured["batches"].cell(),
        " batches of ",
        at.measured["batch"].cell(),
        ", by the clock of the ",
        at.measured["clock"].cell(),
        ".",
    )
    table = Table("Latency of single batches", ("what", "ms"), rows)
    return Block(f"Latency, {at.where}", (words,), (), (table,))


def slower(at: Place) -> Block:
    """Return the layers that explain why a speed gate failed."""
    figures: list[Figure] = []
    words: list[Line] = []
    for place, (_, found) in enumerate(at.measured["gates"].items()):
        if found["layers"]:
            figures.append(layers_figure(f"{at.name}-layers-{place}", found))
        elif found["untold"]:
            words.append((found.name, ": ", found["untold"].cell()))
    return Block(f"Slower layers, {at.where}", tuple(words), tuple(figures))
