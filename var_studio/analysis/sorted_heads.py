"""Heads in the order of their visual non-sink ratio, with what each looks at (Fig. 4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from var_studio.analysis.groups import Floats
from var_studio.analysis.reading import Reading

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SortedHeads:
    """Heads that look at the image, the largest r first; N of them.

    `layers`, `heads`, `ratio` (r of Eq. 3) and `mass` (visual mass) are (N,). `below`: how many
    heads have a visual mass below the least that the settings ask for. `bare`: how many others are
    left out because their layer has no visual sink, so that their r is 1 whatever they look at.
    """

    layers: Indices
    heads: Indices
    ratio: Floats
    mass: Floats
    below: int
    bare: int


def sorted_heads(reading: Reading) -> SortedHeads:
    """The heads with at least the least visual mass in layers with visual sinks, by r; of equal
    ones the first layer first. Where no layer has visual sinks, those of all layers."""
    ratio, mass = reading.non_sink_ratio.ravel(), reading.visual_mass.ravel()
    enough = mass >= reading.settings.mass_min
    told = np.repeat(reading.n_visual_sinks > 0, reading.run.n_heads)
    told |= not told.any()
    looking = np.flatnonzero(enough & told)
    order = looking[np.argsort(-ratio[looking], kind="stable")].astype(np.int64)
    layers, heads = np.divmod(order, reading.run.n_heads)
    below, bare = int((~enough).sum()), int((enough & ~told).sum())
    return SortedHeads(layers, heads, ratio[order], mass[order], below, bare)


def share_of_image(reading: Reading, layer: int, head: int) -> Floats:
    """(V,) float32: the part of one head's attention on the image that each visual token has.

    It sums to 1 over the patches, so that heads can be compared however much they look at the
    image; 0 for a separator.
    """
    row = np.where(reading.visual, reading.attention[layer, head], np.float32(0))[reading.positions]
    total = float(row.sum(dtype=np.float64))
    return np.asarray(row / np.float32(total if total > 0 else 1.0), dtype=np.float32)
