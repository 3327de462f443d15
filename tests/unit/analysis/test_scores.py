from __future__ import annotations

import math

import pytest

from tests.unit.analysis.test_compare import answer
from var_studio.analysis.compare import compare
from var_studio.analysis.scores import score
from var_studio.recording.failures import RecordingError
from var_studio.recording.tokens import Alternative, Token


def test_changes_are_after_minus_before():
    baseline, forced = answer("abc", logprob=-1.0), answer("abc", logprob=-3.5)
    scores = score(baseline.tokens, forced.tokens)
    assert [s.token.text for s in scores.tokens] == ["a", "b", "c"]
    assert [s.change for s in scores.tokens] == [-2.5] * 3
    assert (scores.total_change, scores.mean_change) == (-7.5, -2.5)


def test_a_forced_run_may_stop_early_but_not_say_other_things():
    assert len(score(answer("abc").tokens, answer("ab").tokens).tokens) == 2
    empty = score(answer("abc").tokens, answer("").tokens)
    assert (empty.tokens, empty.total_change, empty.mean_change) == ((), 0, 0)
    for other in (answer("abd"), answer("abcd"), answer("abc", prompt="zz")):
        with pytest.raises(RecordingError, match="do not give the same answer"):
            score(answer("abc").tokens, other.tokens)


def test_the_first_departure_is_where_another_token_is_likelier():
    def token(position: int, id: int, *top: int) -> Token:
        candidates = tuple(Alternative(i, "", -float(n)) for n, i in enumerate(top))
        return Token(position, id, "", "generated", logprob=-1.0, top=candidates)

    baseline = [token(0, 5, 5, 6), token(1, 7, 7, 8), token(2, 9, 9)]
    forced = [token(0, 5, 5, 8), token(1, 7, 8, 7), token(2, 9, 1, 2)]
    scores = score(baseline, forced)
    assert [s.still_first for s in scores.tokens] == [True, False, False]
    assert scores.first_departure == 1
    assert score(baseline, baseline).first_departure is None
    assert scores.tokens[1].top_before[0].id == 7 and scores.tokens[1].top_after[0].id == 8


def test_a_forbidden_token_is_infinitely_less_likely():
    scores = score(answer("ab").tokens, answer("ab", logprob=-math.inf).tokens)
    assert scores.total_change == -math.inf


def test_compare_scores_only_where_a_forced_run_is_given():
    assert compare(answer("abc"), answer("abd")).scores is None
    found = compare(answer("abc"), answer("abd"), answer("abc", logprob=-2.0))
    assert found.first_divergence == 2
    assert found.scores is not None and found.scores.total_change == -3.0
