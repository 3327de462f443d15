"""Two answers to the same question, token by token: where they part and how they line up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, Protocol

from var_studio.recording.tokens import Token

Relation = Literal["same", "replaced", "only_baseline", "only_other"]


class HasTokens(Protocol):
    """What is needed of a recording."""

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens of the run."""
        ...


@dataclass(frozen=True, slots=True)
class Pair:
    """One column of the two answers laid under each other.

    `baseline` and `other` are generated tokens, None where that answer has nothing in this
    column. `logprob_change` (nats, other minus baseline) is given where the two runs had read the
    same text before this token and chose the same one: elsewhere it would compare two questions.
    """

    baseline: Token | None
    other: Token | None
    relation: Relation
    logprob_change: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A baseline run beside another one of the same question.

    `first_divergence`: index, counted in generated tokens from 0, of the first token that differs
    or that only one answer has; None where the answers are the same. `same_prompt`: whether both
    were asked the same tokens; if not, the rest says little.
    """

    first_divergence: int | None
    pairs: tuple[Pair, ...]
    same_prompt: bool
    n_baseline: int
    n_other: int

    @property
    def identical(self) -> bool:
        """Whether both answers are the same tokens."""
        return self.first_divergence is None

    @property
    def n_same(self) -> int:
        """Number of tokens that line up with the same token of the other answer."""
        return sum(pair.relation == "same" for pair in self.pairs)


def compare(baseline: HasTokens, other: HasTokens) -> Comparison:
    """Line the two free-running answers up.

    Up to the first divergence tokens match one to one; after it they are aligned by their longest
    common runs of token ids, since the same words often come back a token later.
    """
    left, right = generated(baseline.tokens), generated(other.tokens)
    first = _first_difference([t.id for t in left], [t.id for t in right])
    shared = min(len(left), len(right)) if first is None else first
    pairs = [
        Pair(a, b, "same", _change(a, b))
        for a, b in zip(left[:shared], right[:shared], strict=True)
    ]
    pairs += _aligned(left[shared:], right[shared:])
    return Comparison(
        first_divergence=first,
        pairs=tuple(pairs),
        same_prompt=_prompt(baseline.tokens) == _prompt(other.tokens),
        n_baseline=len(left),
        n_other=len(right),
    )


def generated(tokens: Sequence[Token]) -> list[Token]:
    """The generated tokens, in order."""
    return [token for token in tokens if token.role == "generated"]


def _prompt(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens if token.role != "generated"]


def _first_difference(left: Sequence[int], right: Sequence[int]) -> int | None:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return None if len(left) == len(right) else min(len(left), len(right))


def _change(baseline: Token, other: Token) -> float | None:
    if baseline.logprob is None or other.logprob is None:
        return None
    return other.logprob - baseline.logprob


def _aligned(left: Sequence[Token], right: Sequence[Token]) -> list[Pair]:
    matcher = SequenceMatcher(None, [t.id for t in left], [t.id for t in right], autojunk=False)
    pairs: list[Pair] = []
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        if tag == "equal":
            pairs += [Pair(a, b, "same") for a, b in zip(left[a0:a1], right[b0:b1], strict=True)]
            continue
        width = min(a1 - a0, b1 - b0)
        pairs += [Pair(left[a0 + k], right[b0 + k], "replaced") for k in range(width)]
        pairs += [Pair(token, None, "only_baseline") for token in left[a0 + width : a1]]
        pairs += [Pair(None, token, "only_other") for token in right[b0 + width : b1]]
    return pairs
