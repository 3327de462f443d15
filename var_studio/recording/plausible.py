"""Numbers that no recording holds: a chunk with these was damaged or forged.

So that nothing that is drawn or summed is ever infinite, and no index out of all bounds.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from var_studio.recording.arrays import Array, FormatError

_WEIGHT_MOST: Final = 1.01
"""A rounded softmax may give a little more than 1."""
_VALUE_MOST: Final = 1e9
"""|x[d]| / rms(x) is at most the square root of the hidden size: far below."""
_DIMENSION_MOST: Final = 1 << 22


def check_chunk(name: str, chunk: Array) -> None:
    """Raise FormatError for a chunk of the array `name` with values out of their range.

    NaN, and -1 among dimensions, stand for what was not recorded.
    """
    if name == "attention":
        sound = _are_weights(chunk)
    elif name == "top_dims":
        sound = chunk.min(initial=-1) >= -1 and chunk.max(initial=-1) < _DIMENSION_MOST
    elif name == "value_norm":
        sound = _within(chunk, 0.0, float(np.finfo(np.float16).max))
    else:
        sound = _within(chunk, -_VALUE_MOST, _VALUE_MOST)
    if not sound:
        raise FormatError(f"a chunk of {name} holds impossible numbers")


def _are_weights(chunk: Array) -> bool:
    # The bits of floats that are not negative are in the order of their values: several times as
    # fast as comparing halves.
    bits = chunk.view(np.uint16 if chunk.dtype.itemsize == 2 else np.uint32)
    most = np.array(_WEIGHT_MOST, chunk.dtype).view(bits.dtype)
    return bool(bits.max(initial=0) <= most) or _within(chunk, 0.0, _WEIGHT_MOST)


def _within(chunk: Array, low: float, high: float) -> bool:
    # False for NaN, which may be anywhere.
    with np.errstate(invalid="ignore"):
        return not bool(((chunk < low) | (chunk > high)).any())
