"""What a run tested: engines, model, data, machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from facenet_validate.reporting.page.model import Fact, FactGroup
from facenet_validate.reporting.page.parts import Line, Part, joined


def tested(document: Part) -> tuple[FactGroup, ...]:
    """Return what was tested, a group of facts a thing; of a joined report, by its runs."""
    runs = list(document["runs"])
    if not runs:
        return _of_run(document)
    return tuple(replace(group, run=run["run"].line()) for run in runs for group in _of_run(run))


def _of_run(document: Part) -> tuple[FactGroup, ...]:
    groups = [
        *(_engine(f"Engine {name}", one) for name, one in document["engines"].items()),
        _engine("Reference", document["reference"]),
        _engine("Engine compared with", document["against"]),
        _model(document["model"]),
        _data("Data set", document["dataset"], document["alignment"]),
        *(
            _data(f"Data set {name}", one, one["alignment"])
            for name, one in document["sets"].items()
        ),
        _machine(document["environment"]),
        _calibration(document["calibration"]),
        _asked(document),
    ]
    return tuple(group for group in groups if group.facts or group.more)


def _engine(title: str, engine: Part) -> FactGroup:
    options: list[Line] = [(one.label, ": ", one.cell()) for _, one in engine["options"].items()]
    facts = [
        _fact("precision", engine["precision"]),
        _fact("made by", engine["recipe"]),
        _fact("runtime", engine["runtime"]),
        _fact("sha256", engine["sha256"]),
    ]
    if engine["recipe_only"].value:
        facts.insert(0, Fact("speaks for", (("the recipe, not for an engine on its target",),)))
    more = [
        _fact("sha256 of its graph", engine["graph_sha256"]),
        _fact("file", engine["path"]),
        Fact("options", tuple(options)),
        Fact("notes", tuple(one.line() for one in engine["notes"])),
    ]
    return _group(title, facts, more)


def _model(model: Part) -> FactGroup:
    return _group(
        "Model",
        [_fact("source", model["source"]), _fact("sha256", model["source_sha256"])],
        [
            _fact("sha256, prepared", model["prepared_sha256"]),
            _fact("proof", model["proof"]),
            _fact("embedding size", model["embedding_size"]),
            _fact("image size", model["image_size"]),
        ],
    )


def _data(title: str, data: Part, alignment: Part) -> FactGroup:
    size: Line = ()
    if data["pairs"]:
        size = (
            data["pairs"].cell(),
            " pairs, ",
            data["images"].cell(),
            " images, ",
            data["people"].cell(),
            " people",
        )
    return _group(
        title,
        [
            _fact("title", data["title"]),
            Fact("size", (size,) if size else ()),
            _fact("sha256 of the pairs", data["pairs_sha256"]),
        ],
        [
            _fact("aligned by", alignment["aligner"]),
            _fact("sha256 of the faces", alignment["faces_sha256"]),
            Fact("no face found", tuple(one.line() for one in alignment["undetected"])),
            Fact("several faces", tuple(one.line() for one in alignment["several_faces"])),
        ],
    )


def _calibration(found: Part) -> FactGroup:
    facts = [_fact("images", found["images"]), _fact("sha256", found["faces_sha256"])]
    return _group("Calibration of INT8", facts)


def _machine(environment: Part) -> FactGroup:
    backend: Line = ()
    if environment["backend"]:
        backend = (environment["backend"].cell(), " ", environment["backend_version"].cell())
    return _group(
        "Machine",
        [
            _fact("device", environment["device"]),
            Fact("backend", (backend,) if backend else ()),
            _fact("cannot run here", environment["backend_unavailable"]),
            _fact("facenet-validate", environment["facenet_validate"]),
        ],
        [
            _fact("cpu", environment["cpu"]),
            _fact("details", environment["cpu_details"]),
            _fact("threads", environment["threads"]),
            _fact("backend because", environment["backend_reason"]),
            _fact("target", environment["target"]),
            _fact("target because", environment["target_reason"]),
            _fact("onnxruntime", environment["onnxruntime"]),
        ],
    )


def _asked(document: Part) -> FactGroup:
    asked = [
        Fact(name.replace("_", " "), (joined(one) or one.line(),))
        for name, one in document["settings"].items()
        if one
    ]
    return _group("Asked for", asked[:2], [*asked[2:], _fact("gates file", document["gates_file"])])


def _fact(name: str, part: Part) -> Fact:
    return Fact(name, (part.line(),) if part else ())


def _group(title: str, facts: Iterable[Fact], more: Iterable[Fact] = ()) -> FactGroup:
    return FactGroup(
        title,
        tuple(fact for fact in facts if fact.lines),
        tuple(fact for fact in more if fact.lines),
    )
