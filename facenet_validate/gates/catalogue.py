"""The catalogue of gates: a row says what a gate observes, how it is bounded, where it applies.

The reader of ``gates.toml``, the judge, the parameters of tests, the summary and the reference
page read these rows. A new gate is a row here, a limit in ``gates.toml`` and a test.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

Bound = Literal["floor", "ceiling"]
Scope = Literal["engine", "set", "batch"]
Need = Literal[
    "fp16",
    "int8",
    "below fp32",
    "against",
    "self_check",
    "rebuilds",
    "threshold",
    "groups",
    "robustness",
    "full robustness",
]
Family = Literal["", "paired", "operating", "identification", "robustness", "speed"]

Measure = Literal["", "cosine", "distance", "share", "accuracy"]

FAMILY_ALPHA = 0.01
"""Probability that any gate of a family fails an engine that lost nothing, in a run."""


@dataclass(frozen=True)
class Gate:
    """A rule that an engine is held to.

    Attributes
    ----------
    name : str
        ``suite.name``, as in ``gates.toml``.
    observes : str
        What its value is, for people.
    bound : {"floor", "ceiling"}
        Whether a value below or above the limit fails.
    above : float or None
        The limit must be above this, since the rule shows a difference by statistics; None where
        any finite limit will do.
    per : {"engine", "set", "batch"}
        What it is judged for once: the engine on the run's first data set, every data set, or
        every batch size.
    beside : str
        What the engine is compared with: ``reference``, ``fp32``, ``fp16`` or ``against``. A test
        that compares with something else does not judge the gate. Empty where nothing is compared.
    needs : tuple of str
        What must be there: the precision ``fp16`` or ``int8``, one ``below fp32``, an engine
        ``against``, a ``self_check``, ``rebuilds``, a deployed ``threshold``, a set with
        ``groups``, a run of ``robustness`` or of ``full robustness``.
    family : str
        Gates of a family share the run's probability of a false alarm, 1 %.
    optional : bool
        Whether an engine without a limit is not judged by it. Any other gate then says that the
        limit is missing.
    diagnosed : bool
        Whether a run finds out why an engine fails it: it shows that the engine is not the model.
    measures : {"", "cosine", "distance", "share", "accuracy"}
        What its value is a measure of, where measured engines can say what the limit should be.
        Empty where the limit is a decision: a loss, a slowdown, a size or a number of faults.
    """

    name: str
    observes: str
    bound: Bound
    above: float | None = None
    per: Scope = "engine"
    beside: str = ""
    needs: tuple[Need, ...] = ()
    family: Family = ""
    optional: bool = False
    diagnosed: bool = False
    measures: Measure = ""

    @property
    def suite(self) -> str:
        """The suite it belongs to."""
        return self.name.partition(".")[0]

    def applies(self, precision: str, has: AbstractSet[str], *, first_set: bool) -> bool:
        """Say whether a run can judge it.

        Parameters
        ----------
        precision : str
            The engine's.
        has : set of str
            Which of ``against``, ``self_check``, ``rebuilds``, ``threshold``, ``groups``,
            ``robustness`` and ``full robustness`` there are.
        first_set : bool
            Whether the data set is the run's first, by which every suite judges.
        """
        there = {*has, precision, *(() if precision == "fp32" else ("below fp32",))}
        return (first_set or self.per == "set") and there.issuperset(self.needs)


def _corruption(kind: str, what: str, need: Need) -> Gate:
    return Gate(
        f"robustness.{kind}",
        f"accuracy lost on {what}, at the reference's thresholds",
        "ceiling",
        above=0.0,
        beside="reference",
        needs=(need,),
        family="robustness",
        optional=True,
    )


CATALOGUE: tuple[Gate, ...] = (
    Gate("build.problems", "what the parser or the checker complains about", "ceiling"),
    Gate(
        "build.inputs", "build inputs that differ when they are made anew", "ceiling", optional=True
    ),
    Gate(
        "build.int8_share",
        "share of multiply-adds in INT8",
        "floor",
        optional=True,
        measures="share",
    ),
    Gate(
        "build.half_share",
        "share of multiply-adds in FP16",
        "floor",
        optional=True,
        measures="share",
    ),
    Gate("build.size", "size in relation to the FP32 model's file", "ceiling", optional=True),
    Gate("contract.signature", "names, dtypes and shapes that differ from the contract", "ceiling"),
    Gate(
        "contract.colour",
        "smallest row cosine to the reference on eight drawn faces in colour",
        "floor",
        optional=True,
        diagnosed=True,
    ),
    Gate("contract.non_finite", "rows with NaN or infinity", "ceiling", diagnosed=True),
    Gate(
        "contract.norm_error_max",
        "largest |‖e‖ − 1|",
        "ceiling",
        diagnosed=True,
        measures="distance",
    ),
    Gate(
        "contract.batch_invariance",
        "largest L2 distance between batch sizes",
        "ceiling",
        diagnosed=True,
        measures="distance",
    ),
    Gate(
        "contract.order_invariance",
        "largest L2 distance between orders in a batch",
        "ceiling",
        diagnosed=True,
        measures="distance",
    ),
    Gate(
        "contract.black_image",
        "largest |‖e‖ − 1| of black and other plain pictures",
        "ceiling",
        diagnosed=True,
        measures="distance",
    ),
    Gate(
        "contract.batch_sizes",
        "sizes of a batch that are not answered, or refused without the largest size",
        "ceiling",
    ),
    Gate(
        "contract.equal_rows",
        "largest L2 distance between equal images of a batch",
        "ceiling",
        measures="distance",
    ),
    Gate(
        "contract.collapse",
        "smallest distance between faces apart, in relation to the reference's",
        "floor",
        diagnosed=True,
    ),
    Gate(
        "contract.repeatability",
        "largest L2 distance between two runs of a batch",
        "ceiling",
        measures="distance",
    ),
    Gate(
        "contract.reload",
        "largest L2 distance between two loads of the engine",
        "ceiling",
        measures="distance",
    ),
    Gate(
        "contract.input_refused",
        "wrong inputs that are taken, or refused without a name",
        "ceiling",
    ),
    Gate(
        "contract.precision_share",
        "share of multiply-adds in its precision, by the loaded engine",
        "floor",
        optional=True,
        measures="share",
    ),
    Gate(
        "contract.half_headroom",
        "65504 / the largest activation, for FP16",
        "floor",
        needs=("fp16",),
        optional=True,
    ),
    Gate(
        "contract.two_threads",
        "largest L2 distance between two threads at once and one; a refusal is 0",
        "ceiling",
        measures="distance",
    ),
    Gate(
        "contract.two_engines",
        "largest L2 distance between engines at once and each alone",
        "ceiling",
        measures="distance",
    ),
    Gate("contract.given_back", "kinds of what an engine holds after it is closed", "ceiling"),
    Gate(
        "contract.rebuild_spread",
        "largest L2 distance between builds of a recipe",
        "ceiling",
        needs=("rebuilds",),
        measures="distance",
    ),
    Gate(
        "contract.timed_outputs",
        "largest L2 distance between embeddings of timed blocks and untimed ones",
        "ceiling",
        per="batch",
        optional=True,
        measures="distance",
    ),
    Gate(
        "parity.cosine_min",
        "smallest row cosine to the reference",
        "floor",
        diagnosed=True,
        measures="cosine",
    ),
    Gate(
        "parity.cosine_p1",
        "1st percentile of row cosines",
        "floor",
        diagnosed=True,
        measures="cosine",
    ),
    Gate("parity.cosine_mean", "mean row cosine", "floor", diagnosed=True, measures="cosine"),
    Gate("accuracy.acc", "accuracy over ten folds", "floor", per="set", measures="accuracy"),
    Gate(
        "accuracy.auc", "area under the ROC curve, pooled", "floor", per="set", measures="accuracy"
    ),
    Gate(
        "accuracy.paired_drop",
        "accuracy lost at the reference's thresholds",
        "ceiling",
        above=0.0,
        per="set",
        beside="reference",
        family="paired",
        diagnosed=True,
    ),
    Gate(
        "accuracy.against_drop",
        "accuracy lost to the engine compared with, at its thresholds",
        "ceiling",
        above=0.0,
        per="set",
        beside="against",
        needs=("against",),
        family="paired",
    ),
    Gate(
        "accuracy.mixed_drop",
        "accuracy lost with templates stored by FP32, at its thresholds",
        "ceiling",
        above=0.0,
        per="set",
        beside="reference",
        family="paired",
        diagnosed=True,
    ),
    Gate(
        "accuracy.against_mixed_drop",
        "accuracy lost with templates stored by the engine compared with, at its thresholds",
        "ceiling",
        above=0.0,
        per="set",
        beside="against",
        needs=("against",),
        family="paired",
    ),
    Gate(
        "accuracy.group_drop",
        "accuracy lost in the worst group of people, at the reference's thresholds",
        "ceiling",
        above=0.0,
        per="set",
        beside="reference",
        needs=("groups",),
        family="paired",
    ),
    Gate(
        "operating.fnmr_rise",
        "FNMR less the reference's, at the deployed threshold",
        "ceiling",
        above=0.0,
        per="set",
        beside="reference",
        needs=("threshold",),
        family="operating",
    ),
    Gate(
        "operating.fmr_rise",
        "FMR in relation to the reference's, at the deployed threshold",
        "ceiling",
        above=1.0,
        per="set",
        beside="reference",
        needs=("threshold",),
        family="operating",
    ),
    Gate(
        "identification.rank1_drop",
        "rank-1 accuracy lost, a mean over people",
        "ceiling",
        above=0.0,
        per="set",
        beside="reference",
        family="identification",
        optional=True,
    ),
    Gate(
        "identification.fnir_rise",
        "FNIR less the reference's at its threshold for FPIR 0.01, a mean over people",
        "ceiling",
        above=0.0,
        per="set",
        beside="reference",
        family="identification",
        optional=True,
    ),
    Gate(
        "robustness.invariants",
        "invariants that some picture breaks: computed, finite, of length one, repeatable",
        "ceiling",
        needs=("robustness",),
    ),
    Gate(
        "robustness.odd_pictures",
        "embeddings of black, white, noise and denormal pictures not finite or not of length one",
        "ceiling",
        needs=("robustness",),
    ),
    Gate(
        "robustness.noise_accepted",
        "share of pairs with noise that are accepted and that the reference rejects",
        "ceiling",
        beside="reference",
        needs=("robustness",),
    ),
    _corruption("brightness", "photos made darker or lighter", "robustness"),
    _corruption("contrast", "photos of less contrast", "full robustness"),
    _corruption("gamma", "photos of another gamma", "full robustness"),
    _corruption("blur", "blurred photos", "robustness"),
    _corruption("jpeg", "photos compressed by JPEG", "robustness"),
    _corruption("noise", "photos with noise", "robustness"),
    _corruption("rotation", "photos turned a little", "full robustness"),
    _corruption("shift", "photos shifted a little", "full robustness"),
    _corruption("occlusion", "photos partly covered", "full robustness"),
    _corruption("grey", "photos without colour", "full robustness"),
    _corruption("low_resolution", "photos of low resolution", "full robustness"),
    Gate(
        "performance.fp32_ratio",
        "speed in relation to FP32, paired",
        "floor",
        above=0.0,
        per="batch",
        beside="fp32",
        needs=("below fp32",),
        family="speed",
        optional=True,
    ),
    Gate(
        "performance.fp16_ratio",
        "speed in relation to FP16, paired",
        "floor",
        above=0.0,
        per="batch",
        beside="fp16",
        needs=("int8",),
        family="speed",
        optional=True,
    ),
    Gate(
        "performance.stored",
        "latency in relation to stored sessions",
        "ceiling",
        above=1.0,
        per="batch",
        beside="fp32",
        family="speed",
        optional=True,
    ),
    Gate(
        "performance.stored_ratio",
        "latency / FP32's, in relation to stored sessions",
        "ceiling",
        above=1.0,
        per="batch",
        beside="fp32",
        needs=("below fp32",),
        family="speed",
        optional=True,
    ),
    Gate(
        "performance.against",
        "latency in relation to the engine compared with, paired",
        "ceiling",
        above=1.0,
        per="batch",
        beside="against",
        needs=("against",),
        family="speed",
        optional=True,
    ),
    Gate(
        "performance.self_check",
        "latency in relation to another load of itself, paired",
        "ceiling",
        above=1.0,
        per="batch",
        needs=("self_check",),
    ),
)
"""Every gate, in the order of reports."""


def names() -> tuple[str, ...]:
    """Return the names of every gate, in the order of reports."""
    return tuple(gate.name for gate in CATALOGUE)


def row(name: str) -> Gate:
    """Return a gate's row.

    Raises
    ------
    KeyError
        If there is no such gate.
    """
    for gate in CATALOGUE:
        if gate.name == name:
            return gate
    raise KeyError(name)
