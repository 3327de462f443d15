"""What a composed figure is made of: a reading, further tokens, and the other runs of a session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from var_studio.analysis.choice import query_of
from var_studio.analysis.reading import Reading
from var_studio.analysis.shares import looking_words
from var_studio.analysis.used import as_used
from var_studio.errors import VarStudioError
from var_studio.figures.map_panels import MapOptions
from var_studio.figures.origin import origin
from var_studio.figures.spec import Paragraph, TextPanel, TextWord, Width
from var_studio.figures.words import visible
from var_studio.recording.interventions import on_attention
from var_studio.recording.questions import whole_number
from var_studio.recording.recording import Recording
from var_studio.recording.tokens import Role

_SAID: tuple[tuple[str, Role], ...] = (("question", "prompt"), ("answer", "generated"))

Tokens = Sequence[int] | Literal["all", "answer"]
"""Positions in the sequence; "all" that have a row; "answer": those of the answer's words."""

CHOSEN_NOTE = "Words: those of the answer with the most image-centric heads."


@dataclass(frozen=True)
class Scene:
    """Layer, heads and settings are those of `reading`, whose own token only counts where a figure
    shows one.

    `tokens`: those that the figure shows; None: it chooses. `others`: the other runs of the
    session. `second`: the run to compare with; None: the figure finds one among `others`, if it
    needs one.
    """

    reading: Reading
    width: Width = "two-columns"
    tokens: Tokens | None = None
    others: tuple[Recording, ...] = ()
    second: Recording | None = None
    options: MapOptions = field(default_factory=MapOptions)

    @property
    def run(self) -> Recording:
        return self.reading.run

    @property
    def by_itself(self) -> bool:
        """Whether the figure chose its tokens."""
        return self.tokens is None

    def positions(self, most: int, default: Tokens | None = None) -> tuple[int, ...]:
        """Positions of the tokens to show; where none is named those of `default`, else the words
        of the answer with the most image-centric heads, up to `most`."""
        asked = default if self.tokens is None else checked_tokens(self.tokens)
        if asked is None:
            found = looking_words(self.run, self.reading.settings, most)
            return found or (self.reading.position,)
        if asked == "all":
            return tuple(int(position) for position in self.run.query_positions)
        if asked == "answer":
            rows = self.run.query_of
            words = [p for p in map(int, self.run.generated_positions) if rows(p) is not None]
            return tuple(p for p in words if _shows(self.run, p)) or (self.reading.position,)
        length = self.run.length
        for position in asked:
            if not 0 <= position < length:
                raise VarStudioError(
                    f"There is no token {position}.", f"They go from 0 to {length - 1}."
                )
        return tuple(dict.fromkeys(int(position) for position in asked))

    @property
    def tokens_named(self) -> tuple[int, ...]:
        """The tokens that were named; empty where the figure chooses."""
        return () if self.tokens is None else self.positions(0)

    def read(self, position: int) -> Reading:
        """The row of a token under the scene's layer, heads and settings. Raises NoRowError."""
        focus = replace(self.reading.focus, query=query_of(self.run, position))
        if on_attention(self.run.interventions) and self._as_used:
            return as_used(self.run, focus, self.reading)
        return Reading(self.run, focus, self.reading.settings, self.reading)

    @cached_property
    def _as_used(self) -> bool:
        return self.reading.acts != (self.reading.settings,)

    def about(self, name: str, positions: Sequence[int] = ()) -> dict[str, Any]:
        """The figure's metadata, as plain JSON."""
        tokens = [{"position": p, "text": self.run.tokens[p].text} for p in positions]
        return {**origin(name, self.reading), "tokens": tokens}


def token_name(run: Recording, position: int) -> str:
    """A token in as few letters as tell it from others: its text, and which of the answer."""
    token = run.tokens[position]
    if token.role != "generated":
        return f"{visible(token.text)} {position}"
    index = int(np.searchsorted(run.generated_positions, position))
    return f"{visible(token.text)} g{index}"


def question_of(run: Recording) -> str:
    """What was asked, as far as the run knows."""
    return str(run.provenance.get("prompt") or "")


def said(scene: Scene, positions: Sequence[int]) -> TextPanel:
    """The answer, and the question where a token of it is shown; those tokens underlined."""
    run, marked = scene.run, set(positions)
    found = [
        Paragraph(name, words_of(run, role, marked))
        for name, role in _SAID
        if role == "generated" or any(run.tokens[p].role == role for p in marked)
    ]
    return TextPanel(tuple(paragraph for paragraph in found if paragraph.words))


def words_of(run: Recording, role: Role, marked: set[int]) -> tuple[TextWord, ...]:
    """The tokens of one role as text; special ones are left out unless they are marked."""
    return tuple(
        TextWord(t.text, underlined=t.position in marked)
        for t in run.tokens
        if t.role == role and (not t.special or t.position in marked)
    )


def _shows(run: Recording, position: int) -> bool:
    token = run.tokens[position]
    return not token.special and bool(token.text.strip())


def checked_tokens(given: Any) -> Tokens:
    """Tokens as a figure takes them: "all", "answer" or positions, in a list or an array.

    Raises VarStudioError for anything else.
    """
    if isinstance(given, str) and given in ("all", "answer"):
        return "all" if given == "all" else "answer"
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise VarStudioError(f"tokens is {given!r}.", 'Give a list of tokens, "all" or "answer".')
    listed = [whole_number("token", each) for each in given]
    if not listed:
        raise VarStudioError("No token was named.", "Name some, or leave the choice out.")
    return listed
