"""What a run measured: each measurement becomes a block of figures and tables in its suite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from facenet_validate.reporting.page.galleries import galleries
from facenet_validate.reporting.page.gates import limit_of
from facenet_validate.reporting.page.model import Block, Figure, Table
from facenet_validate.reporting.page.parts import Line, Part, joined
from facenet_validate.reporting.page.pictures.cosines import cosines_figure
from facenet_validate.reporting.page.pictures.curves import det_figure, has_curves, roc_figure
from facenet_validate.reporting.page.pictures.folds import folds_figure
from facenet_validate.reporting.page.pictures.histograms import distances_figure
from facenet_validate.reporting.page.pictures.layers import layers_figure
from facenet_validate.reporting.page.pictures.losses import Loss, losses_figure
from facenet_validate.reporting.page.pictures.severities import severities_figure
from facenet_validate.reporting.page.pictures.speeds import (
    blocks_figure,
    quads_figure,
    stored_figure,
)

_BESIDE = {
    "reference": "FP32",
    "against": "the engine compared with",
    "fp32": "FP32",
    "fp16": "FP16",
}


@dataclass(frozen=True)
class _Place:
    """A measurement, where it stands, and what else a block of it needs.

    Attributes
    ----------
    document, measured : Part
        The whole, and the measurement.
    name : str
        Begins the ids of its pictures.
    """

    document: Part
    measured: Part
    name: str

    @property
    def engine(self) -> str:
        """What the engine is called."""
        return self.measured["precision"].text.upper() or "the engine"

    @property
    def where(self) -> str:
        """Of which engine and set."""
        return f"{self.engine} on {self.measured['dataset'].text}"

    @property
    def beside(self) -> str:
        """What it is compared with."""
        found = self.measured["compared_with"].text or self.measured["beside"].text
        return _BESIDE.get(found, found)

    def limit(self, gate: str) -> Part:
        """Return the limit of a gate for what was measured."""
        return limit_of(self.document, gate, self.measured)


def blocks(document: Part) -> tuple[tuple[tuple[str, Block], ...], tuple[Block, ...]]:
    """Return what was measured: by suite, and what belongs to no suite of ours.

    Parameters
    ----------
    document : Part
        The whole.
    """
    of_suites, other = [], []
    for place, measured in enumerate(document["measurements"]):
        name = measured["name"].text
        if name == "diagnosis":
            continue  # it stands beside the failures
        where = _Place(document, measured, f"m{place}")
        if name in _MAKERS:
            suite, make = _MAKERS[name]
            block = make(where)
            if block is not None:
                of_suites.append((suite, block))
        else:
            other.append(_unknown(where))
    return tuple(of_suites), tuple(other)


def _verification(at: _Place) -> Block:
    measured = at.measured
    figures: list[Figure] = []
    if has_curves(measured):
        figures += [roc_figure(f"{at.name}-roc", measured, at.engine)]
        figures += [det_figure(f"{at.name}-det", measured, at.engine)]
    if measured["distances"]:
        figures.append(distances_figure(f"{at.name}-distances", measured, at.engine))
    if measured["fold_accuracies"]:
        figures.append(folds_figure(f"{at.name}-folds", measured, at.engine))
    head = ("FAR asked", "FAR achieved", "TAR", "interval, 95 %", "TAR of FP32")
    rows = tuple(
        (
            (point["far"].cell(),),
            (point["achieved_far"].cell(),),
            (point["tar"].cell(),),
            (point["interval_95"][0].cell(), " to ", point["interval_95"][1].cell()),
            (measured["reference"]["tar_at_far"][place]["tar"].cell(),),
        )
        for place, point in enumerate(measured["tar_at_far"])
    )
    words: list[Line] = [("Pairs are scored by ", measured["protocol"].cell(), ".")]
    corrected = measured["without_mislabelled"]
    if corrected:
        words.append(("Without pairs known as mislabelled: ", corrected["accuracy"].cell(), "."))
    tables = (Table("TAR at false-accept rates", head, rows),) if rows else ()
    return Block(f"Verification, {at.where}", tuple(words), tuple(figures), tables)


def _paired(at: _Place) -> Block:
    measured = at.measured
    gate = measured["gate"].text
    words: Line = (
        measured["lost"].cell(),
        " pairs lost and ",
        measured["won"].cell(),
        " won of ",
        measured["pairs"].cell(),
        f", by the frozen rule of {at.beside}. McNemar's p ",
        measured["mcnemar_p_value"].cell(),
        "; ",
        measured["text"].cell(),
        ".",
    )
    loss = Loss("accuracy", measured["drop"], measured["upper_95"])
    figure = losses_figure(
        f"{at.name}-drop",
        f"Accuracy lost beside {at.beside}",
        "accuracy lost",
        (loss,),
        at.limit(gate),
    )
    return Block(
        f"Decisions beside {at.beside}, {at.where}",
        (words,),
        (figure,),
        galleries=galleries(measured),
    )


def _templates(at: _Place) -> Block:
    measured = at.measured
    words = (measured["text"].line(),) if measured["text"] else ()
    losses = tuple(
        Loss(title, measured["directions"][key]["drop"], measured["directions"][key]["upper_95"])
        for key, title in (("stored_left", "left stored"), ("stored_right", "right stored"))
        if measured["directions"][key]
    )
    figures = ()
    if losses:
        figures = (
            losses_figure(
                f"{at.name}-templates",
                f"Accuracy lost with stored templates of {at.beside}",
                "accuracy lost",
                losses,
                at.limit(measured["gate"].text),
                ("Either face of a pair may be the stored template.",),
            ),
        )
    return Block(f"Stored templates of {at.beside}, {at.where}", words, figures)


def _groups(at: _Place) -> Block | None:
    found = list(at.measured["groups"])
    if not found:
        return None
    losses = tuple(Loss(one["group"].text, one["drop"], one["upper_95"]) for one in found)
    figure = losses_figure(
        f"{at.name}-groups",
        "Accuracy lost by group of people",
        "accuracy lost",
        losses,
        at.limit("accuracy.group_drop"),
    )
    head = ("group", "pairs", "lost", "won", "ACC", "ACC of FP32", "FMR", "FNMR")
    rows = tuple(
        (
            one["group"].line(),
            *((one[key].cell(),) for key in ("pairs", "lost", "won")),
            (one["engine"]["accuracy"].cell(),),
            (one["reference"]["accuracy"].cell(),),
            (one["engine"]["fmr"].cell(),),
            (one["engine"]["fnmr"].cell(),),
        )
        for one in found
    )
    return Block(f"Groups, {at.where}", (), (figure,), (Table("Groups of people", head, rows),))


def _all_pairs(at: _Place) -> Block:
    measured = at.measured
    words: Line = (
        measured["genuine_pairs"].cell(),
        " genuine and ",
        measured["impostor_pairs"].cell(),
        " impostor pairs of ",
        measured["images"].cell(),
        " photos of ",
        measured["identities"].cell(),
        " people.",
    )
    head = ("FAR asked", "TAR", "interval, 95 %", "TAR of FP32", "lost", "interval, 95 %")
    rows = tuple(
        (
            (point["far"].cell(),),
            (point["tar"].cell(),),
            (point["interval_95"][0].cell(), " to ", point["interval_95"][1].cell()),
            (point["reference_tar"].cell(),),
            (point["drop"].cell(),),
            (point["drop_interval_95"][0].cell(), " to ", point["drop_interval_95"][1].cell()),
        )
        for point in measured["points"]
    )
    return Block(f"All pairs, {at.where}", (words,), (), (Table("All pairs", head, rows),))


def _cosines(at: _Place) -> Block | None:
    measured = at.measured
    if not measured["cosines"]:
        return None
    limits = [
        gate
        for gate in at.document["gates"]
        if gate["gate"].text in ("parity.cosine_min", "parity.cosine_p1")
        and gate["precision"].value == measured["precision"].value
        and gate["dataset"].value == measured["dataset"].value
        and measured["compared_with"].value == "reference"
    ]
    figure = cosines_figure(f"{at.name}-cosines", measured, at.engine, limits)
    return Block(f"Row cosines to {at.beside}, {at.where}", (), (figure,))


def _pair_distances(at: _Place) -> Block:
    measured = at.measured
    words: Line = (
        measured["decisions_flipped"].cell(),
        " of ",
        measured["pairs"].cell(),
        " decisions flip at the frozen thresholds. Distances move by ",
        measured["mean_shift"].cell(),
        " on average and by ",
        measured["max_shift"].cell(),
        " at most.",
    )
    return Block(f"Distances of pairs, {at.where}", (words,))


def _operating(at: _Place) -> Block:
    measured = at.measured
    if not measured["pairs"]:
        rows = tuple(
            (("FAR ", found.label), (found.cell(),)) for _, found in measured["thresholds"].items()
        )
        table = Table("Thresholds of FP32 on these pairs", ("for", "distance"), rows)
        told = ("No threshold was named with --facenet-threshold.",)
        return Block(f"Thresholds, {at.where}", (told,), (), (table,))
    words: Line = (
        "Deployed threshold: ",
        measured["threshold"].cell(),
        " (",
        measured["metric"].cell(),
        ").",
    )
    head = (
        "who",
        "FMR",
        "FNMR",
        "false accepts",
        "false rejects",
        "FMR by people",
        "FNMR by person",
    )
    tables = []
    for key, title in (("pairs", "On the set's pairs"), ("all_pairs", "On all pairs")):
        rows = tuple(
            (
                (label,),
                *(
                    (measured[key][name][rate].cell(),)
                    for rate in (
                        "fmr",
                        "fnmr",
                        "false_accepts",
                        "false_rejects",
                        "fmr_by_pair_of_people",
                        "fnmr_by_person",
                    )
                ),
            )
            for name, label in (("reference", "FP32"), ("engine", at.engine), ("mixed", "mixed"))
            if measured[key][name]
        )
        if rows:
            tables.append(Table(title, head, rows))
    return Block(f"At the deployed threshold, {at.where}", (words,), (), tuple(tables))


def _identification(at: _Place) -> Block | None:
    measured = at.measured
    if not measured["engine"]:
        return None
    words: Line = (
        measured["templates"].cell(),
        " people enrolled, ",
        measured["mated_probes"].cell(),
        " mated and ",
        measured["non_mated_probes"].cell(),
        " non-mated probes.",
    )
    parties = (
        ("reference", "FP32"),
        ("engine", at.engine),
        ("mixed", f"gallery of FP32, probes of {at.engine}"),
    )
    first = [(label, measured[key]["at"][0]) for key, label in parties]
    rows = tuple(
        (
            (label,),
            (measured[key]["rank1"].cell(),),
            (at_first["fnir"].cell(),),
            (at_first["fpir"].cell(),),
        )
        for (key, _), (label, at_first) in zip(parties, first, strict=True)
    )
    table = Table("Searches of a gallery", ("who", "rank 1", "FNIR", "FPIR"), rows)
    figures = tuple(
        losses_figure(
            f"{at.name}-{key.replace('_', '-')}",
            title,
            quantity,
            tuple(
                Loss(label, measured[who][key]["mean"], measured[who][key]["upper_95"])
                for who, label in (("engine", at.engine), ("mixed", "mixed"))
            ),
            at.limit(gate),
            ("Mixed: the gallery is of FP32, the probes are of the engine.",),
        )
        for key, title, quantity, gate in (
            ("rank1_loss", "Rank-1 accuracy lost", "lost", "identification.rank1_drop"),
            ("fnir_loss", "FNIR risen", "risen", "identification.fnir_rise"),
        )
    )
    return Block(f"Identification, {at.where}", (words,), figures, (table,))


def _corruptions(at: _Place) -> Block | None:
    if not at.measured["kinds"]:
        return None
    figure = severities_figure(f"{at.name}-severities", at.measured, at.engine)
    head = ("kind", "lost", "won", "pairs", "accuracy lost", "upper bound, 95 %")
    rows = tuple(
        (
            kind["kind"].line(),
            *((kind[key].cell(),) for key in ("lost", "won", "pairs", "drop", "upper_95")),
        )
        for kind in at.measured["kinds"]
    )
    table = Table("Corrupted photos", head, rows)
    return Block(f"Corrupted photos, {at.where}", (), (figure,), (table,))


def _speed(at: _Place) -> Block:
    measured = at.measured
    figures = [blocks_figure(f"{at.name}-blocks", measured)]
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


def _latency(at: _Place) -> Block:
    keys = (
        ("p50_ms", "median"),
        ("p90_ms", "ninetieth percentile"),
        ("p99_ms", "ninety-ninth percentile"),
        ("latency_p50_ms", "with copies, median"),
        ("latency_p90_ms", "with copies, ninetieth percentile"),
        ("latency_p99_ms", "with copies, ninety-ninth percentile"),
        ("enqueue_p50_ms", "enqueue, median"),
    )
    rows = tuple(((label,), (at.measured[key].cell(),)) for key, label in keys if at.measured[key])
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


def _slower(at: _Place) -> Block:
    figures, words = [], []
    for place, (gate, found) in enumerate(at.measured["gates"].items()):
        if found["layers"]:
            figures.append(layers_figure(f"{at.name}-layers-{place}", gate, found))
        elif found["untold"]:
            words.append((f"{gate}: ", found["untold"].cell()))
    return Block(f"Slower layers, {at.where}", tuple(words), tuple(figures))


def _plain(title: str) -> Callable[[_Place], Block]:
    def make(at: _Place) -> Block:
        return _unknown(at, f"{title}, {at.where}")

    return make


_MAKERS: Mapping[str, tuple[str, Callable[[_Place], Block | None]]] = {
    "verification": ("accuracy", _verification),
    "paired comparison": ("accuracy", _paired),
    "stored templates": ("accuracy", _templates),
    "groups": ("accuracy", _groups),
    "all pairs": ("accuracy", _all_pairs),
    "row cosines": ("parity", _cosines),
    "pair distances": ("parity", _pair_distances),
    "operating point": ("operating", _operating),
    "identification": ("identification", _identification),
    "corruptions": ("robustness", _corruptions),
    "speed": ("performance", _speed),
    "latency": ("performance", _latency),
    "slower layers": ("performance", _slower),
    "self-check": ("performance", _plain("Self-check")),
    "build": ("build", _plain("Build")),
    "loaded precision": ("contract", _plain("Loaded precision")),
    "half range": ("contract", _plain("Range of FP16")),
}

_ABOUT = ("name", "precision", "dataset", "test", "batch")
_MOST_ROWS = 60
_MOST_LIST = 12


def _unknown(at: _Place, title: str = "") -> Block:
    """Return a measurement as a table of its values, as far as they are few."""
    rows: list[tuple[Line, ...]] = []
    _collect(at.measured, (), rows)
    told: list[Line] = []
    if len(rows) > _MOST_ROWS:
        told.append(("The file has more values of it.",))
    name = title or f"{at.measured['name'].text}, {at.where}"
    table = Table(name, ("value", "found"), tuple(rows[:_MOST_ROWS]))
    return Block(name, tuple(told), tables=(table,), folded=True)


def _collect(part: Part, names: Line, rows: list[tuple[Line, ...]]) -> None:
    for key, one in part.items():
        if not names and key in _ABOUT:
            continue
        whole = (*names, " ", one.label) if names else (one.label,)
        if isinstance(one.value, dict):
            _collect(one, whole, rows)
        elif isinstance(one.value, list):
            if one and len(one.value) <= _MOST_LIST and not _nested(one.value):
                rows.append((whole, joined(one)))
        elif one.value is not None:
            rows.append((whole, (one.cell(),)))


def _nested(values: Iterable[object]) -> bool:
    return any(isinstance(one, list | dict) for one in values)
