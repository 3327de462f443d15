"""Passes of models with cross-attention layers, as a recording holds them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from var_studio.engine.capture import Pass
    from var_studio.models.families.cross import CrossKeys


def expanded(record: Pass, cross: CrossKeys) -> Pass:
    """Give visual keys positions of their own in what a pass left behind.

    In `record`, value norms and rows begin with the keys of each layer: the sequence's in most,
    the visual ones in cross-attention layers. phi's inputs are NaN at visual keys. Of the value
    norms of visual keys, which are the same in every pass, the prompt's is kept.
    """
    n_layers, n, _ = record.signed_values.shape
    places = cross.recorded(np.arange(record.start, record.start + n))
    first, end = int(places[0]), int(places[-1]) + 1
    own, is_prompt = places - first, record.start == 0
    positions = cross.recorded(record.positions)

    def spread(values: np.ndarray, empty: float) -> np.ndarray:
        result = np.full((n_layers, end - first, values.shape[-1]), empty, dtype=values.dtype)
        result[:, own] = values
        return result

    n_heads, n_rows = record.rows.shape[1:3]
    wanted = record.value_norm.shape[-1] > 0
    norms = np.zeros((n_layers, n_heads, end - first if wanted else 0), np.float32)
    rows = np.zeros((n_layers, n_heads, n_rows, end if n_rows else 0), record.rows.dtype)
    keys = cross.recorded(np.arange(record.start + n))
    seen = np.flatnonzero(cross.keys >= 0)
    visual = cross.keys[seen]
    for layer in range(n_layers):
        is_cross = layer in cross.layers
        if wanted and is_cross and is_prompt:
            norms[layer][:, visual] = record.value_norm[layer][:, seen]
        elif wanted and not is_cross:
            norms[layer][:, own] = record.value_norm[layer][:, :n]
        if n_rows and is_cross:
            rows[layer][..., visual] = record.rows[layer][..., seen]
        elif n_rows:
            rows[layer][..., keys] = record.rows[layer][..., : len(keys)]
    return replace(
        record,
        start=first,
        signed_values=spread(record.signed_values, np.nan),
        top_dims=spread(record.top_dims, 0),
        top_values=spread(record.top_values, np.nan),
        value_norm=norms,
        positions=tuple(int(p) for p in positions),
        rows=rows,
    )
