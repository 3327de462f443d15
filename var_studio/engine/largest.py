"""The largest entries of many rows, sooner than torch finds them where it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def largest(values: torch.Tensor, count: int) -> torch.Tensor:
    """Places (n, count) int64 of the largest of each row of `values` (n, D), in falling order.

    As `torch.topk`, which on the CPU sorts pairs where D < 64 · count (its TopKImpl.h): there
    NumPy's partition finds the smallest of the largest two to three times as fast.
    """
    import torch

    n, size = values.shape
    count = min(count, size)
    if values.device.type != "cpu" or not count < size < 64 * count:
        return values.topk(count, dim=-1).indices
    array = values.numpy()
    least = np.partition(array, size - count, axis=-1)[:, size - count, None]
    passes = array >= least
    if (passes.sum(axis=-1) != count).any():  # equal values, or NaN
        return values.topk(count, dim=-1).indices
    places = torch.from_numpy(np.flatnonzero(passes) % size).view(n, count)
    order = torch.gather(values, 1, places).sort(dim=-1, descending=True).indices
    return torch.gather(places, 1, order)
