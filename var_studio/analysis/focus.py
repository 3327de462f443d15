"""What of a recording is looked at, and what is said of one visual token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from var_studio.recording.layout import Box

Aggregate = Literal["mean", "max"]


@dataclass(frozen=True, slots=True)
class Focus:
    """What is looked at: a row (`query`, index into the run's `query_positions`), the layer whose
    phi and sinks are shown, and the (layer, head) pairs put together in maps and ledger.

    `heads` empty: all heads of all layers. `aggregate`: a map is the mean over the heads, or for
    each token the largest of them; the ledger is a mean always, since its accounts sum to 1.
    """

    query: int
    layer: int
    heads: tuple[tuple[int, int], ...] = ()
    aggregate: Aggregate = "mean"


@dataclass(frozen=True, slots=True)
class TokenReading:
    """One visual token. `alpha` and `alpha_after` are what the maps show, the mean or the largest
    over the heads in focus; `rank` 1 is the largest alpha; phi and sink are those of the layer in
    focus. `box` is None and view, row, col are -1 for a token that is no patch."""

    position: int
    alpha: float
    alpha_after: float
    rank: int
    phi: float
    sink: bool
    box: Box | None
    view: int
    row: int
    col: int
