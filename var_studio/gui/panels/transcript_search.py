"""Search in the transcript: the words found are selected one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from var_studio.gui.models.token_list import matches
from var_studio.gui.widgets.find_bar import FindBar
from var_studio.gui.widgets.token_strip import TokenStrip

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

Place = tuple["Recording", int]
"""A run and a position in it."""


class TranscriptSearch(QObject):
    """Finds words in paragraphs that are visible, of tokens that can be selected.

    `present()` is the place selected now, `choose(run, position)` selects one.
    """

    def __init__(
        self,
        holder: QWidget,
        strips: Sequence[TokenStrip],
        present: Callable[[], Place | None],
        choose: Callable[[Recording, int], None],
    ) -> None:
        super().__init__(holder)
        self.bar = FindBar(holder)
        self._strips, self._present, self._choose = strips, present, choose
        self._origin: Place | None = None
        self._last: QWidget | None = None
        self.bar.wanted.connect(self._wanted)
        self.bar.further.connect(self.further)
        self.bar.closed.connect(self._closed)

    def open(self, text: str = "") -> None:
        """Show the line, with what has been typed already."""
        if self.bar.isHidden():
            self._origin = self._present()
            self._last = next((strip for strip in self._strips if strip.hasFocus()), None)
        self.bar.place()
        self.bar.open(text)

    def found(self, text: str) -> list[Place]:
        """Where `text` begins: first in the question, then in the answers."""
        places: list[Place] = []
        for strip in self._strips:
            run = strip.tokens.run
            if run is None or strip.isHidden():
                continue
            live = strip.tokens.selectable
            places += [(run, at) for at in matches(strip.tokens.entries, text) if at in live]
        return places

    def _wanted(self, text: str) -> None:
        """The first one from where the search began; back there when nothing is left to find."""
        places = self.found(text)
        self._go(places, _from(places, self._origin, 0), self._origin if not places else None)

    def further(self, step: int) -> None:
        """Select the next word found (+1) or the one before (-1)."""
        places = self.found(self.bar.field.text())
        self._origin = self._present()
        self._go(places, _from(places, self._origin, step), None)

    def _go(self, places: list[Place], number: int, otherwise: Place | None) -> None:
        self.bar.say(number + 1 if places else 0, len(places))
        place = places[number] if places else otherwise
        if place is not None:
            self._choose(*place)

    def _closed(self) -> None:
        (self._last or self._strips[0]).setFocus()


def _from(places: list[Place], origin: Place | None, step: int) -> int:
    """Index of the place that comes next: at or after the origin with step 0, else after (+1) or
    before it (-1); around the end."""
    if not places or origin is None:
        return 0
    run, position = origin
    mine = [n for n, (of, _) in enumerate(places) if of is run]
    if step < 0:
        before = [n for n in mine if places[n][1] < position]
        return before[-1] if before else (mine[0] - 1) % len(places) if mine else len(places) - 1
    after = [n for n in mine if places[n][1] > position or (step == 0 and places[n][1] == position)]
    return after[0] if after else (mine[-1] + 1) % len(places) if mine else 0
