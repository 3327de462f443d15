"""What lies inside a region of the picture: tokens, visual sinks, attention (App. A.2, Table 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading

Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RegionCounts:
    """Patches and visual sinks inside a region and in all; sinks for each of L layers.

    A newline, separator or other token that is no patch is counted nowhere. `share_of_tokens` is
    what random tokens would have: Table 6 sets the share of sinks against it.
    """

    tokens_inside: int
    tokens: int
    sinks_inside: Counts  # (L,)
    sinks: Counts  # (L,)

    @property
    def share_of_tokens(self) -> float:
        """Patches inside / all patches; NaN without a patch."""
        return _share(self.tokens_inside, self.tokens)

    def share_of_sinks(self, layer: int | None = None) -> float:
        """Visual sinks inside / all visual sinks of a layer; None: of all layers together, a token
        counted in each layer where it is a sink. NaN where there is no sink."""
        if layer is None:
            return _share(int(self.sinks_inside.sum()), int(self.sinks.sum()))
        return _share(int(self.sinks_inside[layer]), int(self.sinks[layer]))


def inside(region: Iterable[int], count: int) -> Bools:
    """(count,) bool: visual tokens of a region; what does not exist is left out."""
    mask = np.zeros(count, dtype=bool)
    mask[[k for k in region if 0 <= k < count]] = True
    return mask


def region_counts(reading: Reading, region: Iterable[int]) -> RegionCounts:
    """Count patches and visual sinks inside a region of visual tokens k, under the reading's
    settings (App. A.2, Table 6)."""
    positions = reading.positions
    within = inside(region, len(positions))
    patches = reading.visual[positions]
    sinks = reading.sinks[:, positions] & patches
    return RegionCounts(
        tokens_inside=int((patches & within).sum()),
        tokens=int(patches.sum()),
        sinks_inside=(sinks & within).sum(axis=1),
        sinks=sinks.sum(axis=1),
    )


@dataclass(frozen=True, slots=True)
class RegionAttention:
    """Attention of one row, mean over the heads in focus: on the region and on all visual tokens,
    before and after redistribution."""

    before: float
    after: float
    visual_before: float
    visual_after: float


def region_attention(reading: Reading, region: Iterable[int]) -> RegionAttention:
    """What the row in focus gives a region of visual tokens k."""
    within = inside(region, len(reading.positions))
    before, after = (m.astype(np.float64) for m in (reading.map_before, reading.map_after))
    return RegionAttention(
        before=float(before[within].sum()),
        after=float(after[within].sum()),
        visual_before=float(before.sum()),
        visual_after=float(after.sum()),
    )


def _share(some: int, everything: int) -> float:
    return some / everything if everything else float("nan")
