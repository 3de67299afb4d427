"""What replacing an engine changes: templates, groups, the threshold, identification."""

from __future__ import annotations

from facenet_validate.reporting.page.blocks.place import Place
from facenet_validate.reporting.page.model import Block, Figure, Table
from facenet_validate.reporting.page.parts import Line, cells
from facenet_validate.reporting.page.pictures.losses import Loss, losses_figure

_RATES = {
    "fmr": "FMR",
    "fnmr": "FNMR",
    "false_accepts": "false accepts",
    "false_rejects": "false rejects",
    "fmr_by_pair_of_people": "FMR by people",
    "fnmr_by_person": "FNMR by person",
}


def templates(at: Place) -> Block:
    """Return what pairs with one stored template lose."""
    measured = at.measured
    words = (measured["text"].line(),) if measured["text"] else ()
    losses = tuple(
        Loss(title, measured["directions"][key]["drop"], measured["directions"][key]["upper_95"])
        for key, title in (("stored_left", "left stored"), ("stored_right", "right stored"))
        if measured["directions"][key]
    )
    figures: tuple[Figure, ...] = ()
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


def groups(at: Place) -> Block | None:
    """Return what each group of people loses; None where the set names none."""
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
            *cells(*(one[key] for key in ("pairs", "lost", "won"))),
            *cells(one["engine"]["accuracy"], one["reference"]["accuracy"]),
            *cells(one["engine"]["fmr"], one["engine"]["fnmr"]),
        )
        for one in found
    )
    return Block(f"Groups, {at.where}", (), (figure,), (Table("Groups of people", head, rows),))


def operating(at: Place) -> Block:
    """Return error rates at the deployed threshold, or thresholds where none is deployed."""
    measured = at.measured
    if not measured["pairs"]:
        rows = tuple(
            (("FAR ", found.label), (found.cell(),)) for _, found in measured["thresholds"].items()
        )
        table = Table("Thresholds of FP32 on these pairs", ("for", "distance"), rows)
        words: Line = ("No threshold was named with --facenet-threshold.",)
        return Block(f"Thresholds, {at.where}", (words,), (), (table,))
    words = (
        "Deployed threshold: ",
        measured["threshold"].cell(),
        " (",
        measured["metric"].cell(),
        ").",
    )
    tables = []
    for key, title in (("pairs", "On the set's pairs"), ("all_pairs", "On all pairs")):
        sides = (("reference", "FP32"), ("engine", at.engine), ("mixed", "mixed"))
        told: tuple[tuple[Line, ...], ...] = tuple(
            ((label,), *cells(*(measured[key][name][rate] for rate in _RATES)))
            for name, label in sides
            if measured[key][name]
        )
        if told:
            tables.append(Table(title, ("who", *_RATES.values()), told))
    return Block(f"At the deployed threshold, {at.where}", (words,), (), tuple(tables))


def identification(at: Place) -> Block | None:
    """Return what searches of a gallery find; None where there were none."""
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
            *cells(measured[key]["rank1"], at_first["fnir"], at_first["fpir"]),
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
