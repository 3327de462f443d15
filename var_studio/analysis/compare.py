"""Two answers to the same question, token by token: where they part and how they line up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from var_studio.analysis.scores import Scores, score
from var_studio.recording.tokens import Token

Relation = Literal["same", "replaced", "only_baseline", "only_other"]
T = TypeVar("T")


class HasTokens(Protocol):
    """What is needed of a recording."""

    @property
    def tokens(self) -> tuple[Token, ...]:
        """All tokens of the run."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        ...

    @property
    def reason(self) -> str | None:
        """Why it ended: "end" where the model itself ended its answer."""
        ...


@dataclass(frozen=True, slots=True)
class Column:
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
    or that only one answer has; None where none was found. That an answer stopped by force
    (cancelled, failed, out of new tokens, or still being written) goes no further is no
    divergence: see `undecided`. `same_prompt`: whether both were asked the same tokens; if not,
    the rest says little. `baseline_stopped`, `other_stopped`: whether the answer ended otherwise
    than by the model's own end. `scores`: the baseline's answer under the intervention, where a
    teacher-forced run was given.
    """

    first_divergence: int | None
    pairs: tuple[Column, ...]
    same_prompt: bool
    n_baseline: int
    n_other: int
    baseline_stopped: bool = False
    other_stopped: bool = False
    scores: Scores | None = None

    @property
    def identical(self) -> bool:
        """Whether both answers are the same tokens, as far as they go."""
        return self.first_divergence is None and self.n_baseline == self.n_other

    @property
    def undecided(self) -> bool:
        """Whether no difference was found, but an answer was stopped before one could show."""
        stopped = self.baseline_stopped or self.other_stopped
        return self.first_divergence is None and stopped

    @property
    def n_same(self) -> int:
        """Number of tokens that line up with the same token of the other answer."""
        return sum(pair.relation == "same" for pair in self.pairs)


def compare(baseline: HasTokens, other: HasTokens, forced: HasTokens | None = None) -> Comparison:
    """Line the two free-running answers up; with `forced`, score the baseline's own.

    `forced` is a run of the same question with `teacher=baseline`: see `Comparison.scores`.
    Raises RecordingError if it is not.

    Up to the first divergence tokens match one to one; after it they are aligned by a longest
    common subsequence of token ids, since the same words often come back a token later.
    """
    left, right = generated(baseline.tokens), generated(other.tokens)
    stopped = _stopped(baseline), _stopped(other)
    first = _first_difference([t.id for t in left], [t.id for t in right])
    shared = min(len(left), len(right))
    if first is None and len(left) != len(right):
        # One answer is the beginning of the other: a difference only if it ended there by itself.
        shorter_stopped = stopped[0] if len(left) < len(right) else stopped[1]
        first = None if shorter_stopped else shared
    shared = shared if first is None else first
    pairs = [
        Column(a, b, "same", _change(a, b))
        for a, b in zip(left[:shared], right[:shared], strict=True)
    ]
    pairs += _aligned(left[shared:], right[shared:])
    return Comparison(
        first_divergence=first,
        pairs=tuple(pairs),
        same_prompt=_prompt(baseline.tokens) == _prompt(other.tokens),
        n_baseline=len(left),
        n_other=len(right),
        baseline_stopped=stopped[0],
        other_stopped=stopped[1],
        scores=None if forced is None else score(baseline.tokens, forced.tokens),
    )


def generated(tokens: Sequence[Token]) -> list[Token]:
    """The generated tokens, in order."""
    return [token for token in tokens if token.role == "generated"]


def same_until(baseline: Sequence[Token], other: Sequence[Token]) -> int:
    """Number of generated tokens at the start of both answers that are the same: the steps up to
    and including this one had read the same text."""
    left, right = generated(baseline), generated(other)
    first = _first_difference([t.id for t in left], [t.id for t in right])
    return min(len(left), len(right)) if first is None else first


def _prompt(tokens: Sequence[Token]) -> list[int]:
    return [token.id for token in tokens if token.role != "generated"]


def _first_difference(left: Sequence[int], right: Sequence[int]) -> int | None:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return None


def _stopped(run: HasTokens) -> bool:
    return not run.finished or run.reason != "end"


def _change(baseline: Token, other: Token) -> float | None:
    if baseline.logprob is None or other.logprob is None:
        return None
    return other.logprob - baseline.logprob


def _aligned(left: Sequence[Token], right: Sequence[Token]) -> list[Column]:
    rows = laid_out(left, right, [t.id for t in left], [t.id for t in right])
    return [Column(a, b, relation) for a, b, relation in rows]


def laid_out(
    left: Sequence[T], right: Sequence[T], left_ids: Sequence[int], right_ids: Sequence[int]
) -> list[tuple[T | None, T | None, Relation]]:
    """Two sequences in columns: things with the same id under each other, gaps as None."""
    matched = longest_common(left_ids, right_ids)
    pairs: list[tuple[T | None, T | None, Relation]] = []
    a0 = b0 = 0
    for a1, b1 in [*matched, (len(left), len(right))]:
        # What lies between two that are the same: one under the other, then gaps.
        width = min(a1 - a0, b1 - b0)
        pairs += [(left[a0 + k], right[b0 + k], "replaced") for k in range(width)]
        pairs += [(each, None, "only_baseline") for each in left[a0 + width : a1]]
        pairs += [(None, each, "only_other") for each in right[b0 + width : b1]]
        if a1 < len(left) and b1 < len(right):
            pairs.append((left[a1], right[b1], "same"))
        a0, b0 = a1 + 1, b1 + 1
    return pairs


def longest_common(left: Sequence[int], right: Sequence[int]) -> list[tuple[int, int]]:
    """A longest common subsequence: pairs (index in left, index in right), both ascending.

    The textbook table, row by row, and of all ways through it the one with the shortest gap to the
    next match. difflib, which looks for the longest block first, takes half a second for two
    answers of a thousand tokens where words come back often; this far less.
    """
    # Row i, column j: how many are common to left[i:] and right[j:].
    ids = np.asarray(right[::-1], dtype=np.int64)
    table = np.zeros((len(left) + 1, len(right) + 1), dtype=np.int32)
    for row, token in enumerate(reversed(left)):
        after = table[row]
        best = np.maximum(after[1:], after[:-1] + (ids == token))
        np.maximum.accumulate(best, out=table[row + 1, 1:])
    table = table[::-1, ::-1]
    ours, theirs = np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64)
    found: list[tuple[int, int]] = []
    i = j = 0
    while i < len(left) and j < len(right) and table[i, j]:
        i, j = _nearest(table, ours, theirs, i, j)
        found.append((i, j))
        i, j = i + 1, j + 1
    return found


def _nearest(
    table: npt.NDArray[np.int32],
    ours: npt.NDArray[np.int64],
    theirs: npt.NDArray[np.int64],
    i: int,
    j: int,
) -> tuple[int, int]:
    """The next match from here on over the shortest gap, none of the common ones lost.

    Answers that repeat themselves can be matched in many ways: a word that one has more must not
    shift all that follows by a sentence.
    """
    wanted = table[i, j]
    for gap in range(len(ours) - i + len(theirs) - j):
        rows = np.arange(max(0, gap - (len(theirs) - 1 - j)), min(gap, len(ours) - 1 - i) + 1)
        a, b = i + rows, j + gap - rows
        hits = np.flatnonzero((ours[a] == theirs[b]) & (table[a, b] == wanted))
        if hits.size:
            return int(a[hits[0]]), int(b[hits[0]])
    raise AssertionError("a table of common words without a match")
