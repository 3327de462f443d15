"""A map between the middles of its cells: values are interpolated, not colours."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

SMOOTH_STEPS = 9
"""Odd, so that a sample lies in the middle of a cell and shows its very value."""


def interpolate(grid: npt.NDArray[np.floating[Any]], steps: int) -> npt.NDArray[np.float32]:
    """Bilinear between the middles of cells, `steps` samples a cell; NaN cells stay bare.

    Values, not colours, are interpolated: between blue and red the map passes through its middle.
    (rows, cols) -> (rows * steps, cols * steps) float32.
    """
    there = np.isfinite(grid)
    down, across = _weights(grid.shape[0], steps), _weights(grid.shape[1], steps)
    weight = down @ there.astype(np.float32) @ across.T
    value = down @ np.where(there, grid, 0.0).astype(np.float32) @ across.T
    smooth = value / np.maximum(weight, 1e-6)
    smooth[~np.kron(there, np.ones((steps, steps), dtype=bool))] = np.nan
    return np.asarray(smooth, dtype=np.float32)


def _weights(count: int, steps: int) -> npt.NDArray[np.float32]:
    places = np.clip((np.arange(count * steps) + 0.5) / steps - 0.5, 0, count - 1)
    below = np.minimum(places.astype(int), max(count - 2, 0))
    share = (places - below).astype(np.float32)
    weights = np.zeros((count * steps, count), dtype=np.float32)
    rows = np.arange(count * steps)
    weights[rows, below] = 1.0 - share
    if count > 1:
        weights[rows, below + 1] += share
    return weights
