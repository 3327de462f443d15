"""How many tokens have which sink-dimension value phi, in one layer (Section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PhiHistogram:
    """Numbers of tokens by phi in one layer: `edges` (bins + 1,), counts (bins,) int64.

    `bos` is the first token of the sequence; it is counted nowhere else. All layers of a run
    share the edges, so that stepping through layers does not move the axis.
    """

    edges: npt.NDArray[np.float64]
    visual: Counts
    text: Counts
    bos: Counts


def phi_histogram(
    phi: npt.NDArray[np.float32], layer: int, visual: Bools, bins: int
) -> PhiHistogram:
    """Count the tokens of one layer, from phi (L, T) and visual (T,). NaN phi is left out."""
    known = phi[np.isfinite(phi)]
    top = float(known.max()) if known.size else 1.0
    edges = np.linspace(0.0, top or 1.0, bins + 1)
    here = phi[layer]
    first = np.arange(len(here)) == 0

    def count(mask: Bools) -> Counts:
        values = here[mask & np.isfinite(here)]
        return np.histogram(values, edges)[0].astype(np.int64)

    return PhiHistogram(
        edges=edges,
        visual=count(visual & ~first),
        text=count(~visual & ~first),
        bos=count(first),
    )
