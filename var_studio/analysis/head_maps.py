"""Maps of heads: cut out of their rows, their mean or largest value, and how it changes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from var_studio.analysis.focus import Aggregate
from var_studio.analysis.groups import (
    REGION,
    TEXT,
    TEXT_SINK,
    VISUAL,
    VISUAL_SINK,
    Bools,
    Floats,
    per_key,
)
from var_studio.analysis.ledger import HeadIndex

# Up to this many heads their rows are gathered; above it, whole layers are multiplied.
_FEW_HEADS = 64


def span_of(positions: npt.NDArray[np.int64]) -> slice | npt.NDArray[np.int64]:
    """What takes the keys at `positions` (V,) out of a row: where they follow each other, as one
    image's do, a slice, which spares a copy."""
    if len(positions) and np.array_equal(
        positions, np.arange(positions[0], positions[0] + len(positions))
    ):
        return slice(int(positions[0]), int(positions[0]) + len(positions))
    return positions


def on_grid(
    rows: Floats, positions: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]
) -> Floats:
    """(..., rows, cols) float32 from rows (..., T): the weights on the visual tokens of a grid
    (-1: none, NaN), of which `positions` (V,) are the keys."""
    if not len(positions):
        return np.full((*rows.shape[:-1], *tokens.shape), np.nan, np.float32)
    flat = positions[np.maximum(tokens, 0)].ravel()
    # A slice where the tokens follow each other, as they mostly do: 5 times as fast.
    follow = bool(flat.size) and bool((np.diff(flat) == 1).all())
    cut = rows[..., flat[0] : flat[-1] + 1] if follow else rows[..., flat]
    maps = cut.reshape(*rows.shape[:-1], *tokens.shape)
    absent = tokens < 0
    return np.where(absent, np.float32(np.nan), maps) if absent.any() else maps


def over_heads(block: Floats, heads: HeadIndex | None, aggregate: Aggregate) -> Floats:
    """(V,) float32 from (L, H, V): mean or largest over `heads` (None: all)."""
    if heads is not None:
        rows = block[heads]
        return np.asarray(rows.mean(axis=0) if aggregate == "mean" else rows.max(axis=0))
    if aggregate == "max":
        return np.asarray(block.max(axis=(0, 1)))
    # A product of matrices, much faster than a mean over two axes.
    ones = np.full((block.shape[0], 1, block.shape[1]), 1 / (block.shape[0] * block.shape[1]))
    return np.asarray(np.matmul(ones.astype(np.float32), block).sum(axis=(0, 1)))


def mean_change(
    block: Floats,
    growth: Floats,
    visual: Bools,
    sinks: Bools,
    heads: HeadIndex | None,
    region: Bools | None = None,
) -> Floats:
    """(V,) float32: what the mean over `heads` (None: all) of (L, H, V) changes by.

    `growth` (L, H, 4 or 5) is that of the groups; `visual` (V,), `sinks` (L, V) and `region` (V,)
    say which group a key is of. Exactly 0 where no head grows.
    """
    if heads is not None and 0 < len(heads[0]) <= _FEW_HEADS:
        change = per_key(growth[heads], visual, sinks[heads[0]], region)
        return np.asarray((block[heads] * change).mean(axis=0))
    weights = growth / np.float32(growth.shape[0] * growth.shape[1])
    if heads is not None:
        weights = np.zeros_like(growth)
        np.add.at(weights, heads, growth[heads] / len(heads[0]))
    # Sinks differ from layer to layer, so each layer's heads are summed first, group by group.
    groups = [VISUAL_SINK, VISUAL]
    if region is not None:
        groups.append(REGION)
    if not visual.all():
        groups += [TEXT_SINK, TEXT]
    summed = np.matmul(weights[..., groups].transpose(0, 2, 1), block)
    of_group = dict(zip(groups, summed.transpose(1, 0, 2), strict=True))
    others = of_group[VISUAL]
    if region is not None:
        others = np.where(region, of_group[REGION], others)
    change = np.where(sinks, of_group[VISUAL_SINK], others)
    if TEXT in of_group:
        change = np.where(visual, change, np.where(sinks, of_group[TEXT_SINK], of_group[TEXT]))
    return np.asarray(change.sum(axis=0))
