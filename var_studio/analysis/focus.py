"""What of a recording is looked at, and what is said of one visual token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from var_studio.errors import VarStudioError
from var_studio.recording.layout import Box

Aggregate = Literal["mean", "max"]
RowOf = Literal["query", "produced"]
"""`query`: the row of the token itself. `produced`: the row of the step that produced it."""


@dataclass(frozen=True, slots=True)
class Focus:
    """What is looked at: a row (`query`, index into the run's `query_positions`), the layer whose
    phi and sinks are shown, and the (layer, head) pairs put together in maps and ledger.

    `heads` empty: all heads of all layers. `aggregate`: a map is the mean over the heads, or for
    each token the largest of them; the ledger is a mean always, since its accounts sum to 1.
    `row_of` "produced": the row was chosen for the token after it, which its step produced.
    """

    query: int
    layer: int
    heads: tuple[tuple[int, int], ...] = ()
    aggregate: Aggregate = "mean"
    row_of: RowOf = "query"

    def check(self, n_queries: int, n_layers: int, n_heads: int) -> None:
        """Raise VarStudioError where it names what a run of these sizes does not have."""
        if not 0 <= self.query < n_queries:
            raise VarStudioError(
                f"This run has no row {self.query}.",
                f"Rows go from 0 to {n_queries - 1}."
                if n_queries
                else "It recorded no row at all.",
            )
        check_layer(self.layer, n_layers)
        for layer, head in self.heads:
            check_layer(layer, n_layers)
            if not 0 <= head < n_heads:
                raise VarStudioError(
                    f"There is no head {head}.", f"Heads go from 0 to {n_heads - 1}."
                )


def check_layer(layer: int, n_layers: int) -> None:
    """Raise VarStudioError for a layer that the run does not have."""
    if not 0 <= layer < n_layers:
        raise VarStudioError(f"There is no layer {layer}.", f"Layers go from 0 to {n_layers - 1}.")


@dataclass(frozen=True, slots=True)
class TokenReading:
    """One visual token. `alpha` and `alpha_after` are what the maps show, the mean or the largest
    over the heads in focus; `rank` 1 is the largest alpha; phi and sink are those of the layer in
    focus. Where phi is not known (NaN) it is at most `phi_bound` (NaN: nothing is known), and where
    that does not tell a sink from others the token is `undecided`. `box` is None and view, row, col
    are -1 for a token that is no patch."""

    position: int
    alpha: float
    alpha_after: float
    rank: int
    phi: float
    phi_bound: float
    sink: bool
    undecided: bool
    box: Box | None
    view: int
    row: int
    col: int
