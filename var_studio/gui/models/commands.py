"""What the command palette offers, and which of it a few typed letters mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """`kind` says where it comes from ("Run", "Panel", "Recent session"); `call` does it."""

    kind: str
    text: str
    call: Callable[[], object]
    keys: str = ""
    tip: str = ""
    enabled: bool = True


def search(typed: str, commands: Iterable[Command]) -> list[Command]:
    """The commands that hold the typed letters in their order, the best match first.

    Spaces part what is looked for, so that "head next" finds "Next head". What can be done now
    comes before what cannot.
    """
    words = typed.lower().split()
    found: list[tuple[bool, float, int, Command]] = []
    for number, command in enumerate(commands):
        scores = [_best(word, command) for word in words]
        if all(score is not None for score in scores):
            total = sum(score for score in scores if score is not None)
            found.append((not command.enabled, -total, number, command))
    return [command for *_, command in sorted(found, key=lambda entry: entry[:3])]


def _best(word: str, command: Command) -> float | None:
    own = match(word, command.text)
    if own is not None:
        return own
    other = match(word, f"{command.kind} {command.tip}")
    return None if other is None or other < _WHOLE else other / 4


_START, _NEXT, _WHOLE = 8.0, 5.0, 12.0


def match(word: str, text: str) -> float | None:
    """How well `word` matches `text`, both in any case; None if its letters are not all there, in
    their order. Letters that begin words or follow each other count more, a whole word most."""
    text = text.lower()
    at = text.find(word)
    while at > 0 and text[at - 1].isalnum():
        at = text.find(word, at + 1)
    if at >= 0:
        return _WHOLE + len(word) * _START - 0.01 * len(text) - 0.02 * at
    score, place, last = 0.0, 0, -2
    for letter in word:
        place = text.find(letter, place)
        if place < 0:
            return None
        begins = place == 0 or not text[place - 1].isalnum()
        score += _NEXT if place == last + 1 else _START / 2 if begins else 1.0
        last, place = place, place + 1
    return score / len(word) - 0.01 * len(text)
