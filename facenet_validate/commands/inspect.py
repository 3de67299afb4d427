"""``facenet-validate inspect``: what a source model or packed set has, and what becomes of it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.digests import short
from facenet_validate.base.errors import ModelError
from facenet_validate.commands import source_path, table
from facenet_validate.commands.output import say

if TYPE_CHECKING:
    import onnx

    from facenet_validate.models.sources import SourceModel

_KINDS = {
    ".pb": "TensorFlow frozen graph",
    ".onnx": "ONNX",
    ".pt": "PyTorch checkpoint",
    ".pth": "PyTorch checkpoint",
}


def run(arguments: argparse.Namespace) -> None:
    """Print what was found, and why `prepare` would refuse where it would."""
    from facenet_validate.commands.inspect_set import describe_set, is_set
    from facenet_validate.models.sources import source_model

    path = source_path(arguments.source)
    if path is not None and is_set(path):
        say(table(describe_set(path)))
        return
    source = source_model(path)
    say(table(describe(source, arguments.input, arguments.output)))


def describe(
    source: SourceModel, input_name: str | None = None, output_name: str | None = None
) -> list[tuple[str, str]]:
    """Return (subject, text) of a source model.

    Raises
    ------
    ModelError
        If the file cannot be read at all.
    """
    from facenet_validate.models.sources import check_kind, model_size, suffix_of

    check_kind(source.path)
    size, kind = model_size(source.path) / 1e6, suffix_of(source.path)
    rows = [
        ("file", f"{source.path} ({size:.1f} MB, sha256 {short(source.digest)})"),
        ("kind", _KINDS[kind]),
        *(_onnx_facts(source.path) if kind == ".onnx" else []),
        *(_frozen_facts(source.path, output_name) if kind == ".pb" else []),
    ]
    return rows + _outcome(source.path, input_name, output_name)


def _outcome(path: Path, input_name: str | None, output_name: str | None) -> list[tuple[str, str]]:
    """Return the anatomy, or why there is none."""
    from facenet_validate.commands.prepare import engine_to_restore
    from facenet_validate.models.exported.canonical import canonical
    from facenet_validate.models.sources import raw_model, suffix_of

    kind = suffix_of(path)
    try:
        engine = engine_to_restore(path)
        if engine is not None:
            return [
                *_work(path),
                ("prepare", _engine_outcome(engine, path, input_name, output_name)),
            ]
        raw = raw_model(path, input_name=input_name, output_name=output_name)
        _, anatomy = canonical(
            raw.model,
            source=str(path),
            input_name=input_name,
            output_name=output_name if kind == ".onnx" else None,
        )
    except ModelError as refusal:
        work = _work(path) if kind == ".onnx" else []
        return [*work, ("prepare", f"would refuse it: {refusal}")]
    return [*anatomy.lines(), ("prepare", "would take it, once it is proven beside the source")]


def _engine_outcome(
    engine: onnx.ModelProto, path: Path, input_name: str | None, output_name: str | None
) -> str:
    """Return what `prepare` would make of an engine graph that does not keep the contract."""
    from facenet_validate.datasets.synthetic import proof_faces
    from facenet_validate.models.engine_edges import restored

    made = restored(
        engine,
        source=str(path),
        faces=proof_faces(),
        input_name=input_name,
        output_name=output_name,
    )
    return f"would write it as an engine that keeps the contract: {'; '.join(made.changes)}"


def _frozen_facts(path: Path, output_name: str | None) -> list[tuple[str, str]]:
    from facenet_validate.models.frozen.graphdef import parse_graph
    from facenet_validate.models.frozen.inference import inference_graph
    from facenet_validate.models.model_files import read_source

    graph = parse_graph(read_source(path), source=str(path))
    rows = [("operators", _census(node.op for node in graph.node))]
    try:
        cut = inference_graph(graph, source=str(path), output=output_name)
    except ModelError:
        return rows  # what is said of the whole names the reason
    image = next(node.name for node in cut.graph.node if node.op == "Placeholder")
    layers = _census(node.op for node in cut.graph.node if node.op not in ("Const", "Placeholder"))
    return [*rows, ("of inference", layers), ("nodes", f"image {image}, embedding {cut.output}")]


def _onnx_facts(path: Path) -> list[tuple[str, str]]:
    from facenet_validate.models.exported.anatomy import parameter_count
    from facenet_validate.models.exported.graph_view import declared_shape, own_inputs, shape_text
    from facenet_validate.models.exported.onnx_file import load_onnx
    from facenet_validate.models.quantization.precision import infer_precision

    model = load_onnx(path)
    precision = infer_precision(model)
    engine = {
        "fp32": "fp32",
        "fp16": "fp16: an engine graph already, typed FP16",
        "int8": "int8: an engine graph already, quantised",
    }

    def values(found: Iterable[onnx.ValueInfoProto]) -> str:
        return "; ".join(f"{v.name} {shape_text(declared_shape(v))}" for v in found) or "none"

    opsets = (f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import)
    producer = f"{model.producer_name} {model.producer_version}".strip() or "not stated"
    return [
        ("opset", f"{', '.join(opsets)}; IR {model.ir_version}"),
        ("producer", producer),
        ("operators", _census(node.op_type for node in model.graph.node)),
        ("precision", engine[precision]),
        ("weights", f"{parameter_count(model):,} numbers in the file"),
        ("inputs", values(own_inputs(model.graph))),
        ("outputs", values(model.graph.output)),
    ]


def _work(path: Path) -> list[tuple[str, str]]:
    """Return the multiply-adds of a graph that has no prepared form, where its shapes are known."""
    from facenet_validate.models.exported.onnx_file import load_onnx
    from facenet_validate.models.network import int8_share, multiply_adds

    try:
        model = load_onnx(path)
        total, share = sum(multiply_adds(model).values()), int8_share(model)
    except ModelError:
        return []
    in_int8 = f", {share:.1%} of them in INT8" if share else ""
    return [("multiply-adds", f"{total:,} an image{in_int8}")]


def _census(operators: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in Counter(operators).most_common())
