"""One number per token: against the recording's own tokens and rows, one at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.answers import PART, answered
from var_studio.analysis.compare import same_until
from var_studio.analysis.token_values import log_probabilities, logprob_changes, of_rows
from var_studio.recording.failures import RecordingError
from var_studio.recording.recording import Recording


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Recording, Recording, Recording]:
    return answered(tmp_path, monkeypatch)


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
    assert same_until(baseline.tokens, other.tokens) == PART
    mine, theirs = logprob_changes(baseline, other, None)
    assert list(mine) == list(theirs) == baseline.generated_positions[:PART].tolist()
    for at, change in mine.items():
        before, after = baseline.tokens[at].logprob, other.tokens[at].logprob
        assert before is not None and after is not None
        assert change == after - before != 0


def test_a_forced_run_gives_every_word_its_change(pair: tuple[Recording, ...]) -> None:
    baseline, other, forced = pair
    mine, theirs = logprob_changes(baseline, other, forced)
    assert list(mine) == baseline.generated_positions.tolist() and len(theirs) == PART
    for at, change in mine.items():
        assert change == forced.tokens[at].logprob - baseline.tokens[at].logprob  # type: ignore[operator]
    with pytest.raises(RecordingError):
        logprob_changes(baseline, None, other)
