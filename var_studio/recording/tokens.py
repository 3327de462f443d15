"""The tokens of a run, as the transcript shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "visual", "prompt", "generated"]
"""`system`: text before the first image token. `visual`: image placeholders (patches, and
separators that are no patch). `prompt`: text after the first image token, questions and answers of
earlier turns included. `generated`: the answer."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A candidate for the next token. `logprob` in nats."""

    id: int
    text: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One position of the sequence.

    `text` is what this token adds to the decoded text, spaces included; joined over the generated
    tokens (special ones left out) it is the answer. `logprob` (nats) and `top` are those of the
    distribution that the token was chosen from, before temperature and top-p: the model's own,
    after contrastive decoding where there was any. (A token that it forbids is not in `top`, and
    has -inf where it was forced all the same.) None and empty for tokens that were given. `turn`
    counts the questions from 0.
    """

    position: int
    id: int
    text: str
    role: Role
    special: bool = False
    logprob: float | None = None
    top: tuple[Alternative, ...] = ()
    turn: int = 0


class Tokens(tuple[Token, ...]):
    """The tokens of a run in order; a notebook shows them as a table."""

    def _repr_html_(self) -> str:
        from var_studio.recording.html import tokens_html

        return tokens_html(self)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question that was asked before, and the answer to it, as plain text."""

    question: str
    answer: str


def readable(text: str) -> str:
    """A token's text with signs for what cannot be seen; spaces around a word are left.

    "∅" stands for no text: a piece of a character whose other bytes are in the next tokens.
    """
    shown = text.replace("\n", "⏎").replace("\t", "→")
    return (shown if shown.strip() else shown.replace(" ", "␣")) or "∅"


def bare(text: str) -> str:
    """As `readable`, without the spaces around."""
    return readable(text).strip(" ")


def visible(text: str) -> str:
    """As `bare`, in quotation marks."""
    return f"“{bare(text)}”"
