"""The likeliest tokens of one step, before and after: their probabilities, changes and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from var_studio.recording.tokens import Token

MOST: Final = 10
"""Candidates taken from either side."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One token that either step might have chosen.

    `before`, `after`: log-probabilities in nats; None where it is not among the candidates that
    were recorded, so that it is known only to lie no higher than the last of them. Ranks count
    from 1, None likewise. `chosen_before`, `chosen_after`: whether that step took it.
    """

    id: int
    text: str
    before: float | None
    after: float | None
    rank_before: int | None
    rank_after: int | None
    chosen_before: bool = False
    chosen_after: bool = False

    @property
    def change(self) -> float | None:
        """Log-probability after minus before, in nats; None where either is not known."""
        if self.before is None or self.after is None or self.before == self.after == -float("inf"):
            return None
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Candidates:
    """The candidates of one step before and after: the first of before in order, then those that
    only after has among its first, then a token that was chosen from further down.

    `least_before`, `least_after`: log-probability of the last candidate recorded on either side,
    which no token left out can exceed; None where none was recorded.
    """

    rows: tuple[Candidate, ...]
    least_before: float | None
    least_after: float | None


def candidates(before: Token, after: Token | None, most: int = MOST) -> Candidates:
    """Set the candidates of the step that chose `before` beside those of the step for `after`.

    Both steps must have read the same text, or the comparison says nothing. `after` None: the
    candidates before alone.
    """
    first, second = _Step(before), _Step(after)
    wanted = [*first.ids[:most], *second.ids[:most], before.id]
    if after is not None:
        wanted.append(after.id)
    rows = tuple(
        Candidate(
            id=number,
            text=first.texts.get(number, second.texts.get(number, "")),
            before=first.logprobs.get(number),
            after=second.logprobs.get(number),
            rank_before=first.ranks.get(number),
            rank_after=second.ranks.get(number),
            chosen_before=number == before.id,
            chosen_after=after is not None and number == after.id,
        )
        for number in dict.fromkeys(wanted)
    )
    return Candidates(rows, first.least, second.least)


class _Step:
    """What one step tells of its candidates, likeliest first."""

    def __init__(self, token: Token | None) -> None:
        top = () if token is None else token.top
        ordered = sorted(top, key=lambda found: -found.logprob)
        self.ids: Sequence[int] = [found.id for found in ordered]
        self.ranks = {number: rank for rank, number in enumerate(self.ids, 1)}
        self.texts = {found.id: found.text for found in ordered}
        self.logprobs = {found.id: found.logprob for found in ordered}
        self.least = ordered[-1].logprob if ordered else None
        if token is not None and token.logprob is not None:
            self.texts.setdefault(token.id, token.text)
            self.logprobs.setdefault(token.id, token.logprob)
