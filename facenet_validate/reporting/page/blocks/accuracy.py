"""What accuracy and parity suites measured."""

from __future__ import annotations

from facenet_validate.reporting.page.blocks.place import Place
from facenet_validate.reporting.page.galleries import galleries
from facenet_validate.reporting.page.model import Block, Figure, Table
from facenet_validate.reporting.page.parts import Line
from facenet_validate.reporting.page.pictures.cosines import cosines_figure
from facenet_validate.reporting.page.pictures.curves import det_figure, has_curves, roc_figure
from facenet_validate.reporting.page.pictures.folds import folds_figure
from facenet_validate.reporting.page.pictures.histograms import distances_figure
from facenet_validate.reporting.page.pictures.losses import Loss, losses_figure


def verification(at: Place) -> Block:
    """Return curves, distances and accuracies of an engine."""
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


def paired(at: Place) -> Block:
    """Return what is lost by another engine's frozen rule, and the pairs to look at."""
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


def all_pairs(at: Place) -> Block:
    """Return TAR at low false-accept rates over all pairs."""
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


def cosines(at: Place) -> Block | None:
    """Return how far single faces moved; None where embeddings have no cosine."""
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


def pair_distances(at: Place) -> Block:
    """Return how far distances of pairs moved."""
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
