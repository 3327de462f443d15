"""Sink-dimension value against attention, token by token (Fig. 3a)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from var_studio.analysis.groups import Bools, Floats
from var_studio.analysis.head_maps import over_heads
from var_studio.analysis.ledger import HeadIndex
from var_studio.analysis.reading import Reading

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PhiAlpha:
    """One point for each token that the row sees and whose phi is known. N points.

    `positions` (N,) in the sequence. `tokens` (N,): index among the visual tokens, -1 for text.
    `phi` (N,): in the layer in focus. `alpha` (N,): over the heads in focus, before any
    redistribution. `sink` (N,) bool: in the layer in focus. `first` (N,) bool: the first token of
    the sequence. `unknown`: how many tokens have no phi and are left out.
    """

    positions: Indices
    tokens: Indices
    phi: Floats
    alpha: Floats
    sink: Bools
    first: Bools
    unknown: int

    @property
    def visual(self) -> Bools:
        """(N,) bool: image patches."""
        return np.asarray(self.tokens >= 0, dtype=bool)


def phi_alpha(reading: Reading, text: bool = False) -> PhiAlpha:
    """Points of the image patches, with `text` of every other token up to the query too."""
    layer = reading.focus.layer
    patches = reading.visual[reading.positions]
    tokens = np.flatnonzero(patches).astype(np.int64)
    positions = reading.positions[tokens]
    alpha = reading.map_before[tokens]
    if text:
        others = ~reading.visual
        others[reading.position + 1 :] = False
        # Separators of the image are visual tokens of the map, but no patches.
        places = np.flatnonzero(others).astype(np.int64)
        positions = np.concatenate((positions, places))
        tokens = np.concatenate((tokens, np.full(len(places), -1, dtype=np.int64)))
        row = over_heads(reading.attention, _heads(reading), reading.focus.aggregate)
        alpha = np.concatenate((alpha, row[places]))
    phi = reading.phi[layer, positions]
    known = np.isfinite(phi)
    kept = positions[known]
    return PhiAlpha(
        positions=kept,
        tokens=tokens[known],
        phi=phi[known],
        alpha=alpha[known],
        sink=reading.sinks[layer, kept],
        first=kept == 0,
        unknown=int((~known).sum()),
    )


def _heads(reading: Reading) -> HeadIndex | None:
    """The heads in focus as an index, None for all."""
    pairs = np.asarray(reading.focus.heads, dtype=np.intp).reshape(-1, 2)
    return (pairs[:, 0], pairs[:, 1]) if len(pairs) else None
