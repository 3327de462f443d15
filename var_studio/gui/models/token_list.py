"""The tokens of a run as a Qt list: one entry per token, one chip per image, gaps and dividers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    Signal,
)

from var_studio.recording.layout import VisualLayout
from var_studio.recording.tokens import Token, readable, visible

if TYPE_CHECKING:
    from var_studio.analysis.compare import Column
    from var_studio.recording.recording import Recording

Index = QModelIndex | QPersistentModelIndex
_MOST_GRIDS = 3
"""Of an image cut into more views, their number and that of their tokens is told."""
NOWHERE = -1
"""Position of an entry that stands for no token."""


class TokenRole(IntEnum):
    """What a delegate can ask of an entry, besides its text and tooltip."""

    ENTRY = Qt.ItemDataRole.UserRole + 1
    POSITION = Qt.ItemDataRole.UserRole + 2
    SHADE = Qt.ItemDataRole.UserRole + 3
    SELECTABLE = Qt.ItemDataRole.UserRole + 4


@dataclass(frozen=True, slots=True)
class Entry:
    """A token; a chip that stands for `count` image tokens; a gap where the other answer has a
    word and this one none; a divider between two turns.

    `partner`: the word of the other answer in the same column, which shares its width. `differs`:
    the two are not the same.
    """

    position: int
    text: str
    token: Token | None
    count: int = 1
    kind: Literal["token", "chip", "gap", "divider"] = "token"
    partner: str = ""
    differs: bool = False

    @property
    def leading_space(self) -> bool:
        return self.text[:1] == " "


class TokenListModel(QAbstractListModel):
    """Entries of one part of a run. `wanted(token)` chooses the part, e.g. the answer."""

    restyled = Signal()
    """Tokens look different, at the same places. `dataChanged` would lay them all out anew."""

    def __init__(self, wanted: Callable[[Token], bool], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wanted = wanted
        self._run: Recording | None = None
        self._entries: list[Entry] = []
        self._at: dict[int, int] = {}
        self._seen = 0
        self._columns: Sequence[Column] | None = None
        self._rows: frozenset[int] = frozenset()
        self._shades: Mapping[int, float] = {}
        self._values: Mapping[int, str] = {}
        self.divergence: int | None = None
        self.parted = False

    @property
    def run(self) -> Recording | None:
        """The run whose tokens these are."""
        return self._run

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    @property
    def aligned(self) -> bool:
        """Whether the entries stand under those of another answer."""
        return self._columns is not None

    @property
    def selectable(self) -> frozenset[int]:
        """Positions that have an attention row."""
        return self._rows

    def set_run(self, run: Recording | None) -> None:
        """Show another run (or none), its tokens one after the other."""
        self.beginResetModel()
        self._run = run
        self._entries, self._at, self._seen = [], {}, 0
        self._columns = None
        self.divergence, self.parted = None, False
        if run is not None:
            self._entries = self._read(run.tokens, 0)
            self._seen = len(run.tokens)
            self._find(0)
        self.endResetModel()

    def grow(self) -> None:
        """Append what the run has produced since. Aligned entries wait for `align`."""
        if self._run is None or self.aligned:
            return
        tokens = self._run.tokens
        new = self._read(tokens, self._seen)
        self._seen = len(tokens)
        self._insert(len(self._entries), new)

    def align(self, columns: Sequence[Column], mine: Literal["baseline", "other"]) -> None:
        """Show one side of two answers laid under each other: an entry or a gap per column."""
        kept = 0
        for before, column in zip(self._columns or (), columns, strict=False):
            if not _looks_alike(before, column):
                break
            kept += 1
        entries = [_entry(column, mine) for column in columns[kept:]]
        self._columns = columns
        if kept < len(self._entries):
            self.beginRemoveRows(QModelIndex(), kept, len(self._entries) - 1)
            del self._entries[kept:]
            self._find(0)
            self.endRemoveRows()
        self._insert(kept, entries)

    def set_selectable(self, positions: Collection[int]) -> None:
        """Tell which positions have an attention row; the others are shown faint."""
        rows = frozenset(positions)
        if rows != self._rows:
            self._rows = rows
            self.restyled.emit()

    def set_shades(self, shades: Mapping[int, float], values: Mapping[int, str]) -> None:
        """Colour tokens by their positions, from -1 to 1 (0: not at all), and say the values in
        their tooltips."""
        if shades != self._shades:
            self._shades = shades
            self.restyled.emit()
        self._values = values

    def set_divergence(self, position: int | None, parted: bool = False) -> None:
        """Mark the first token at which this answer leaves the other one. `parted`: whether they
        part at all; that one was cut short, or is not there yet, is no difference."""
        if (position, parted) != (self.divergence, self.parted):
            self.divergence, self.parted = position, parted
            self.restyled.emit()

    def shade(self, position: int) -> float | None:
        """Strength of the tint of the token at a position."""
        return self._shades.get(position)

    def index_of(self, position: int | None) -> QModelIndex:
        """Index of the entry that holds this position; invalid if it is not in this part."""
        if position is None or position < 0:
            return QModelIndex()
        row = self._at.get(position)
        if row is None:
            for number, entry in enumerate(self._entries):
                if entry.kind == "chip" and 0 <= position - entry.position < entry.count:
                    row = number
        return QModelIndex() if row is None else self.index(row)

    # ------------------------------------------------------------------------ Qt's questions
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._entries)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._entries):
            return None
        entry = self._entries[index.row()]
        if role == TokenRole.ENTRY:
            return entry
        if role == Qt.ItemDataRole.DisplayRole:
            return entry.text
        if role == TokenRole.POSITION:
            return entry.position
        if role == TokenRole.SHADE:
            return None if entry.token is None else self._shades.get(entry.position)
        if role == TokenRole.SELECTABLE:
            return entry.position in self._rows
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._tooltip(entry)
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return self._spoken(entry)
        return None

    # ------------------------------------------------------------------------------ plumbing
    def _insert(self, first: int, new: list[Entry]) -> None:
        if new:
            self.beginInsertRows(QModelIndex(), first, first + len(new) - 1)
            self._entries[first:first] = new
            self._find(first)
            self.endInsertRows()

    def _find(self, first: int) -> None:
        """Note where each position stands, for entries from `first` on."""
        if first == 0:
            self._at = {}
        for number in range(first, len(self._entries)):
            position = self._entries[number].position
            if position != NOWHERE:
                self._at[position] = number

    def _read(self, tokens: Sequence[Token], start: int) -> list[Entry]:
        """Entries of the tokens from `start` on."""
        entries: list[Entry] = []
        turns = len({token.turn for token in tokens if self._wanted(token)})
        turn = tokens[start - 1].turn if start else None
        while start < len(tokens):
            token = tokens[start]
            end = start + 1
            if token.role == "visual":
                while end < len(tokens) and tokens[end].role == "visual":
                    end += 1
            if self._wanted(token):
                if turns > 1 and token.turn != turn:
                    turn = token.turn
                    text = f"Question {turn + 1}"
                    entries.append(Entry(NOWHERE, text, None, 0, "divider"))
                if token.role == "visual":
                    assert self._run is not None
                    entries += _chips(self._run.layout, token.position, end - start)
                else:
                    entries.append(Entry(token.position, readable(token.text), token))
            start = end
        return entries

    def _spoken(self, entry: Entry) -> str:
        if entry.kind == "gap":
            return "nothing here"
        value = self._values.get(entry.position)
        said = entry.text.strip() or "space"
        return f"{said}, {value}" if value and entry.token is not None else said

    def _tooltip(self, entry: Entry) -> str | None:
        token = entry.token
        if entry.kind == "chip":
            last = entry.position + entry.count - 1
            return (
                f"{entry.count} image tokens, positions {entry.position} to {last}. "
                "The Image panel shows them one by one."
            )
        if token is None:
            return None
        lines = [f"{visible(token.text)} · position {token.position}"]
        if entry.position in self._values:
            lines.append(self._values[entry.position])
        if token.logprob is not None:
            lines.append(
                f"probability {math.exp(token.logprob):.1%} (log-probability {token.logprob:.2f})"
            )
            others = [a for a in token.top if a.id != token.id][:5]
            if others:
                lines.append("other candidates:")
                lines += [f"    {visible(a.text)}  {math.exp(a.logprob):.1%}" for a in others]
        if entry.position not in self._rows:
            lines.append(
                "It stands before the image and cannot look at it: no attention row is kept."
                if token.role == "system"
                else "No attention row is kept for it."
            )
        return "\n".join(lines)


def _looks_alike(one: Column, other: Column) -> bool:
    """Whether two columns hold the same words."""
    return (
        one.baseline is other.baseline
        and one.other is other.other
        and one.relation == other.relation
    )


def _entry(column: Column, mine: Literal["baseline", "other"]) -> Entry:
    """One side of a column: a word or a gap."""
    own, else_ = column.baseline, column.other
    if mine == "other":
        own, else_ = else_, own
    partner = "" if else_ is None else readable(else_.text)
    differs = column.relation != "same"
    if own is None:
        return Entry(NOWHERE, "", None, 0, "gap", partner, differs)
    return Entry(own.position, readable(own.text), own, partner=partner, differs=differs)


def matches(entries: Sequence[Entry], text: str) -> list[int]:
    """Positions of the tokens at which `text` begins, in order; capitals are as good as small.

    A word may be made of several tokens, and a text of several words.
    """
    wanted = text.casefold()
    if not wanted:
        return []
    joined, starts, owners = "", [], []
    for entry in entries:
        if entry.token is None:
            joined += "\n" if entry.kind != "gap" else ""  # no word goes on behind an image
            continue
        starts.append(len(joined))
        owners.append(entry)
        joined += entry.token.text.casefold()
    found: list[int] = []
    at = joined.find(wanted)
    number = 0
    while at >= 0:
        while number + 1 < len(starts) and starts[number + 1] <= at:
            number += 1
        if not found or found[-1] != owners[number].position:
            found.append(owners[number].position)
        at = joined.find(wanted, at + 1)
    return found


def _chips(layout: VisualLayout, position: int, count: int) -> list[Entry]:
    """A chip for each image in a stretch of image tokens, with the size of its grid."""
    first = int(layout.positions.searchsorted(position))
    last = int(layout.positions.searchsorted(position + count))
    images: list[int | None] = []
    for k in range(first, last):
        cell = layout.cell_of(k)
        # What is no patch (the end of a line, a separator) goes with the patch before it.
        before = images[-1] if images else None
        images.append(before if cell is None else layout.views[cell[0]].image)
    several = len({view.image for view in layout.views}) > 1
    chips: list[Entry] = []
    start = 0
    for index in range(1, len(images) + 1):
        if index < len(images) and (images[start] is None or images[index] == images[start]):
            if images[start] is None:
                images[start] = images[index]
            continue
        begin = position if start == 0 else int(layout.positions[first + start])
        end = position + count if index == len(images) else int(layout.positions[first + index])
        text = _chip_text(layout, images[start], end - begin, several)
        chips.append(Entry(begin, text, None, end - begin, "chip"))
        start = index
    return chips or [Entry(position, f"image, {count} tokens", None, count, "chip")]


def _chip_text(layout: VisualLayout, image: int | None, count: int, several: bool) -> str:
    views = [view for view in layout.views if view.image == image]
    name = f"image {image + 1}:" if several and image is not None else "image"
    if 0 < len(views) <= _MOST_GRIDS and layout.known:
        return f"{name} {' + '.join(f'{view.rows}×{view.cols}' for view in views)}"
    parts = f"{len(views)} views, " if len(views) > 1 else ""
    return f"{name}{'' if several else ','} {parts}{count:,} tokens"
