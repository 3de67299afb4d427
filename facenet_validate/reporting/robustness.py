"""What the reports keep of corrupted photos: values, lines, and a picture of the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facenet_validate.reporting.curves import Curve, Panel, curves_svg
from facenet_validate.reporting.picture_files import write_picture
from facenet_validate.reporting.verification import paired_values

if TYPE_CHECKING:
    from facenet_validate.metrics.fragility import Fragility


def corruption_values(
    found: Mapping[str, Fragility],
    *,
    pictures: int,
    clean_reference: float,
    clean_engine: float,
) -> dict[str, Any]:
    """Return what corrupted photos showed, as JSON has it.

    Parameters
    ----------
    found : mapping
        By kind of corruption.
    pictures : int
        Corrupted pictures of each kind.
    clean_reference, clean_engine : float
        Accuracies on the set's pairs of photos as they are, at the reference's thresholds.
    """
    return {
        "pictures": pictures,
        "as_they_are": {"reference_accuracy": clean_reference, "engine_accuracy": clean_engine},
        "kinds": [
            {
                "kind": kind,
                **paired_values(one.paired),
                "severities": [asdict(at) for at in one.curve],
            }
            for kind, one in found.items()
        ],
    }


def write_curves(values: Mapping[str, Any], title: str, report: Path) -> str:
    """Draw accuracy by severity into the report's folder; return the picture's path in it.

    Parameters
    ----------
    values : mapping
        Of :func:`corruption_values`.
    title : str
        Of the engine and the set: ``int8 on lfw``.
    report : Path
        The report's folder.
    """
    clean = values["as_they_are"]
    panels = [
        Panel(
            f"{one['kind'].replace('_', ' ')}: {one['lost']} lost, {one['won']} won",
            tuple(
                Curve(
                    name,
                    (0, *(at["severity"] for at in one["severities"])),
                    (clean[key], *(at[key] for at in one["severities"])),
                )
                for name, key in (("FP32", "reference_accuracy"), ("engine", "engine_accuracy"))
            ),
        )
        for one in values["kinds"]
    ]
    drawn = curves_svg(f"accuracy by severity, {title}", panels)
    name = f"robustness-{title.replace(' ', '-')}.svg"
    return write_picture(report, name, drawn.encode())


def robustness_lines(measurements: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of the terminal's summary about corrupted photos."""
    lines = []
    for m in measurements:
        if m["name"] != "corruptions" or "kinds" not in m:
            continue
        told = [f"{one['kind']} {one['lost']} lost, {one['won']} won" for one in m["kinds"]]
        seen = f"; curves: {m['picture']}" if "picture" in m else ""
        lines.append(
            f"corrupted photos, {m.get('precision')} on {m.get('dataset')}, {m['pictures']} of "
            f"each kind: {'; '.join(told)}{seen}"
        )
    return lines
