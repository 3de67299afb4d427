"""One layer of an engine's graph that is not the model's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from facenet_validate.diagnosis.blocks import block_names
from facenet_validate.diagnosis.diagnosis import Finding, NotTried
from facenet_validate.diagnosis.graph_causes import ONE_LAYER
from facenet_validate.diagnosis.graph_trial import FEW, GraphTrial
from facenet_validate.diagnosis.layers_restored import restored
from facenet_validate.diagnosis.matching import Operator
from facenet_validate.diagnosis.sides import Sides
from facenet_validate.diagnosis.walk import jump_limit, measured


def layer_findings(trial: GraphTrial, others: Sequence[Operator]) -> Iterator[Finding | NotTried]:
    """Undo the one layer that is not the model's.

    It is the one whose weights are others, or else the one that gives something else for the
    model's tensors: its bias is wrong. Of several, none is to blame alone.

    Parameters
    ----------
    others : sequence of Operator
        The layers whose weights differ from the model's by more than rounding.
    """
    found = others or _lossy(trial)
    if len(found) != 1:
        count = f"{len(found)} layers differ" if found else "no layer differs"
        yield NotTried(ONE_LAYER.name, f"{count} from the model's")
        return
    shown = _called(trial.sides, found[0])
    try:
        finding = trial.undone(ONE_LAYER, restored(trial.sides, found), shown)
        if others and trial.precision == "int8" and not finding.named:
            # The ranges, and the corrected biases, may have been calibrated with that layer.
            graph = restored(trial.sides, found, trial.layers)
            finding = trial.undone(ONE_LAYER, trial.refitted(graph), shown)
    except LookupError as error:
        yield NotTried(ONE_LAYER.name, str(error.args[0]))
        return
    yield finding


def _lossy(trial: GraphTrial) -> list[Operator]:
    """Return the layers that lose far more than others, each fed with the model's tensors."""
    sides = trial.sides
    _, alone = measured(sides, trial.batch[:FEW], None)
    known = {layer.name for layer in trial.layers}
    limit = jump_limit([difference.sqnr for difference in alone])
    return [
        operator
        for operator, difference in zip(sides.operators, alone, strict=True)
        if difference.sqnr < limit and operator.name in known
    ]


def _called(sides: Sides, operator: Operator) -> str:
    block = block_names(sides.model).get(operator.name, "")
    where = f" of {block}" if block else ""
    return f"{operator.reference.op_type} {operator.reference.name or operator.name}{where}"
