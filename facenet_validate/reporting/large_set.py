"""Figures of a large set, as JSON has them and as a terminal shows them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from facenet_validate.metrics.identification import FPIR_TARGETS, Identification, Searches
from facenet_validate.metrics.large_set import FEWEST_PAIRS_OF_PEOPLE, LargeSet, Rate
from facenet_validate.metrics.operating import ErrorRates, fmr_rise
from facenet_validate.metrics.points import Z95_TWO_SIDED
from facenet_validate.metrics.tally import jackknife_error

Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Beside:
    """A set's comparisons: by the engine, and beside the old engine if there is one.

    Attributes
    ----------
    engine : LargeSet
    old, mixed : LargeSet, optional
        The old engine; its templates beside the engine's probes, each image once as either.
    """

    engine: LargeSet
    old: LargeSet | None = None
    mixed: LargeSet | None = None

    @property
    def parts(self) -> dict[str, LargeSet]:
        """What there is, by name."""
        found = {"engine": self.engine, "old": self.old, "mixed": self.mixed}
        return {name: part for name, part in found.items() if part is not None}


def pairs_values(beside: Beside) -> dict[str, Any]:
    """Return all pairs as JSON has them."""
    values: dict[str, Any] = {name: _set_values(part) for name, part in beside.parts.items()}
    if beside.old is not None:
        values["drops"] = [
            _drop(before, after)
            for before, after in zip(beside.old.rates, beside.engine.rates, strict=True)
            if before.carried
        ]
        if beside.old.operating is not None and beside.engine.operating is not None:
            values["fmr_rise"] = asdict(fmr_rise(beside.old.operating, beside.engine.operating))
    return values


def pairs_rows(beside: Beside) -> Rows:
    """Return all pairs as (subject, text) rows."""
    one = beside.engine
    rows = [
        ("images", f"{one.images:,} of {one.people:,} people"),
        ("comparisons", f"{one.genuine:,} genuine, {one.impostor:,} impostor"),
    ]
    if beside.mixed is not None:
        rows.append(
            ("mixed", "templates by the old engine, probes by the engine; each pair both ways")
        )
    for name, part in beside.parts.items():
        of = "" if len(beside.parts) == 1 else f", {name}"
        rows += [(f"TAR at FAR {rate.point.target:.0e}{of}", _rate(rate)) for rate in part.rates]
        if part.operating is not None:
            rows += _operating_rows(part.operating, of)
    if beside.old is not None:
        for before, after in zip(beside.old.rates, beside.engine.rates, strict=True):
            if before.carried:
                drop = _drop(before, after)
                low, high = drop["interval_95"]
                text = f"{drop['drop']:.4f} ({low:.4f} to {high:.4f}, 95 %)"
                rows.append((f"TAR lost at FAR {drop['far']:.0e}", text))
    if not all(rate.exact for part in beside.parts.values() for rate in part.rates):
        rows.append(
            ("thresholds", f"beyond {one.exact_below:.4f} they are multiples of {one.width:g}")
        )
    return rows


def _set_values(found: LargeSet) -> dict[str, Any]:
    return {
        "images": found.images,
        "people": found.people,
        "genuine": found.genuine,
        "impostor": found.impostor,
        "exact_below": found.exact_below if math.isfinite(found.exact_below) else None,
        "bin_width": found.width,
        "rates": [_rate_values(rate) for rate in found.rates],
        "operating": None if found.operating is None else _operating_values(found.operating),
    }


def _rate_values(rate: Rate) -> dict[str, Any]:
    point = rate.point
    rests = {
        "far": point.target,
        "shown": rate.carried,
        "impostor_accepted": point.impostor_accepted,
        "people_in_them": rate.people,
        "pairs_of_people": rate.pairs_of_people,
    }
    if not rate.carried:
        return rests
    return rests | {
        "achieved_far": point.far,
        "tar": point.tar,
        "standard_error": point.standard_error,
        "interval_95": list(point.interval),
        "threshold": point.threshold,
        "exact": rate.exact,
        "genuine_accepted": point.genuine_accepted,
    }


def _rate(rate: Rate) -> str:
    point = rate.point
    rests = (
        f"rests on {point.impostor_accepted:,} pairs of {rate.people:,} people, "
        f"{rate.pairs_of_people:,.4g} by weight"
    )
    if not rate.carried:
        return f"not shown: {rests}; {FEWEST_PAIRS_OF_PEOPLE} are needed"
    low, high = point.interval
    return f"{point.tar:.4f} ({low:.4f} to {high:.4f}, 95 %) below {point.threshold:.5f}; {rests}"


def _operating_values(rates: ErrorRates) -> dict[str, Any]:
    return {
        "false_rejects": rates.false_rejects,
        "fnmr": rates.fnmr,
        "fnmr_by_person": rates.fnmr_by_person,
        "false_accepts": rates.false_accepts,
        "fmr": rates.fmr,
        "fmr_by_people": rates.fmr_by_people,
    }


def _operating_rows(rates: ErrorRates, of: str) -> Rows:
    return [
        (
            f"FNMR at the threshold{of}",
            f"{rates.fnmr:.6f}: {rates.false_rejects:,} of {rates.genuine:,}; each person the same "
            f"{rates.fnmr_by_person:.6f}",
        ),
        (
            f"FMR at the threshold{of}",
            f"{rates.fmr:.3e}: {rates.false_accepts:,} of {rates.impostor:,}; each pair of people "
            f"the same {rates.fmr_by_people:.3e}",
        ),
    ]


def _drop(before: Rate, after: Rate) -> dict[str, Any]:
    old, new = before.point, after.point
    error = jackknife_error(old.left_out - new.left_out)
    drop = old.tar - new.tar
    half = Z95_TWO_SIDED * error
    return {"far": old.target, "drop": drop, "interval_95": [drop - half, drop + half]}


def searches_values(found: Searches, ranks: dict[int, float]) -> dict[str, Any]:
    """Return one engine's identification as JSON has it."""
    thresholds = [found.threshold(target) for target in FPIR_TARGETS]
    return {
        "mated": len(found.mate),
        "non_mated": len(found.nearest),
        "ranks": {str(rank): share for rank, share in ranks.items()},
        "fpir": list(FPIR_TARGETS),
        "thresholds": [None if math.isinf(one) else one for one in thresholds],
        "fnir": [found.fnir(threshold) for threshold in thresholds],
    }


def searches_rows(values: dict[str, Any]) -> Rows:
    """Return one engine's identification as (subject, text) rows."""
    ranks = ", ".join(f"{share:.4f} within rank {rank}" for rank, share in values["ranks"].items())
    misses = ", ".join(
        f"FNIR {fnir:.4f} at FPIR {fpir:g}"
        for fnir, fpir in zip(values["fnir"], values["fpir"], strict=True)
    )
    return [
        (
            "identification",
            f"{values['mated']:,} mated and {values['non_mated']:,} non-mated probes: {ranks}; "
            f"{misses}",
        )
    ]


def identification_rows(found: Identification, name: str) -> Rows:
    """Return an engine's identification at the old one's thresholds as (subject, text) rows."""
    return [
        (
            f"identification, {name}",
            f"rank 1 {found.rank1:.4f} (old {found.reference_rank1:.4f}); at the old engine's "
            f"threshold for FPIR {found.targets[0]:g}: FNIR {found.fnir[0]:.4f} (old "
            f"{found.reference_fnir[0]:.4f}), FPIR {found.fpir[0]:.4f}",
        )
    ]
