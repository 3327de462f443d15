"""Which row, layer and heads a figure is made of, from what a person asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from var_studio.analysis.focus import Aggregate
from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.used import as_used
from var_studio.errors import VarStudioError
from var_studio.recording.interventions import on_attention
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution
from var_studio.recording.tokens import visible

RowOf = Literal["query", "produced"]
"""`query`: the row of the token itself. `produced`: the row of the step that produced it."""


class NoRowError(VarStudioError):
    """A token, or a step, for which no attention row was recorded."""


def read(
    run: Recording,
    *,
    token: int | None = None,
    row_of: RowOf = "query",
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[tuple[int, int]] | Literal["all"] | None = None,
    aggregate: Aggregate = "mean",
    settings: Redistribution | None = None,
) -> Reading:
    """The reading that a figure is made of.

    `token`: position in the sequence (None: the first generated token). No `layer`: the mean over
    all layers, phi and sinks from the middle one; no `head`: the mean over the heads. `heads`:
    these (layer, head) pairs, or "all", in place of those of `layer` and `head`; `layer` then is
    the one whose phi and sinks are shown. `aggregate` "max": the largest over the heads in place of
    the mean. `settings` None: what was done in the run, of a baseline the default redistribution.
    Raises VarStudioError for an index outside the run, NoRowError for a token without a row.
    """
    if token is None:
        generated = run.generated_positions
        token = int(generated[0]) if len(generated) else int(run.query_positions[-1])
    _check("token", token, len(run.tokens))
    _check("layer", 0 if layer is None else layer, run.n_layers)
    _check("head", 0 if head is None else head, run.n_heads)
    query = query_of(run, token, row_of)
    shown = run.n_layers // 2 if layer is None else layer
    focus = Focus(query, shown, _pairs(run, layer, head, heads), aggregate)
    if settings is None and on_attention(run.interventions):
        return as_used(run, focus)
    return Reading(run, focus, settings or Redistribution())


def _pairs(
    run: Recording,
    layer: int | None,
    head: int | None,
    heads: Sequence[tuple[int, int]] | Literal["all"] | None,
) -> tuple[tuple[int, int], ...]:
    """The (layer, head) pairs put together; empty: all."""
    if heads is not None:
        if head is not None:
            raise VarStudioError("head and heads name heads twice.", "Leave out one of them.")
        return () if heads == "all" else tuple((int(i), int(h)) for i, h in heads)
    if layer is None and head is None:
        return ()
    layers = range(run.n_layers) if layer is None else (layer,)
    columns = range(run.n_heads) if head is None else (head,)
    return tuple((i, h) for i in layers for h in columns)


def query_of(run: Recording, token: int, row_of: RowOf = "query") -> int:
    """Index of the row asked for. Raises NoRowError where there is none."""
    position = token if row_of == "query" else token - 1
    query = run.query_of(position) if position >= 0 else None
    if query is not None:
        return query
    rows = run.query_positions
    known = f"Rows were recorded for {rows[0]} to {rows[-1]}." if len(rows) else "It has no row."
    step = "" if row_of == "query" else " no step that produced it and"
    raise NoRowError(f"Token {token} ({visible(run.tokens[token].text)}) has{step} no row.", known)


def _check(what: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        raise VarStudioError(f"There is no {what} {index}.", f"It goes from 0 to {count - 1}.")
