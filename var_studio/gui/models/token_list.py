"""The tokens of a run as a Qt list: one entry per token, one chip per stretch of image tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from var_studio.recording.tokens import Token

if TYPE_CHECKING:
    from var_studio.recording.recording import Recording

Index = QModelIndex | QPersistentModelIndex


class TokenRole(IntEnum):
    """What a delegate can ask of an entry, besides its text and tooltip."""

    ENTRY = Qt.ItemDataRole.UserRole + 1
    POSITION = Qt.ItemDataRole.UserRole + 2
    SHADE = Qt.ItemDataRole.UserRole + 3
    SELECTABLE = Qt.ItemDataRole.UserRole + 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A token, or (`token` None) the chip that stands for `count` image tokens."""

    position: int
    text: str
    token: Token | None
    count: int = 1

    @property
    def leading_space(self) -> bool:
        return self.text[:1] == " "


Colouring = Callable[[Token], "float | None"]


def surprise(token: Token) -> float | None:
    """Shade of a generated token: 0 where the model was sure, 1 where p is 1 % or less."""
    if token.logprob is None or math.isnan(token.logprob):
        return None
    return min(max(-token.logprob / math.log(100.0), 0.0), 1.0)


COLOURINGS: dict[str, tuple[str, Colouring | None]] = {
    "none": ("No colour", None),
    "probability": ("Probability", surprise),
}
"""Ways to colour words: key -> (name in the window, function of a token). A new one is a line."""


class TokenListModel(QAbstractListModel):
    """Entries of one part of a run. `wanted(token)` chooses the part, e.g. the answer."""

    def __init__(self, wanted: Callable[[Token], bool], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wanted = wanted
        self._run: Recording | None = None
        self._entries: list[Entry] = []
        self._seen = 0
        self._rows: frozenset[int] = frozenset()
        self._colouring: Colouring | None = None
        self.divergence: int | None = None

    @property
    def run(self) -> Recording | None:
        """The run whose tokens these are."""
        return self._run

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    def set_run(self, run: Recording | None) -> None:
        """Show another run (or none)."""
        self.beginResetModel()
        self._run = run
        self._entries, self._seen = [], 0
        self.divergence = None
        if run is not None:
            self._entries = self._read(run.tokens)
            self._seen = len(run.tokens)
        self.endResetModel()

    def grow(self) -> None:
        """Append what the run has produced since."""
        if self._run is None:
            return
        tokens = self._run.tokens
        new = self._read(tokens[self._seen :])
        self._seen = len(tokens)
        if new:
            first = len(self._entries)
            self.beginInsertRows(QModelIndex(), first, first + len(new) - 1)
            self._entries.extend(new)
            self.endInsertRows()

    def set_selectable(self, positions: Collection[int]) -> None:
        """Tell which positions have an attention row; the others are shown faint."""
        rows = frozenset(positions)
        different = rows ^ self._rows
        self._rows = rows
        if not different:
            return
        # While an answer is written one word changes at a time: repainting all costs 10 ms.
        changed = [n for n, e in enumerate(self._entries) if e.position in different]
        if len(changed) > 8:
            self._all_changed()
            return
        for number in changed:
            self.dataChanged.emit(self.index(number), self.index(number))

    def set_colouring(self, key: str) -> None:
        """Colour by one of COLOURINGS."""
        self._colouring = COLOURINGS[key][1]
        self._all_changed()

    def set_divergence(self, position: int | None) -> None:
        """Mark the first token at which this answer leaves the other one."""
        if position != self.divergence:
            self.divergence = position
            self._all_changed()

    def index_of(self, position: int | None) -> QModelIndex:
        """Index of the entry that holds this position; invalid if it is not in this part."""
        for row, entry in enumerate(self._entries):
            if position is not None and entry.position <= position < entry.position + entry.count:
                return self.index(row)
        return QModelIndex()

    # ------------------------------------------------------------------------ Qt's questions
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._entries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._entries):
            return None
        entry = self._entries[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return entry.text
        if role == TokenRole.ENTRY:
            return entry
        if role == TokenRole.POSITION:
            return entry.position
        if role == TokenRole.SHADE:
            return self._shade(entry)
        if role == TokenRole.SELECTABLE:
            return entry.position in self._rows
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(entry)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return entry.text.strip() or "space"
        return None

    # ------------------------------------------------------------------------------ plumbing
    def _read(self, tokens: Sequence[Token]) -> list[Entry]:
        entries: list[Entry] = []
        start = 0
        while start < len(tokens):
            token = tokens[start]
            end = start + 1
            if token.role == "visual":
                while end < len(tokens) and tokens[end].role == "visual":
                    end += 1
            if self._wanted(token):
                if token.role == "visual":
                    text = self._chip(end - start)
                    entries.append(Entry(token.position, text, None, end - start))
                else:
                    entries.append(Entry(token.position, _readable(token), token))
            start = end
        return entries

    def _chip(self, count: int) -> str:
        assert self._run is not None
        views = self._run.layout.views
        if len(views) == 1:
            return f"image {views[0].rows}×{views[0].cols}"
        return f"image, {count} tokens"

    def _shade(self, entry: Entry) -> float | None:
        if self._colouring is None or entry.token is None or entry.token.role != "generated":
            return None
        return self._colouring(entry.token)

    def _tooltip(self, entry: Entry) -> str:
        token = entry.token
        if token is None:
            last = entry.position + entry.count - 1
            return (
                f"{entry.count} image tokens, positions {entry.position} to {last}. "
                "The Image panel shows them one by one."
            )
        lines = [f"“{entry.text.strip()}” · position {token.position}"]
        if token.logprob is not None:
            lines.append(
                f"probability {math.exp(token.logprob):.1%} (log-probability {token.logprob:.2f})"
            )
            others = [a for a in token.top if a.id != token.id][:5]
            if others:
                lines.append("other candidates:")
                lines += [
                    f"    “{a.text.strip() or '␣'}”  {math.exp(a.logprob):.1%}" for a in others
                ]
        if entry.position not in self._rows:
            lines.append(
                "It stands before the image and cannot look at it: no attention row is kept."
                if token.role == "system"
                else "No attention row is kept for it."
            )
        return "\n".join(lines)

    def _all_changed(self) -> None:
        if self._entries:
            self.dataChanged.emit(self.index(0), self.index(len(self._entries) - 1))


def _readable(token: Token) -> str:
    text = token.text.replace("\n", "↵").replace("\t", "⇥")
    if text.strip():
        return text
    return text + "·" if token.special or not text else "␣"
