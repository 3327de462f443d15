"""Of how many tokens phi is known, and what is known of the others (Section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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


def undecided_by_layer(reading: Reading) -> npt.NDArray[np.int64]:
    """(L,) int64: the tokens of each layer that may, or may not, reach tau; no sink mask holds
    them."""
    assert reading.settings.tau is not None
    reaches = sink_mask(reading.phi_bound, reading.settings.tau, reading.settings.convention)
    return np.asarray((np.isnan(reading.phi) & np.asarray(reaches)).sum(axis=1), dtype=np.int64)
