"""What a run says before its tests: what will be validated, on what, with what."""

from __future__ import annotations

from facenet_validate.base.digests import file_digest
from facenet_validate.models.pretrained import ORL_COURTESY, PRETRAINED, PRETRAINED_NAME
from facenet_validate.run.run import Run


def header(run: Run) -> list[str]:
    """Return the lines that say what will be validated, on what, with what."""
    settings = run.settings
    target, why = run.chosen_target
    if settings.model is not None:
        model = f"{settings.model.name} (sha256 {file_digest(settings.model)[:12]})"
    else:
        model = f"{PRETRAINED_NAME} (sha256 {PRETRAINED.sha256[:12]}, {PRETRAINED.distribution})"
    backend = run.backend
    lines = [
        f"facenet: backend {backend.name} {backend.version}: {backend.why}"
        + backend.setup_text(run.threads),
        f"facenet: device {run.device}; target {target}: {why}",
        f"facenet: precisions {', '.join(settings.precisions)}; batch sizes "
        f"{', '.join(map(str, settings.batch_sizes))}; model {model}",
    ]
    if "int8" in settings.precisions and settings.engine is None:
        lines.append(f"facenet: INT8 recipe {run.int8_recipe.summary()}")
    if backend.unavailable:
        lines.append(
            f"facenet: engines are {'built' if settings.engine is None else 'looked at'} and not "
            f"run here: {backend.unavailable}; what needs them run is not evaluated"
        )
    if settings.engine is not None:
        lines.append(f"facenet: engine {settings.engine}, compared with the FP32 model named above")
    if settings.against is not None:
        lines.append(f"facenet: compared with {settings.against} too")
    if run.dataset_name == "orl":
        lines.append(
            f"facenet: data set ORL, 3600 pairs of real photos of 40 people, grey, {ORL_COURTESY} "
            "(no --facenet-lfw): absolute LFW gates are not evaluated"
        )
    elif settings.lfw is None:
        lines.append(
            "facenet: data set synthetic faces, 6000 pairs, drawn here (no --facenet-lfw): "
            "absolute LFW gates are not evaluated"
        )
    else:
        lines.append(f"facenet: data set LFW in {settings.lfw}, {run.pairs} pairs")
    lines += [
        f"facenet: data set {name}: {found.title}, {len(found.same)} pairs"
        for name, found in run.sets.items()
    ]
    if settings.protocol != "plain":
        lines.append(f"facenet: protocol {settings.protocol}")
    lines.append(f"facenet: gates {run.gates.path}; cache {settings.cache}")
    return lines
