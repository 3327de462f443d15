"""One number for each token of a run, by its position: what the words of a transcript show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from var_studio.analysis.compare import generated, same_until
from var_studio.analysis.scores import score
from var_studio.recording.tokens import Token

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

ByPosition = dict[int, float]
"""Position in the sequence -> value. A token without a value is left out."""


def log_probabilities(tokens: Sequence[Token]) -> ByPosition:
    """Log-probability (nats) of each generated token, before temperature and top-p."""
    return {
        token.position: token.logprob
        for token in tokens
        if token.logprob is not None and not math.isnan(token.logprob)
    }


def of_rows(
    run: Recording, values: npt.NDArray[np.floating[Any]], row_of: Literal["query", "produced"]
) -> ByPosition:
    """Values of the rows, (Q,), as values of the tokens that they stand for.

    `row_of`: a token's own row ("query"), or that of the step that produced it. NaN is left out.
    """
    shift = 0 if row_of == "query" else 1
    length = run.length
    return {
        int(position) + shift: float(value)
        for position, value in zip(run.query_positions, values, strict=True)
        if position + shift < length and not np.isnan(value)
    }


def logprob_changes(
    baseline: Recording, other: Recording | None, forced: Recording | None
) -> tuple[ByPosition, ByPosition]:
    """Change of log-probability (nats) of the baseline's tokens and of the other answer's.

    With `forced` (a run with `teacher=baseline`) every token of the baseline's answer has one;
    without, only those before the answers part. The other answer's tokens have one as long as
    both answers are the same: after that it answers to another text. Raises RecordingError where
    `forced` did not follow the baseline.
    """
    mine: ByPosition = {}
    theirs: ByPosition = {}
    if other is not None:
        same = same_until(baseline.tokens, other.tokens)
        answers = zip(generated(baseline.tokens), generated(other.tokens), strict=False)
        for one, another in islice(answers, same):
            if one.logprob is not None and another.logprob is not None:
                mine[one.position] = theirs[another.position] = another.logprob - one.logprob
    if forced is not None:
        for scored in score(baseline.tokens, forced.tokens).tokens:
            mine[scored.token.position] = scored.change
    return mine, theirs
