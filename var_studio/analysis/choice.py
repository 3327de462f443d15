"""Which row, layer and heads are looked at, from what a person asks for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from numbers import Integral
from typing import Literal, TypeAlias

from var_studio.analysis.focus import Aggregate, RowOf
from var_studio.analysis.reading import Focus, Reading
from var_studio.analysis.used import as_used
from var_studio.errors import VarStudioError
from var_studio.recording.interventions import on_attention
from var_studio.recording.questions import check_choice, checked_index, whole_number
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution
from var_studio.recording.tokens import visible

TokenName: TypeAlias = int | str | tuple[str, int]
"""A token by its position; by its text; "g2", the answer's token 2 from 0, "g-1" its last; or
`("the", 1)`, the second of several tokens of that text."""


class NoRowError(VarStudioError):
    """A token, or a step, for which no attention row was recorded."""


class AmbiguousTokenError(VarStudioError):
    """A text that is that of several tokens. `positions`: those it may mean, in order."""

    def __init__(self, what: str, next_step: str = "", positions: Sequence[int] = ()) -> None:
        super().__init__(what, next_step)
        self.positions = tuple(positions)


def read(
    run: Recording,
    *,
    token: TokenName | None = None,
    row_of: RowOf = "query",
    layer: int | None = None,
    head: int | None = None,
    heads: Sequence[tuple[int, int]] | Literal["all"] | None = None,
    aggregate: Aggregate = "mean",
    settings: Redistribution | None = None,
) -> Reading:
    """The reading that a figure is made of.

    `token`: see `TokenName` (None: the first generated token). No `layer`: the mean over all
    layers, phi and sinks from the middle one; no `head`: the mean over the heads. `heads`: these
    (layer, head) pairs, or "all", in place of those of `layer` and `head`; `layer` then is the one
    whose phi and sinks are shown. `aggregate` "max": the largest over the heads in place of the
    mean. `settings` None: what was done in the run, of a baseline the default redistribution.
    Raises VarStudioError for an index outside the run, NoRowError for a token without a row.
    """
    check_choice("row_of", row_of, RowOf)
    check_choice("aggregate", aggregate, Aggregate)
    if token is None:
        generated = run.generated_positions
        token = int(generated[0]) if len(generated) else int(run.query_positions[-1])
    else:
        token = find_token(run, token)
    layer = None if layer is None else checked_index("layer", layer, run.n_layers)
    head = None if head is None else checked_index("head", head, run.n_heads)
    query = query_of(run, token, row_of)
    shown = run.n_layers // 2 if layer is None else layer
    pairs = _pairs(run, layer, head, heads)
    focus = Focus(query, shown, pairs, aggregate, row_of)
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
        if isinstance(heads, str) and heads == "all":
            return ()
        try:
            if isinstance(heads, str):
                raise TypeError
            listed = [(layer, head) for layer, head in heads]
        except (TypeError, ValueError):
            raise VarStudioError(
                f"heads is {heads!r}.", 'Give (layer, head) pairs, such as [(2, 5)], or "all".'
            ) from None
        return tuple(
            (checked_index("layer", i, run.n_layers), checked_index("head", h, run.n_heads))
            for i, h in listed
        )
    if layer is None and head is None:
        return ()
    layers = range(run.n_layers) if layer is None else (layer,)
    columns = range(run.n_heads) if head is None else (head,)
    return tuple((i, h) for i in layers for h in columns)


def query_of(run: Recording, token: int, row_of: RowOf = "query") -> int:
    """Index of the row asked for. Raises NoRowError where there is none."""
    check_choice("row_of", row_of, RowOf)
    position = token if row_of == "query" else token - 1
    query = run.query_of(position) if position >= 0 else None
    if query is not None:
        return query
    rows = run.query_positions
    if position in run.left_out.rows:
        raise NoRowError(
            f"The row of token {position} ({visible(run.tokens[position].text)}) was left out when "
            "the session was saved.",
            f"Kept: {', '.join(map(str, rows[:8]))}{', …' if len(rows) > 8 else ''}.",
        )
    known = f"Rows were recorded for {rows[0]} to {rows[-1]}." if len(rows) else "It has no row."
    step = "" if row_of == "query" else " no step that produced it and"
    raise NoRowError(f"Token {token} ({visible(run.tokens[token].text)}) has{step} no row.", known)


def find_token(run: Recording, token: TokenName) -> int:
    """The position of a token that a person names; see `TokenName`.

    A text is that of one token without the blanks around it, capitals and all. Tokens of the answer
    go before those of the question; without a row none is found. Raises VarStudioError for a token
    that is not there, AmbiguousTokenError where the text is that of several: it lists them.
    """
    if isinstance(token, tuple):
        if len(token) != 2 or isinstance(token[1], bool) or not isinstance(token[1], Integral):
            raise VarStudioError(
                f"A token is not named by {token!r}.", 'Give its position, its text, or ("the", 1).'
            )
        text, which = token[0], int(token[1])
        found = _of_text(run, text)
        if not -len(found) <= which < len(found):
            raise VarStudioError(
                f"There is no {visible(text)} number {which}.", _listed(run, found) or _known(run)
            )
        return found[which]
    if not isinstance(token, str):
        try:
            position = whole_number("token", token)
        except VarStudioError:
            raise VarStudioError(
                f"A token is not named by {type(token).__name__}.", "Give its position or text."
            ) from None
        _check("token", position, len(run.tokens))
        return position
    generated = run.generated_positions
    number = re.fullmatch(r"g(-?\d+)", token.strip())
    if number is not None:
        if not -len(generated) <= int(number[1]) < len(generated):
            last = (
                f"They go from g0 to g{len(generated) - 1}." if len(generated) else "It has none."
            )
            raise VarStudioError(f"There is no generated token {token}.", last)
        return int(generated[int(number[1])])
    found = _of_text(run, token)
    said = [position for position in found if run.tokens[position].role == "generated"]
    if len(said or found) == 1:
        return (said or found)[0]
    if found:
        raise AmbiguousTokenError(
            f"{len(said or found)} tokens are {visible(token)}.",
            f'{_listed(run, said or found)} Give a position, or ("{token.strip()}", 0) for the '
            "first.",
            said or found,
        )
    raise VarStudioError(f"No token with a row is {visible(token)}.", _like(run, token))


def _of_text(run: Recording, text: str) -> list[int]:
    """Positions with a row whose token has this text, those of the answer first."""
    if not isinstance(text, str) or not text.strip():
        raise VarStudioError("The text of a token is empty.", "Give a word, or its position.")
    found = [p for p in run.query_positions.tolist() if run.tokens[p].text.strip() == text.strip()]
    return sorted(found, key=lambda position: run.tokens[position].role != "generated")


def _listed(run: Recording, positions: Sequence[int], most: int = 8) -> str:
    """Tokens by position, text and role, as one sentence; empty where there are none."""
    named = [f"{p} {visible(run.tokens[p].text)} ({run.tokens[p].role})" for p in positions[:most]]
    more = f" and {len(positions) - most} more" if len(positions) > most else ""
    return f"They are {', '.join(named)}{more}." if named else ""


def _like(run: Recording, text: str) -> str:
    """What a person may have meant: the pieces of a longer word, or words like it."""
    rows, wanted = run.query_positions.tolist(), text.strip()
    for start in range(len(rows)):
        joined = ""
        for end in range(start, min(start + 12, len(rows))):
            if rows[end] - rows[start] != end - start:
                break
            joined += run.tokens[rows[end]].text
            if end > start and joined.strip() == wanted:
                return f"{visible(text)} is several tokens. {_listed(run, rows[start : end + 1])}"
    folded = {run.tokens[p].text.strip().casefold(): p for p in reversed(rows)}
    close = difflib.get_close_matches(wanted.casefold(), folded, n=5, cutoff=0.6)
    return _listed(run, [folded[each] for each in close]) or _known(run)


def _known(run: Recording) -> str:
    rows = run.query_positions.tolist()
    return _listed(run, rows[-8:]).replace("They are", "The last ones are") or "It has no row."


def _check(what: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        raise VarStudioError(f"There is no {what} {index}.", f"It goes from 0 to {count - 1}.")
