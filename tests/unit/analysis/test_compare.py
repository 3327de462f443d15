from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache

import numpy as np
import pytest

from var_studio.analysis.compare import compare
from var_studio.analysis.compare import longest_common as matched
from var_studio.recording.tokens import Token


@dataclass
class Answer:
    tokens: tuple[Token, ...]
    reason: str | None = "end"

    @property
    def finished(self) -> bool:
        return self.reason is not None


def answer(
    text: str,
    prompt: str = "ab",
    logprob: float | None = -1.0,
    reason: str | None = "end",
) -> Answer:
    given = [Token(i, ord(c), c, "prompt") for i, c in enumerate(prompt)]
    made = [
        Token(len(prompt) + i, ord(c), c, "generated", logprob=logprob) for i, c in enumerate(text)
    ]
    return Answer(tuple(given + made), reason)


def columns(comparison) -> list[str]:
    return [
        (p.baseline.text if p.baseline else "-") + (p.other.text if p.other else "-")
        for p in comparison.pairs
    ]


@pytest.mark.parametrize(
    ("left", "right", "first", "expected"),
    [
        ("cat", "cat", None, ["cc", "aa", "tt"]),
        ("", "", None, []),
        ("cat", "car", 2, ["cc", "aa", "tr"]),
        ("cat", "cats", 3, ["cc", "aa", "tt", "-s"]),
        ("cats", "cat", 3, ["cc", "aa", "tt", "s-"]),
        ("", "x", 0, ["-x"]),
        ("redcat", "bigredcat", 0, ["-b", "-i", "-g", "rr", "ee", "dd", "cc", "aa", "tt"]),
        ("abXcd", "abYZcd", 2, ["aa", "bb", "XY", "-Z", "cc", "dd"]),
    ],
)
def test_alignment(left, right, first, expected):
    comparison = compare(answer(left), answer(right))
    assert comparison.first_divergence == first
    assert columns(comparison) == expected
    assert comparison.identical == (left == right)
    assert (comparison.n_baseline, comparison.n_other) == (len(left), len(right))


def test_every_token_appears_once_and_in_order():
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, right = ("".join(rng.choice(list("abc"), rng.integers(0, 9))) for _ in range(2))
        comparison = compare(answer(left), answer(right))
        assert "".join(p.baseline.text for p in comparison.pairs if p.baseline) == left
        assert "".join(p.other.text for p in comparison.pairs if p.other) == right
        for pair in comparison.pairs:
            both = pair.baseline is not None and pair.other is not None
            assert (pair.relation == "same") == (both and pair.baseline.id == pair.other.id)
        naive = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), None)
        if naive is None and len(left) != len(right):
            naive = min(len(left), len(right))
        assert comparison.first_divergence == naive


def longest_common(left: str, right: str) -> int:
    """Length of the longest common subsequence, by the textbook recursion."""

    @cache
    def length(i: int, j: int) -> int:
        if not i or not j:
            return 0
        if left[i - 1] == right[j - 1]:
            return length(i - 1, j - 1) + 1
        return max(length(i - 1, j), length(i, j - 1))

    return length(len(left), len(right))


def test_as_many_words_as_can_be_line_up():
    rng = np.random.default_rng(1)
    for letters in ("ab", "abcdefgh", "abcdefghijklmnopqrstuvwxyz"):
        for _ in range(40):
            left, right = ("".join(rng.choice(list(letters), rng.integers(0, 15))) for _ in "12")
            same = compare(answer(left), answer(right)).n_same
            start = next((i for i, (a, b) in enumerate(zip(left, right)) if a != b), None)  # noqa: B905
            start = min(len(left), len(right)) if start is None else start
            assert same == start + longest_common(left[start:], right[start:])
            blocks = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
            assert same >= sum(block.size for block in blocks), "difflib found a better one"


def test_logprob_changes_only_where_both_had_read_the_same():
    comparison = compare(answer("abXcd"), answer("abYcd", logprob=-0.25))
    changes = [pair.logprob_change for pair in comparison.pairs]
    assert changes == [0.75, 0.75, None, None, None]
    assert [p.logprob_change for p in compare(answer("a"), answer("a", logprob=None)).pairs] == [
        None
    ]


def test_another_question_is_noticed():
    assert compare(answer("a"), answer("a")).same_prompt
    assert not compare(answer("a"), answer("a", prompt="ac")).same_prompt


STOPS = ["cancelled", "length", "failed: out of memory", None]


@pytest.mark.parametrize("stop", STOPS)
def test_an_answer_stopped_by_force_does_not_part_from_one_that_goes_on(stop):
    for first, second in ((stop, "end"), ("end", stop), (stop, stop)):
        whole = "the cat sat"
        left = whole[:7] if first == stop else whole
        right = whole if first == stop else whole[:7]
        comparison = compare(answer(left, reason=first), answer(right, reason=second))
        assert comparison.first_divergence is None
        assert comparison.undecided and not comparison.identical
        assert comparison.n_same == 7
        assert (comparison.baseline_stopped, comparison.other_stopped) == (
            first == stop,
            second == stop,
        )


@pytest.mark.parametrize("stop", STOPS)
def test_an_answer_that_ended_by_itself_parts_from_one_that_goes_on(stop):
    comparison = compare(answer("the cat"), answer("the cat sat", reason=stop))
    assert comparison.first_divergence == 7
    assert not comparison.undecided
    # A word that differs is a divergence, however either answer ended.
    comparison = compare(answer("the dog", reason=stop), answer("the cat sat", reason=stop))
    assert comparison.first_divergence == 4 and not comparison.undecided


@pytest.mark.parametrize("stop", STOPS)
def test_the_same_tokens_are_identical_and_undecided_where_both_were_stopped(stop):
    comparison = compare(answer("the cat", reason=stop), answer("the cat", reason=stop))
    assert comparison.identical and comparison.undecided
    assert not compare(answer("the cat"), answer("the cat")).undecided


def test_a_word_more_does_not_shift_an_answer_that_repeats_itself():
    """Of all longest common subsequences, the one whose gaps are short."""
    sentence = list(range(20))
    left, right = sentence * 6, [*sentence[:5], 99, *sentence[5:]] * 5
    found = matched(left, right)
    assert len(found) == 100
    assert found[:7] == [(k, k) for k in range(5)] + [(5, 6), (6, 7)]
