"""The faults that are looked for in an engine's graph, and beside it: what is wrong, what to do."""

from __future__ import annotations

from facenet_validate.diagnosis.diagnosis import Cause

SATURATING = Cause(
    "saturating kernels",
    "integer kernels saturate at 16 bits",
    "Quantise weights to 7 bits for CPUs without VNNI (--facenet-target cpu), or run the engine on "
    "a CPU with VNNI.",
)
RUNTIME = Cause(
    "runtime",
    "the runtime lost it: its graph, computed as it is written, agrees with FP32",
    "Look at what stands around the graph (input, output, batches), then at the runtime's kernels.",
)
RECIPE = Cause(
    "recipe",
    "the recipe lost it: the graph itself, computed as it is written, differs from FP32",
    "Take weights by channel and more calibration faces, or leave the worst layers of the walk in "
    "floating point: facenet-validate quantize --tune.",
)
COLLAPSED = Cause(
    "collapsed range",
    "one tensor is rounded in a range that does not fit it",
    "Calibrate that tensor anew, or leave its layer in floating point.",
)
RAW_CALIBRATION = Cause(
    "calibration on raw photos",
    "it was calibrated on pixels of 0 to 255, without standardization",
    "Calibrate on aligned faces as the contract has them: RGB planes, (x - 127.5) / 128.",
)
SCALED_CALIBRATION = Cause(
    "calibration scale",
    "it was calibrated on faces of another scale or offset",
    "Calibrate on aligned faces as the contract has them: RGB planes, (x - 127.5) / 128.",
)
FEW_CALIBRATION = Cause(
    "calibration on few faces",
    "its ranges do not cover the values of faces",
    "Calibrate on 500 aligned faces or more.",
    ("it was calibrated on pictures that are no aligned faces",),
)
HALF_RANGE = Cause(
    "FP16 range",
    "values do not fit FP16",
    "Leave those layers in FP32, or give the channels like ranges before the conversion.",
)
STALE_ENGINE = Cause(
    "stale engine",
    "it is an engine of another model",
    "Build the engine again from the model that it is compared with.",
)
ONE_LAYER = Cause(
    "single layer",
    "one layer has other weights than the model",
    "Export that layer again, and check what changed it: a graph pass, a plugin, a damaged file.",
    ("a scale, an offset or colours were folded into it, where it is the first convolution",),
)
EVERY = (
    SATURATING, RUNTIME, RECIPE, COLLAPSED, RAW_CALIBRATION, SCALED_CALIBRATION, FEW_CALIBRATION,
    HALF_RANGE, ONE_LAYER,
)  # fmt: skip
"""Those that need the graph."""
