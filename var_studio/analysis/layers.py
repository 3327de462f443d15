"""Sinks from layer to layer: where phi rises, and how many there are (Fig. 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from var_studio.analysis.groups import Bools, Floats
from var_studio.analysis.reading import Reading

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean, smallest and largest phi of a group of tokens in each layer, (L,) float32 each.

    NaN in a layer where the group is empty.
    """

    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """Phi by layer, (L,): of the first token, of the visual sinks that each layer has, and of its
    other visual tokens. `n_visual` and `n_text`: numbers of sinks, the first token among text."""

    first: Floats
    sinks: Spread
    others: Spread
    n_visual: Counts
    n_text: Counts


def layer_profile(reading: Reading) -> LayerProfile:
    """What Fig. 8 shows, of one run. The row plays no part, the sinks' settings do."""
    phi, sinks, visual = reading.phi, reading.sinks, reading.visual
    return LayerProfile(
        first=np.asarray(phi[:, 0], dtype=np.float32),
        sinks=_spread(phi, sinks & visual),
        others=_spread(phi, ~sinks & visual & np.isfinite(phi)),
        n_visual=reading.n_visual_sinks,
        n_text=np.asarray(reading.n_sinks - reading.n_visual_sinks, dtype=np.int64),
    )


def _spread(phi: Floats, mask: Bools) -> Spread:
    """Of the tokens of `mask` (L, T), whose phi is known."""
    counts = mask.sum(axis=1)
    known = np.where(mask, phi, np.float32(0))
    with np.errstate(invalid="ignore"):
        mean = known.sum(axis=1, dtype=np.float64) / np.where(counts, counts, np.nan)
    low = np.where(mask, phi, np.float32(np.inf)).min(axis=1)
    high = np.where(mask, phi, np.float32(-np.inf)).max(axis=1)
    empty, nan = counts == 0, np.float32(np.nan)
    return Spread(mean.astype(np.float32), np.where(empty, nan, low), np.where(empty, nan, high))
