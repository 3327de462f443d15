"""The few array habits the method's functions share: working precision, masked sums, axes.

Only operators take Python numbers here. Handing one to ``where`` or ``asarray`` makes torch copy
it from the host to the device, which waits for the device's queue.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from array_api_compat import array_namespace, device

Array: TypeAlias = Any
"""A NumPy array, a torch tensor, or any other array of the Array API."""

__all__ = ["Array", "constant", "masked_sum", "over_heads", "over_rows", "widened"]


def widened(array: Array) -> Array:
    """``array`` in float32 if its dtype is a narrower float, else ``array`` itself."""
    xp = array_namespace(array)
    if xp.finfo(array.dtype).bits >= 32:
        return array
    return xp.astype(array, xp.float32)


def constant(like: Array, value: float) -> Array:
    """Return a 0-d array of ``value`` in the dtype and on the device of ``like``."""
    xp = array_namespace(like)
    return xp.full((), value, dtype=like.dtype, device=device(like))


def over_rows(mask: Array) -> Array:
    """A mask over keys (..., T) as (..., 1, 1, T), to meet attention (..., H, Q, T)."""
    return mask[..., None, None, :]


def over_heads(statistic: Array) -> Array:
    """A number per layer (...) as (..., 1, 1), to meet a statistic of rows (..., H, Q)."""
    return statistic[..., None, None]


def masked_sum(attention: Array, mask: Array) -> Array:
    """Sum of ``attention`` (..., H, Q, T) over the keys of ``mask`` (..., T): (..., H, Q).

    Keys outside the mask do not count even if they are NaN, so this is no product with the mask.
    """
    xp = array_namespace(attention, mask)
    return xp.sum(xp.where(over_rows(mask), attention, constant(attention, 0.0)), axis=-1)
