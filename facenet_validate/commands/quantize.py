"""``facenet-validate quantize``: a source model → an FP16 or INT8 graph in a file."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facenet_validate.benchmarking.machine import cpu_identity
from facenet_validate.cache import Cache, check_writable
from facenet_validate.commands import cache_root, progress, source_path, table
from facenet_validate.datasets.calibration import (
    CHECKED_ON,
    CalibrationFaces,
    drawn_faces,
    faces_in,
    faces_outside,
)
from facenet_validate.datasets.images import standardize
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import VerificationSet, load_set
from facenet_validate.digests import inputs_digest, short
from facenet_validate.errors import SettingsError
from facenet_validate.models.int8 import Calibrated, calibrate, to_int8
from facenet_validate.models.network import int8_share
from facenet_validate.models.precision import to_fp16
from facenet_validate.models.prepared import PreparedModel, load_onnx, prepare, source_model
from facenet_validate.models.recipes import Int8Recipe, choose_target, int8_recipe
from facenet_validate.models.tuning import emulated_embeddings, loss_between

if TYPE_CHECKING:
    import onnx

SEARCHED_ON = 32


def run(arguments: argparse.Namespace) -> None:
    """Quantise a model, write it, and say what was made of it."""
    path = source_path(arguments.source)
    source = source_model(path)
    _check(arguments)
    cpu = cpu_identity()
    target = choose_target(cpu.flags)[0] if arguments.target == "auto" else arguments.target
    stem = Path(source.name).stem if path else source.name
    kind = "fp16" if arguments.precision == "fp16" else f"int8-{target}"
    out = arguments.out or Path(f"{stem}.{kind}.onnx")
    ranking = out.with_suffix(".tuning.json")
    for file in (out, ranking) if arguments.tune else (out,):
        if file.exists():
            raise SettingsError(f"{file} exists; nothing was written. Name another file with -o.")
    root = cache_root(arguments.cache)
    check_writable(root)
    cache = Cache(root)
    with progress().stage(f"preparing {source.name}") as report:
        prepared = prepare(
            source,
            cache,
            input_name=arguments.input,
            output_name=arguments.output,
            progress=report,
        )
    if arguments.precision == "fp16":
        model = to_fp16(load_onnx(prepared.entry.path))
        _write(out, model, prepared, {"precision": "fp16"})
        sys.stdout.write(table([*_facts(prepared), ("wrote", _wrote(out))]))
        return
    recipe = replace(
        int8_recipe(target),
        method=arguments.method,
        percentile=arguments.percentile,
        keep=tuple(sorted(arguments.keep)),
    )
    evaluation = None
    if arguments.lfw is not None:
        evaluation = load_set(
            find_layout(arguments.lfw),
            name="lfw",
            title=str(arguments.lfw),
            calibration_images=512 + CHECKED_ON,
        )
    faces = _faces(arguments, evaluation, cache, cpu.cores)
    images = standardize(faces.faces.load(np.arange(faces.count)), prepared.image_size)
    with progress().stage("calibrating") as report:
        calibrated = calibrate(
            load_onnx(prepared.entry.path), images, equalized=recipe.equalized, progress=report
        )
    rows = [*_facts(prepared), ("calibration", faces.text)]
    if arguments.tune:
        recipe, model, tuned = _tuned(
            arguments, calibrated, recipe, faces, evaluation, cache, prepared.image_size
        )
        ranking.write_text(json.dumps(tuned, indent=1) + "\n", encoding="utf-8")
        rows.append(("ranking", str(ranking)))
    else:
        model = to_int8(calibrated, recipe)
    few = images[:: max(1, len(images) // SEARCHED_ON)][:SEARCHED_ON]
    loss = loss_between(emulated_embeddings(calibrated.model, few), emulated_embeddings(model, few))
    made = {"precision": "int8", **recipe.inputs(), "calibration": faces.faces.digest}
    _write(out, model, prepared, made)
    rows += [
        ("recipe", recipe.text(faces.count)),
        ("multiply-adds", f"{int8_share(model):.2%} in INT8"),
        ("row cosine", f"mean {1 - loss:.6f} on {len(few)} of the calibration faces"),
        ("wrote", _wrote(out)),
    ]
    if faces.drawn:
        rows.append(
            (
                "note",
                "calibrated on drawn faces, for want of photos: docs/recipes.md says what that "
                "costs; name photos with --calibration or --lfw",
            )
        )
    sys.stdout.write(table(rows))


def _check(arguments: argparse.Namespace) -> None:
    if arguments.precision == "fp16" and (arguments.tune or arguments.keep):
        raise SettingsError("--tune and --keep are for --precision int8.")
    if arguments.paired and not (arguments.tune and arguments.lfw):
        raise SettingsError("--paired goes with --tune and --lfw DIR: it is judged on LFW's pairs.")
    if not 90.0 <= arguments.percentile <= 100.0:
        raise SettingsError(f"--percentile {arguments.percentile}; expected 90 to 100.")
    if not 0.0 < arguments.cosine < 1.0:
        raise SettingsError(f"--cosine {arguments.cosine}; expected a mean row cosine below 1.")


def _faces(
    arguments: argparse.Namespace, evaluation: VerificationSet | None, cache: Cache, workers: int
) -> CalibrationFaces:
    if arguments.calibration is not None:
        return faces_in(arguments.calibration, evaluation)
    if evaluation is not None:
        with progress().stage("aligning calibration photos") as report:
            return faces_outside(evaluation, cache, workers, report)
    with progress().stage("drawing faces") as report:
        return drawn_faces(cache, report)


def _tuned(
    arguments: argparse.Namespace,
    calibrated: Calibrated,
    recipe: Int8Recipe,
    faces: CalibrationFaces,
    evaluation: VerificationSet | None,
    cache: Cache,
    size: int,
) -> tuple[Int8Recipe, onnx.ModelProto, dict[str, object]]:
    from facenet_validate.commands.tuning import cosine_check, paired_check, rankings, record
    from facenet_validate.models.tuning import tune

    rows = np.linspace(0, faces.count - 1, SEARCHED_ON).astype(np.intp)
    images = standardize(faces.faces.load(rows), size)
    if arguments.paired and evaluation is not None:
        check = paired_check(calibrated, evaluation, cache)
    else:
        check = cosine_check(calibrated, faces, arguments.cosine)
    key = {
        "graph": sha256(calibrated.model.SerializeToString(deterministic=True)).hexdigest(),
        "recipe": recipe.inputs(),
        "calibration": faces.faces.digest,
        "images": faces.count,
    }
    store = cache.root / "tuning" / f"{inputs_digest(key)}.jsonl"
    with progress().stage("searching") as report:
        tuned = tune(
            calibrated,
            recipe,
            images,
            check,
            store,
            target=None if arguments.paired else 1 - arguments.cosine,
            progress=lambda _, done, total: report(done, total),
        )
    sys.stdout.write(rankings(tuned))
    return tuned.recipe, tuned.model, record(tuned)


def _facts(prepared: PreparedModel) -> list[tuple[str, str]]:
    return [
        ("source", f"{prepared.source.name} (sha256 {short(prepared.source.digest)})"),
        ("prepared", f"sha256 {short(prepared.entry.digest)}; {prepared.proof.text()}"),
    ]


def _write(
    out: Path, model: onnx.ModelProto, prepared: PreparedModel, recipe: dict[str, object]
) -> None:
    """Write a graph that says how it was made."""
    recipe["prepared"] = prepared.entry.digest
    del model.metadata_props[:]
    model.metadata_props.add(key="facenet_validate.recipe", value=json.dumps(recipe))
    staging = out.with_name(f".writing-{out.name}")
    try:
        staging.write_bytes(model.SerializeToString(deterministic=True))
        staging.replace(out)
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise SettingsError(f"{out}: cannot be written ({error.strerror}).") from None


def _wrote(out: Path) -> str:
    digest = sha256(out.read_bytes()).hexdigest()
    return f"{out} (sha256 {short(digest)}); validate it with pytest suites/ --facenet-engine {out}"
