"""Candidates before and after, against what two plain lists say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from var_studio.analysis.candidates import candidates
from var_studio.recording.tokens import Alternative, Token


def step(logprobs: dict[int, float], chosen: int, own: float | None = None) -> Token:
    """A token chosen among candidates; their order in the file says nothing."""
    top = tuple(Alternative(number, f"w{number}", value) for number, value in logprobs.items())
    logprob = logprobs.get(chosen, own)
    return Token(0, chosen, f"w{chosen}", "generated", logprob=logprob, top=top)


def test_changes_and_ranks_of_random_steps() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        before, after = (
            {int(n): float(p) for n, p in zip(rng.permutation(30)[:12], np.log(w), strict=True)}
            for w in rng.dirichlet(np.ones(12), 2)
        )
        found = candidates(step(before, next(iter(before))), step(after, next(iter(after))))
        rows = {row.id: row for row in found.rows}
        assert len(rows) == len(found.rows), "each candidate once"
        for side, rank_of in ((before, "rank_before"), (after, "rank_after")):
            ordered = sorted(side, key=lambda n: side[n], reverse=True)
            assert set(ordered[:10]) <= set(rows)
            for number, row in rows.items():
                expected = ordered.index(number) + 1 if number in side else None
                assert getattr(row, rank_of) == expected
        for number, row in rows.items():
            known = number in before and number in after
            assert (row.change is not None) == known
            if known:
                assert row.change == pytest.approx(after[number] - before[number])
        assert found.least_before == min(before.values())
        assert found.least_after == min(after.values())
        first = [row.rank_before for row in found.rows][:10]
        assert first == list(range(1, 11)), "those of before come first, in order"


def test_a_word_chosen_from_further_down_is_there() -> None:
    found = candidates(step({1: -0.5, 2: -1.5}, 9, own=-6.0), step({1: -0.4, 3: -1.2}, 9, own=-4.0))
    row = next(row for row in found.rows if row.id == 9)
    assert (row.text, row.rank_before, row.rank_after) == ("w9", None, None)
    assert row.change == pytest.approx(2.0)
    assert row.chosen_before and row.chosen_after


def test_without_an_after_only_before_is_known() -> None:
    found = candidates(step({1: -0.5, 2: -1.5}, 1), None)
    assert [row.id for row in found.rows] == [1, 2]
    assert all(row.after is None and row.change is None for row in found.rows)
    assert found.least_after is None


def test_a_forbidden_word_has_an_infinite_change() -> None:
    found = candidates(step({1: -0.5}, 1), step({2: -0.1}, 1, own=-math.inf))
    assert found.rows[0].change == -math.inf
    twice = candidates(step({2: -0.5}, 1, own=-math.inf), step({2: -0.1}, 1, own=-math.inf))
    assert next(row for row in twice.rows if row.id == 1).change is None
