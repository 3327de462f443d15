"""Of how many tokens phi is known, and what is known of the others (Section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from var_studio.analysis.reading import Reading
from var_studio.method.sinks import sink_mask


@dataclass(frozen=True, slots=True)
class PhiCounts:
    """Tokens of one layer, or of all layers together, by what is known of their phi.

    `known`: phi itself. `below`: only that it does not reach tau. `undecided`: it may, or may not,
    reach tau. `unread`: nothing at all, as of an answer's last token, which is never fed.
    """

    total: int
    known: int
    below: int
    undecided: int
    unread: int


def phi_counts(reading: Reading, layer: int | None = None) -> PhiCounts:
    """Count the tokens of a layer; None: those of each layer, summed."""
    chosen = slice(None) if layer is None else layer
    phi, bound = reading.phi[chosen], reading.phi_bound[chosen]
    assert reading.settings.tau is not None
    known, unread = np.isfinite(phi), np.isnan(bound)
    reaches = np.asarray(sink_mask(bound, reading.settings.tau, reading.settings.convention))
    return PhiCounts(
        total=phi.size,
        known=int(known.sum()),
        below=int((~known & ~unread & ~reaches).sum()),
        undecided=int((~known & reaches).sum()),
        unread=int(unread.sum()),
    )
