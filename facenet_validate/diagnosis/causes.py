"""The faults that experiments imitate: what is wrong, what to do, what looks the same."""

from __future__ import annotations

from dataclasses import replace

from facenet_validate.diagnosis.diagnosis import Cause

_FEED = "The contract is RGB planes, (x - 127.5) / 128."
_FOLDED = "a scale and an offset were folded wrongly into the first convolution"
_MIRRORED = "the kernels of the convolutions are mirrored"

# -- rows ------------------------------------------------------------------------------------------

ROWS_EXCHANGED = Cause(
    "rows exchanged",
    "rows of a batch come out in another order",
    "Check how images are written into the batch and how embeddings are read from it.",
    ("the images of the batch were put in another order",),
)
ROWS_REPEATED = Cause(
    "rows repeated",
    "rows of a batch are repeated in the place of others",
    "Check the batch size that the engine runs with and the copies of its input and output.",
    ("the output buffer was read before it was written", "one image was copied into several rows"),
)
STALE_OUTPUT = Cause(
    "stale output",
    "the embeddings are those of a former batch",
    "Synchronise before the output is read, and check that no buffer is read one run too late.",
    ("the input buffer was written after the run began",),
)

ALL_THE_SAME = Cause(
    "constant output",
    "every face gets the same embedding",
    "Check that the input is copied to the engine, and that the pictures are not blank; then walk "
    "the nodes: facenet-validate diagnose ENGINE --full.",
    ("the input buffer is never written", "a tensor inside the engine is rounded to one value"),
)

# -- output ----------------------------------------------------------------------------------------

OUTPUT_SCALED = Cause(
    "output scaled",
    "the embeddings are multiplied by a constant",
    "Look for a scale behind the L2 norm, or for an output scale that is applied twice.",
)
OUTPUT_NEGATED = Cause(
    "output negated",
    "the embeddings have the opposite sign",
    "Look for a sign behind the last layer.",
    ("the weights and the bias of the last layer have the opposite sign",),
)
NORM_MISSING = Cause(
    "norm missing",
    "the rows are not divided by their L2 norm",
    "Export the model with its L2 norm, or divide each row by its norm.",
    ("the rows are divided by another norm",),
)
SIGNS_CHANGED = Cause(
    "signs changed",
    "some dimensions of the embedding have the opposite sign",
    "Compare the weights of the last layer with the source's.",
    ("some rows of the last layer's weights have the opposite sign",),
)
OUTPUT_PERMUTED = Cause(
    "output permuted",
    "the dimensions of the embedding are in another order",
    "Compare the last layer with the source's, and how its output is reshaped.",
    ("the rows of the last layer's weights are in another order",),
)
DIMENSIONS_SCALED = Cause(
    "dimensions scaled",
    "dimensions of the embedding have scales of their own, or are zero",
    "Check the batch norm behind the last layer and the output scales of each channel.",
    ("the scale of the last batch norm is lost",),
)
OUTPUT_ROTATED = Cause(
    "output rotated",
    "the distances between faces are right, in other axes",
    "Compare the last layer with the source's. Templates of the source cannot be compared with it.",
    ("a projection was put behind the embedding",),
)
OTHER_TRAINING = Cause(
    "another training",
    "the engine tells faces apart, by a network with other weights",
    "Build the engine from the model that it is compared with, or name its own FP32 model.",
    ("the last layer has other weights",),
)

# -- pixel values ----------------------------------------------------------------------------------

NOT_STANDARDIZED = Cause(
    "not standardized",
    "pixels are fed as 0 to 255, without standardization",
    f"Standardize the faces once. {_FEED}",
    ("the engine lost a standardization of its own", _FOLDED),
)
STANDARDIZED_TWICE = Cause(
    "standardized twice",
    "standardization is done twice",
    f"Standardize in one place: before the engine or in its graph. {_FEED}",
    ("the engine standardizes an input that was standardized already", _FOLDED),
)
STANDARDIZED_PER_IMAGE = Cause(
    "standardized per image",
    "each image is standardized by its own mean and deviation",
    f"Use the fixed standardization that the model was trained with. {_FEED}",
)
RANGE_0_1 = Cause(
    "range 0 to 1",
    "pixels are fed as 0 to 1",
    f"Standardize the faces. {_FEED}",
    (_FOLDED,),
)
OTHER_STANDARDIZATION = Cause(
    "other standardization",
    "pixels are standardized with another mean or scale",
    f"Use the mean and the scale of the contract. {_FEED}",
    (_FOLDED,),
)
INVERTED = Cause(
    "values inverted",
    "dark and bright are exchanged",
    f"Check the sign of the standardization. {_FEED}",
    ("the weights of the first convolution have the opposite sign",),
)
TONE_CURVE = Cause(
    "tone curve",
    "pixel values went through a curve",
    "Look for a gamma or sRGB conversion, or for a contrast step, before the engine.",
)
WRAPPED = Cause(
    "values wrapped",
    "pixel values wrapped around in 8 bits",
    "Do the arithmetic on pixels in floating point.",
)

# -- colours ---------------------------------------------------------------------------------------

COLOUR_ORDER = Cause(
    "colour order",
    "red and blue are exchanged",
    "Feed RGB: OpenCV reads photos as BGR.",
    ("the input channels of the first convolution's weights are in another order",),
)
COLOURS_PERMUTED = replace(COLOUR_ORDER, title="the colour planes are in another order")
GREY = Cause(
    "colour lost",
    "one grey picture is fed in all three colours",
    "Decode the photos in colour, and check which planes are copied.",
    ("the first convolution's weights are the same for all colours",),
)
COLOURS_MIXED = Cause(
    "colours mixed",
    "the colours went through a matrix",
    "Look for a conversion of the colour space before the engine.",
    ("the first convolution's weights were mixed over the colours",),
)

# -- geometry --------------------------------------------------------------------------------------

LAYOUT = Cause(
    "layout",
    "NHWC memory is read as NCHW",
    "Transpose the batch to planes (N, 3, H, W), or build the engine for NHWC.",
)
TRANSPOSED = Cause(
    "height and width exchanged",
    "height and width are exchanged",
    "Check the axes of the transposition to planes: (H, W, C) becomes (C, H, W).",
    ("the kernels of the convolutions are transposed",),
)
MIRRORED = Cause(
    "mirrored",
    "the pictures are mirrored",
    "Look for a flip before the engine, as an augmentation that was left on.",
    (_MIRRORED,),
)
UPSIDE_DOWN = Cause(
    "upside down",
    "the pictures are upside down",
    "Check the order of the rows: some libraries store the last row first.",
    (_MIRRORED,),
)
ROTATED = Cause(
    "rotated",
    "the pictures are rotated",
    "Check the orientation tag of the photos and the axes of the transposition.",
    ("the kernels of the convolutions are rotated",),
)
FRAMING = Cause(
    "framing",
    "the faces are framed in another way",
    "Check the margin, the crop and the resize of the aligner against the model's.",
)
RESIZE = Cause(
    "resize",
    "the faces were resized in another way",
    "Use the interpolation and the sizes that the contract has, and resize once.",
)
BLANKED = Cause(
    "part blank",
    "a part of the picture does not reach the network",
    "Check the copy of the input: its size in bytes, its strides, its padding.",
)


def together(first: Cause, second: Cause) -> Cause:
    """Return the cause that is two faults at once."""
    return Cause(
        f"{first.name} + {second.name}",
        f"{first.title}, and {second.title}",
        first.advice if first.advice == second.advice else f"{first.advice} {second.advice}",
        first.alike + tuple(one for one in second.alike if one not in first.alike),
    )
