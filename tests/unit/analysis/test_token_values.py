"""One number per token: against the recording's own tokens and rows, one at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import synthetic
from tests.synthetic import make_run
from var_studio.analysis.compare import same_until
from var_studio.analysis.token_values import log_probabilities, logprob_changes, of_rows
from var_studio.recording.failures import RecordingError
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recording, Recording, Recording]:
    """A baseline; an answer that leaves it at its sixth word; the baseline's answer, forced."""
    return runs(tmp_path, monkeypatch)


def runs(folder: Path, patch: pytest.MonkeyPatch) -> tuple[Recording, Recording, Recording]:
    made = synthetic._tokens

    def answer(words: list[str], seed: int):
        def tokens(rng, *rest):
            given = made(np.random.default_rng(seed), *rest)
            return [
                token.__class__(
                    token.position, 3000 + words.index(token.text.strip()), token.text, token.role,
                    token.special, token.logprob, token.top,
                )
                if token.text.strip() in words and token.role == "generated"
                else token
                for token in given
            ]  # fmt: skip

        return tokens

    words = [*dict.fromkeys(synthetic.WORDS), "mug", "</s>"]
    with patch.context() as each:
        each.setattr(synthetic, "_tokens", answer(words, 1))
        baseline = make_run(folder / "a", precision="float32")
        each.setattr(synthetic, "_tokens", answer(words, 2))
        forced = make_run(folder / "c", intervention=Redistribution(), teacher=baseline.id)
        each.setattr(synthetic, "WORDS", [*synthetic.WORDS[:5], "mug", *synthetic.WORDS[6:]])
        other = make_run(folder / "b", intervention=Redistribution())
    return baseline, other, forced


def test_log_probabilities(pair: tuple[Recording, ...]) -> None:
    baseline = pair[0]
    found = log_probabilities(baseline.tokens)
    assert list(found) == baseline.generated_positions.tolist()
    assert all(found[at] == baseline.tokens[at].logprob for at in found)


@pytest.mark.parametrize(("row_of", "shift"), [("query", 0), ("produced", 1)])
def test_values_of_rows_go_to_the_tokens_they_stand_for(
    pair: tuple[Recording, ...], row_of: str, shift: int
) -> None:
    run = pair[0]
    values = np.array([run.attention(q)[..., run.visual].sum() for q in range(30)])
    values[4] = np.nan
    found = of_rows(run, values, row_of)  # type: ignore[arg-type]
    for token in run.tokens:
        at = token.position
        query = run.query_of(at - shift) if at >= shift else None
        if query is None or query == 4:
            assert at not in found
        else:
            assert found[at] == pytest.approx(run.attention(query)[..., run.visual].sum())


def test_changes_end_where_the_answers_part(pair: tuple[Recording, ...]) -> None:
    baseline, other, _ = pair
    assert same_until(baseline.tokens, other.tokens) == 5
    mine, theirs = logprob_changes(baseline, other, None)
    assert list(mine) == list(theirs) == baseline.generated_positions[:5].tolist()
    for at, change in mine.items():
        before, after = baseline.tokens[at].logprob, other.tokens[at].logprob
        assert before is not None and after is not None
        assert change == after - before != 0


def test_a_forced_run_gives_every_word_its_change(pair: tuple[Recording, ...]) -> None:
    baseline, other, forced = pair
    mine, theirs = logprob_changes(baseline, other, forced)
    assert list(mine) == baseline.generated_positions.tolist() and len(theirs) == 5
    for at, change in mine.items():
        assert change == forced.tokens[at].logprob - baseline.tokens[at].logprob  # type: ignore[operator]
    with pytest.raises(RecordingError):
        logprob_changes(baseline, None, other)
