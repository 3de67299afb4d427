"""Engines built elsewhere: what they tell about themselves before anything is collected."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from facenet_validate.base.errors import ModelError, SettingsError
from facenet_validate.base.vocabulary import TARGETS, Target
from facenet_validate.engines.backends import BACKENDS
from facenet_validate.models.file_kinds import kind_by_content, kind_by_name, missing
from facenet_validate.models.quantization.recipes import RECIPE_KEY
from facenet_validate.run.settings import Settings

if TYPE_CHECKING:
    import onnx

    from facenet_validate.cache import Cache
    from facenet_validate.engines.backend import Backend
    from facenet_validate.engines.supplied import SuppliedEngine

_EXPECTED = "Expected an ONNX engine (.onnx) or a TensorRT plan."


def read_supplied(path: Path, origin: str) -> SuppliedEngine:
    """Look into an engine's file.

    Parameters
    ----------
    path : Path
        An ONNX graph or a TensorRT plan.
    origin : str
        Which option named it, for messages.

    Raises
    ------
    SettingsError
        If it is no file, or of another kind.
    ModelError
        If it is no engine that reads faces and gives embeddings, or repeats a part of its graph.
    """
    from facenet_validate.engines.supplied import SuppliedEngine
    from facenet_validate.models.endless import check_ends
    from facenet_validate.models.exported.graph_view import own_inputs
    from facenet_validate.models.prepared import check_contract
    from facenet_validate.models.quantization.precision import infer_precision

    absent = missing(path)
    if absent:
        raise SettingsError(f"{origin}: {path}: {absent}. {_EXPECTED}")
    for backend in BACKENDS:
        found = backend.own_engine(path)
        if found is not None:
            return found
    model = _engine_graph(path, origin)
    size = check_contract(model, str(path))
    check_ends(model, str(path))
    sides = own_inputs(model.graph)[0].type.tensor_type.shape.dim
    return SuppliedEngine(
        path,
        infer_precision(model),
        _told_target(model),
        None,
        image_size=sides[2].dim_value,
        embedding_size=size,
    )


def _engine_graph(path: Path, origin: str) -> onnx.ModelProto:
    from facenet_validate.models.prepared import load_onnx

    kind = kind_by_content(path)
    if kind is None:
        try:
            return load_onnx(path)
        except ModelError:
            kind = kind_by_name(path)
            if kind is None:
                raise
    raise SettingsError(f"{origin}: {path}: it looks like {kind.what}. {_EXPECTED} {kind.advice}")


def settings_for_supplied(settings: Settings, supplied: SuppliedEngine) -> Settings:
    """Return settings whose precision, backend and target are the given engine's own.

    Raises
    ------
    SettingsError
        If they contradict what was asked for.
    """
    origins = settings.origins
    asked = origins.get("facenet_precision")
    if supplied.precision is not None and asked and settings.precisions != (supplied.precision,):
        raise SettingsError(
            f"{asked}: {', '.join(settings.precisions)}, but {supplied.path.name} is "
            f"{supplied.precision}. Leave the precision out: a given engine's own is used."
        )
    if supplied.precision is None and (not asked or len(settings.precisions) != 1):
        raise SettingsError(
            f"{origins['facenet_engine']}: {supplied.path.name} is a TensorRT plan, which does not "
            "tell its precision before it runs. Name the one it was built in: --precision fp16 or "
            "--precision int8."
        )
    if supplied.precision is not None:
        settings = replace(settings, precisions=(supplied.precision,))
    return _with_target(_with_backend(settings, supplied), supplied)


def check_runnable(
    engine: SuppliedEngine | None,
    against: SuppliedEngine | None,
    model: Path | None,
    cache: Cache,
    backend: Backend,
) -> None:
    """Check that given engines fit the model they are compared with, and run on the backend.

    A plan tells its sizes, and runs, on a device only, unless it lies in our cache.

    Parameters
    ----------
    engine, against : SuppliedEngine or None
        The one to validate, and the one to compare with, whose embeddings may have another size.
    model : Path or None
        The source model; None for the packaged one.

    Raises
    ------
    FacenetValidateError
        Naming the engine, and what it lacks.
    """
    from facenet_validate.engines.supplied import check_fits
    from facenet_validate.models.prepared import model_sizes

    told = [
        (one, one.image_size, one.embedding_size)
        for one in (engine, against)
        if one is not None and one.image_size is not None and one.embedding_size is not None
    ]
    if not told:
        return
    try:
        sizes = model_sizes(model, cache)
    except ModelError:
        sizes = None  # what is wrong with the model is told where it is prepared
    for one, side, size in told:
        if sizes is not None:
            check_fits(one.path, side, None if one is against else size, sizes)
        if one.backend is None:
            backend.check_runs(one.path, side, size)


def check_against(against: SuppliedEngine, backend: str) -> None:
    """Check that the run's backend can load the engine to compare with.

    Raises
    ------
    SettingsError
        If it is a plan of another backend.
    """
    if against.backend is not None and against.backend != backend:
        raise SettingsError(
            f"--facenet-against: {against.path.name} is a plan of {against.backend} "
            f"{against.version}, and the run's backend is {backend}. Both engines run on one "
            f"backend: name it with --facenet-backend {against.backend}."
        )


def _with_backend(settings: Settings, supplied: SuppliedEngine) -> Settings:
    if supplied.backend is None:
        return settings
    if settings.backend not in ("auto", supplied.backend):
        raise SettingsError(
            f"{settings.origins['facenet_backend']}: {settings.backend}, but {supplied.path.name} "
            f"is a plan of {supplied.backend} {supplied.version}. Leave the backend out: the "
            "plan's own is used."
        )
    origins = dict(settings.origins)
    origins.setdefault("facenet_backend", f"the plan {supplied.path.name}")
    return replace(settings, backend=supplied.backend, origins=origins)


def _with_target(settings: Settings, supplied: SuppliedEngine) -> Settings:
    target = supplied.target
    if target is None:
        return settings
    if target != "tensorrt" and settings.backend == "auto":
        # A recipe for CPUs runs on one, also on a machine with a GPU.
        origins = {**settings.origins, "facenet_backend": "the engine's recipe for CPUs"}
        settings = replace(settings, backend=BACKENDS[0].name, origins=origins)
    if settings.target not in ("auto", target):
        raise SettingsError(
            f"{settings.origins['facenet_target']}: {settings.target}, but the engine says that "
            f"its recipe is for {target}. Leave the target out: the engine's own is used."
        )
    origins = {**settings.origins, "facenet_target": "the engine's own recipe"}
    return replace(settings, target=target, origins=origins)


def _told_target(engine: onnx.ModelProto) -> Target | None:
    """Return the target that a graph says; TensorRT's where it does not and has FP16 scales.

    On a CPU such a graph has to be emulated. ONNX Runtime's integer kernels refuse FP16 scales, or
    compute other values.
    """
    from facenet_validate.models.quantization.half_around import has_half_scales

    return _written_target(engine) or ("tensorrt" if has_half_scales(engine) else None)


def _written_target(engine: onnx.ModelProto) -> Target | None:
    told = next((p.value for p in engine.metadata_props if p.key == RECIPE_KEY), None)
    try:
        found = json.loads(told).get("target") if told else None
    except (ValueError, AttributeError):
        return None
    return next((target for target in TARGETS if target == found), None)
