"""Types of operands, as TensorRT's words for tensors and its names of kernels tell them."""

from __future__ import annotations

import re

UNKNOWN = "unknown"
MIXED = "mixed"
"""Data and weights are in different types."""

_WORDS = {
    "INT8": ("int8",),
    "HALF": ("half", "fp16"),
    "FLOAT": ("float", "fp32"),
    "BF16": ("bf16", "bfloat16"),
    "FP8": ("fp8",),
    "FP4": ("fp4",),
    "INT4": ("int4",),
    "UINT8": ("uint8",),
}

_CODES = {
    "i8": "INT8",
    "u8": "UINT8",
    "i4": "INT4",
    "f16": "HALF",
    "bf16": "BF16",
    "f32": "FLOAT",
    "tf32": "FLOAT",
    "e4m3": "FP8",
    "e5m2": "FP8",
}
_CODE = "(?:bf16|tf32|f16|f32|f64|e4m3|e5m2|i32|i8|u8|i4)"
_PAIRS = re.compile(rf"_(?P<data>{_CODE}){_CODE}_(?:(?P<weights>{_CODE}){_CODE}_)?")
"""``data, output _ weights, accumulator _ epilogue``: ``i8f32_i8i32_f32`` reads INT8, sums in
32 bits and writes FP32."""

_KERNELS = (
    # TF32 and BF16 also run on HMMA and on tiles called s1688, so their own names come first.
    ("FLOAT", re.compile(r"tf32")),
    ("BF16", re.compile(r"bf16")),
    ("INT8", re.compile(r"int8int8|(?<![a-z])imma|(?<![a-z0-9])i(?:8816|16832|cudnn|gemm)")),
    ("HALF", re.compile(r"(?<![a-z])hmma|(?<![a-z0-9])h(?:884|1688|16816|cudnn|gemm)")),
    # s884, s1688, s16816: sums in FP32; the operands' type stands behind.
    ("HALF", re.compile(r"(?<![a-z0-9])s(?:884|1688|16816)(?:cudnn|gemm)_fp16")),
    ("FLOAT", re.compile(r"(?<![a-z0-9])s(?:cudnn|gemm)(?![a-z0-9])|(?<![a-z])ffma")),
)


def type_named(text: str) -> str:
    """Return the type a format's description names.

    ``Row major Int8 format`` and ``Int8`` are ``INT8``; ``N/A due to dynamic shapes`` names none
    and is `UNKNOWN`.
    """
    words = re.findall(r"[a-z0-9]+", text.lower())
    return next(
        (name for name, called in _WORDS.items() if any(word in called for word in words)), UNKNOWN
    )


def kernel_type(name: str) -> str:
    """Return the type of the operands that a kernel multiplies, by its name.

    Parameters
    ----------
    name : str
        A tactic's: ``sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_…``.

    Returns
    -------
    str
        A type; `MIXED` for operands of two types; `UNKNOWN` where the name does not tell, as
        TensorRT for RTX's ``__myelin_CASK_STUB``.

    Notes
    -----
    NVIDIA documents the names nowhere. The rules are from names in public logs of 8.6 and 10.x
    beside the types that the same lines give. Operands decide; what sums are kept in does not.
    """
    lowered = name.lower()
    pairs = _PAIRS.search(lowered)
    if pairs:
        data, weights = (
            _CODES.get(code, UNKNOWN) for code in (pairs["data"], pairs["weights"] or pairs["data"])
        )
        return data if data == weights else MIXED
    return next((kind for kind, called in _KERNELS if called.search(lowered)), UNKNOWN)
