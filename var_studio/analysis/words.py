"""Two answers word by word: what a reader calls a word may be several tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from var_studio.analysis.compare import Comparison, Relation, generated, laid_out
from var_studio.recording.tokens import Token

_LONGEST = 24
"""Letters. Scripts without blanks are cut at a token before a word gets longer."""


@dataclass(frozen=True, slots=True)
class Word:
    """Consecutive generated tokens, and their text without the blanks around it."""

    text: str
    tokens: tuple[Token, ...]

    @property
    def logprob(self) -> float | None:
        """Log-probability (nats) of all its tokens; None where one has none."""
        values = [token.logprob for token in self.tokens if token.logprob is not None]
        return sum(values) if len(values) == len(self.tokens) else None

    def sum_of(self, values: Mapping[int, float]) -> float | None:
        """The sum of values given by position; None where a token of the word has none."""
        found = [values[t.position] for t in self.tokens if t.position in values]
        return sum(found) if len(found) == len(self.tokens) else None


@dataclass(frozen=True, slots=True)
class WordColumn:
    """One column of two answers under each other; None where that answer has nothing there."""

    first: Word | None
    second: Word | None
    relation: Relation


def words(tokens: Sequence[Token]) -> list[Word]:
    """The words of the generated tokens, special ones left out. A line break is a word."""
    found: list[list[Token]] = []
    last = " "
    for token in generated(tokens):
        if token.special or not token.text:
            continue
        long = bool(found) and len("".join(t.text for t in found[-1])) + len(token.text) > _LONGEST
        if not found or long or _ends(last) or _begins(token.text):
            found.append([])
        found[-1].append(token)
        last = token.text
    made = [Word("".join(t.text for t in group).strip(), tuple(group)) for group in found]
    return [Word(word.text or _blank(word), word.tokens) for word in made if _blank(word)]


def laid_out_words(
    first: Sequence[Token], second: Sequence[Token], compared: Comparison
) -> tuple[list[WordColumn], int | None]:
    """The words of both answers in columns, and the column of the first divergence.

    `compared`: the same two answers, token by token. Up to the first word that differs they
    match one to one, after it by a longest common subsequence. The divergence is None where there
    is none, or where it lies in tokens that show no other words. A word that was cut short is no
    difference.
    """
    left, right = words(first), words(second)
    numbers: dict[str, int] = {}
    ids = [[numbers.setdefault(w.text, len(numbers)) for w in side] for side in (left, right)]
    same = 0
    for a, b in zip(*ids, strict=False):
        if a != b:
            break
        same += 1
    columns = [WordColumn(a, b, "same") for a, b in zip(left[:same], right[:same], strict=True)]
    for one, other, relation in laid_out(left[same:], right[same:], ids[0][same:], ids[1][same:]):
        if compared.undecided and one is not None and other is not None:
            relation = "same"  # one of them was stopped within this word
        columns.append(WordColumn(one, other, relation))
    if compared.first_divergence is None:
        return columns, None
    return columns, next((i for i, c in enumerate(columns) if c.relation != "same"), None)


def _ends(text: str) -> bool:
    return text[-1].isspace() or _wide(text[-1])


def _begins(text: str) -> bool:
    return text[0].isspace() or _wide(text[0])


def _wide(letter: str) -> bool:
    """Whether its script writes no blanks between words."""
    return unicodedata.east_asian_width(letter) in "WF"


def _blank(word: Word) -> str:
    """What stands for a word: itself, a sign for a line break, nothing for mere blanks."""
    if word.text:
        return word.text
    return "⏎" if any("\n" in token.text for token in word.tokens) else ""
