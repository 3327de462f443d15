"""The same answer scored twice: its log-probabilities in the plain model and in a changed one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from var_studio.recording.failures import RecordingError
from var_studio.recording.tokens import Alternative, Token


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of the baseline's answer before (plain) and after (teacher-forced, changed).

    Log-probabilities in nats, each of the distribution that its step chose from, before
    temperature; -inf where contrastive decoding forbids the token. `top_before`, `top_after`: the
    likeliest candidates of either step.
    """

    token: Token
    logprob_before: float
    logprob_after: float
    top_before: tuple[Alternative, ...]
    top_after: tuple[Alternative, ...]

    @property
    def change(self) -> float:
        """Log-probability after minus before."""
        return self.logprob_after - self.logprob_before

    @property
    def still_first(self) -> bool:
        """Whether no other token is likelier after the change."""
        return not self.top_after or self.top_after[0].id == self.token.id


@dataclass(frozen=True, slots=True)
class Scores:
    """The baseline's answer under an intervention, token by token.

    As long as the forced run is: it may have been stopped before the end.
    """

    tokens: tuple[ScoredToken, ...]

    @property
    def total_change(self) -> float:
        """Change of the log-probability of the whole answer, in nats."""
        return sum(scored.change for scored in self.tokens)

    @property
    def mean_change(self) -> float:
        """Mean change per token, in nats; 0 without tokens."""
        return self.total_change / len(self.tokens) if self.tokens else 0.0

    @property
    def first_departure(self) -> int | None:
        """Index of the first token that is no longer the likeliest; None where all are."""
        return next((i for i, scored in enumerate(self.tokens) if not scored.still_first), None)


def score(baseline: Sequence[Token], forced: Sequence[Token]) -> Scores:
    """Set the tokens of a baseline run beside those of a run that was forced to its answer.

    Raises RecordingError if the second was not.
    """
    asked, scored = _halves(baseline), _halves(forced)
    prompts = [[token.id for token in half[0]] for half in (asked, scored)]
    answers = [[token.id for token in half[1]] for half in (asked, scored)]
    if prompts[0] != prompts[1] or answers[1] != answers[0][: len(answers[1])]:
        raise RecordingError(
            "The two runs do not give the same answer to the same question.",
            "Record the second with teacher=... the first.",
        )
    return Scores(
        tuple(
            ScoredToken(before, before.logprob, after.logprob, before.top, after.top)
            for before, after in zip(asked[1], scored[1], strict=False)
            if before.logprob is not None and after.logprob is not None
        )
    )


def _halves(tokens: Sequence[Token]) -> tuple[list[Token], list[Token]]:
    """The prompt and the answer."""
    return (
        [token for token in tokens if token.role != "generated"],
        [token for token in tokens if token.role == "generated"],
    )
