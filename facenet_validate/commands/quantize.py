"""``facenet-validate quantize``: a source model → an FP16 or INT8 graph in a file."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facenet_validate.base.digests import inputs_digest, short
from facenet_validate.base.errors import ModelError, SettingsError
from facenet_validate.base.files import write_whole
from facenet_validate.base.machine import cpu_identity
from facenet_validate.base.preprocessing import standardize
from facenet_validate.base.versions import onnxruntime_version
from facenet_validate.base.vocabulary import Target
from facenet_validate.cache import Cache, check_writable
from facenet_validate.commands import cache_root, progress, source_path, table, variable_path
from facenet_validate.commands.output import say
from facenet_validate.commands.tuning import PAIRED, cosine_check, paired_check, rankings, record
from facenet_validate.datasets.calibration import (
    CALIBRATED_ON,
    CHECKED_ON,
    CalibrationFaces,
    drawn_faces,
    faces_in,
    faces_outside,
)
from facenet_validate.datasets.layout import find_layout
from facenet_validate.datasets.lfw import load_set
from facenet_validate.datasets.notes import note_lines
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.datasets.verification_set import VerificationSet
from facenet_validate.gates.shipped import shipped_gates
from facenet_validate.models.network import int8_share
from facenet_validate.models.prepared import PreparedModel, load_onnx, prepare, source_model
from facenet_validate.models.quantization.int8 import Calibrated, calibrate, to_int8
from facenet_validate.models.quantization.precision import to_fp16
from facenet_validate.models.quantization.recipes import (
    RECIPE_KEY,
    Int8Recipe,
    check_around,
    choose_target,
    int8_recipe,
)
from facenet_validate.models.quantization.tuning import (
    Tuned,
    emulated_embeddings,
    loss_between,
    tune,
)

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

SEARCHED_ON = 32
DRAWN_NOTE = (
    "calibrated on drawn faces, for want of photos. On LFW that costs 0.0003 to 0.0004 of mean row "
    "cosine (docs/explanation/recipes.md); name photos with --calibration or --lfw"
)


def run(arguments: argparse.Namespace) -> None:
    """Quantise a model, write it, and say what was made of it."""
    path = source_path(arguments.source)
    source = source_model(path)
    _check(arguments)
    chosen = choose_target(cpu_identity().flags)[0]
    target = chosen if arguments.target == "auto" else arguments.target
    if arguments.around is not None:
        check_around(target, "--around")
    stem = Path(source.name).stem if path else source.name
    kind = "fp16" if arguments.precision == "fp16" else f"int8-{target}"
    out = arguments.out or Path(f"{stem}.{kind}.onnx")
    if out.is_dir():
        raise SettingsError(f"-o {out}: it is a folder; expected the name of the graph to write.")
    ranking = out.with_suffix(".tuning.json")
    _check_free([out, ranking] if arguments.tune else [out])
    root = cache_root(arguments.cache)
    check_writable(root)
    cache = Cache(root)
    with progress().stage(f"preparing {source.name}") as report:
        prepared = prepare(
            source,
            cache,
            faces=proof_faces(),
            input_name=arguments.input,
            output_name=arguments.output,
            progress=report,
        )
    model = f" --facenet-model {arguments.source}" if path else ""
    if arguments.precision == "fp16":
        made = to_fp16(load_onnx(prepared.entry.path))
        _write(out, _described(made, prepared, {"precision": "fp16"}))
        say(table([*_facts(prepared), *_wrote(out, model)]))
        return
    say(table(_int8(arguments, target, prepared, cache, out, ranking, model)))


def _int8(
    arguments: argparse.Namespace,
    target: Target,
    prepared: PreparedModel,
    cache: Cache,
    out: Path,
    ranking: Path,
    model: str,
) -> list[tuple[str, str]]:
    """Write an INT8 graph; return what to say of it."""
    recipe = replace(
        int8_recipe(target, arguments.around),
        method=arguments.method,
        percentile=arguments.percentile,
        keep=tuple(sorted(arguments.keep)),
    )
    evaluation = _evaluation(arguments)
    faces = _faces(arguments, evaluation, cache, cpu_identity().cores)
    side = prepared.image_size
    images = standardize(faces.faces.load(np.arange(len(faces.faces.names))), side)
    with progress().stage("calibrating") as report:
        calibrated = calibrate(
            load_onnx(prepared.entry.path), images, equalized=recipe.equalized, progress=report
        )
    few = images[:: max(1, len(images) // SEARCHED_ON)][:SEARCHED_ON]
    rows = [*_facts(prepared), ("calibration", faces.text)]
    if evaluation is None:
        rows.append(("overlap", "not checked: no evaluation set named by --lfw or FACENET_LFW"))
    else:
        rows += [("data set", text) for text in note_lines(evaluation.notes.facts())]
    rows += [("note", text) for text in faces.notes]
    if arguments.tune:
        tuned = _tuned(arguments, calibrated, recipe, faces, few, evaluation, cache, side)
        recipe, made = tuned.recipe, tuned.model
        rows.append(("ranking", str(ranking)))
        say(rankings(tuned))
        _write(ranking, (json.dumps(record(tuned), indent=1) + "\n").encode())
        if not tuned.check.reached:
            raise ModelError(
                f"the target was not reached: {tuned.check.text}. No graph was written; the "
                f"ranking is in {ranking}. Ask for less, or calibrate on more faces."
            )
    else:
        made = to_int8(calibrated, recipe)
    loss = loss_between(emulated_embeddings(calibrated.model, few), emulated_embeddings(made, few))
    told = {
        "precision": "int8",
        **recipe.inputs(),
        "calibration": faces.faces.digest,
        "images": len(images),
    }
    _write(out, _described(made, prepared, told))
    share = int8_share(made)
    rows += [
        ("recipe", recipe.text(len(images))),
        ("multiply-adds", f"{share:.2%} in INT8"),
        ("row cosine", f"mean {1 - loss:.6f} on {len(few)} of the calibration faces, emulated"),
        *_wrote(out, model),
    ]
    asked = _limit("build.int8_share", target)
    if share < asked:
        rows.append(("note", f"gates.toml asks for {asked:.0%} in INT8 (build.int8_share)"))
    if faces.drawn:
        rows.append(("note", DRAWN_NOTE))
    return rows


def _limit(gate: str, target: Target) -> float:
    """Return the limit that comes with the package for INT8 on LFW."""
    return shipped_gates().limits("lfw", "int8", target)[gate]


def _check(arguments: argparse.Namespace) -> None:
    if arguments.precision == "fp16" and (arguments.tune or arguments.keep):
        raise SettingsError("--tune and --keep are for --precision int8.")
    if arguments.precision == "fp16" and arguments.around:
        raise SettingsError("--around is for --precision int8: it says what INT8 leaves.")
    if arguments.paired and not (arguments.tune and _lfw(arguments)):
        raise SettingsError("--paired goes with --tune and --lfw DIR: it is judged on LFW's pairs.")
    if not 90.0 <= arguments.percentile <= 100.0:
        raise SettingsError(f"--percentile {arguments.percentile}; expected 90 to 100.")
    if not 0.0 < arguments.cosine < 1.0:
        raise SettingsError(f"--cosine {arguments.cosine}; expected a mean row cosine below 1.")


def _check_free(files: list[Path]) -> None:
    """Check before the work that its results will find their places."""
    for file in files:
        if file.exists():
            raise SettingsError(f"{file} exists; nothing was written. Name another file with -o.")
        if not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
            raise SettingsError(f"{file.parent}: no folder that can be written to. Make it first.")


def _lfw(arguments: argparse.Namespace) -> Path | None:
    return arguments.lfw or variable_path("FACENET_LFW")


def _evaluation(arguments: argparse.Namespace) -> VerificationSet | None:
    folder = _lfw(arguments)
    if folder is None:
        return None
    count = CALIBRATED_ON + CHECKED_ON
    layout = find_layout(folder)
    return load_set(layout, name="lfw", title=str(folder), calibration_images=count)


def _faces(
    arguments: argparse.Namespace, evaluation: VerificationSet | None, cache: Cache, workers: int
) -> CalibrationFaces:
    if arguments.calibration is not None:
        stage = partial(progress().stage, "aligning evaluation photos")
        return faces_in(arguments.calibration, evaluation, cache, workers, stage)
    if evaluation is not None:
        stage = partial(progress().stage, "aligning calibration photos")
        return faces_outside(evaluation, cache, workers, stage)
    with progress().stage("drawing faces") as report:
        return drawn_faces(cache, report)


def _tuned(
    arguments: argparse.Namespace,
    calibrated: Calibrated,
    recipe: Int8Recipe,
    faces: CalibrationFaces,
    images: NDArray[np.float32],
    evaluation: VerificationSet | None,
    cache: Cache,
    side: int,
) -> Tuned:
    if arguments.paired and evaluation is not None:
        check = paired_check(calibrated, evaluation, cache, _limit(PAIRED, recipe.target))
    else:
        check = cosine_check(calibrated, faces, arguments.cosine)
    key = {
        "graph": sha256(calibrated.model.SerializeToString(deterministic=True)).hexdigest(),
        "recipe": recipe.inputs(),
        "calibration": faces.faces.digest,
        "searched on": len(images),
        "image size": side,
        "runtime": onnxruntime_version(),
        "cpu": cpu_identity().name,
    }
    with progress().stage("searching") as report:
        return tune(
            calibrated,
            recipe,
            images,
            check,
            cache.root / "tuning" / f"{inputs_digest(key)}.jsonl",
            target=None if arguments.paired else 1 - arguments.cosine,
            progress=report,
        )


def _facts(prepared: PreparedModel) -> list[tuple[str, str]]:
    return [
        ("source", f"{prepared.source.name} (sha256 {short(prepared.source.digest)})"),
        ("prepared", f"sha256 {short(prepared.entry.digest)}; {prepared.proof.text()}"),
    ]


def _described(model: onnx.ModelProto, prepared: PreparedModel, recipe: dict[str, object]) -> bytes:
    """Return a graph that says how it was made."""
    del model.metadata_props[:]
    told = json.dumps({**recipe, "prepared": prepared.entry.digest})
    model.metadata_props.add(key=RECIPE_KEY, value=told)
    return bytes(model.SerializeToString(deterministic=True))


def _write(out: Path, content: bytes) -> None:
    try:
        write_whole(out, content)
    except OSError as error:
        raise SettingsError(f"{out}: cannot be written ({error.strerror}).") from None


def _wrote(out: Path, model: str) -> list[tuple[str, str]]:
    digest = sha256(out.read_bytes()).hexdigest()
    return [
        ("wrote", f"{out} (sha256 {short(digest)})"),
        ("validate it", f"pytest suites/ --facenet-engine {out}{model}"),
    ]
