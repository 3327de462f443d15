"""The token map as a table: filtered and sorted with NumPy, a few thousand rows at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QRect,
    Qt,
)
from PySide6.QtGui import QPainter, QPalette
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from var_studio.analysis.token_map import KINDS, TokenMap, token_map

if TYPE_CHECKING:
    from var_studio.analysis.reading import Reading
    from var_studio.recording.layout import VisualLayout

Keep = Literal["all", "patches", "others", "sinks", "picked"]
Index = QModelIndex | QPersistentModelIndex

HEADINGS = (
    ("Token", "Index k of the visual token, from 0."),
    ("Position", "Position in the whole sequence, from 0."),
    ("Kind", "What the token stands for: a patch, padding, a newline, a separator."),
    ("View", "Image, crop, tile or thumbnail that the token belongs to."),
    ("Cell", "Row and column in its view, from 0."),
    ("Pixels x", "Left to right edge of what it sees, in pixels of the original image."),
    ("Pixels y", "Top to bottom edge of what it sees, in pixels of the original image."),
    ("α", "Attention from the selected token, over the heads selected."),
    ("Rank", "1 is the visual token with the largest α."),
    ("φ", "Sink-dimension value at the selected layer (Sec. 4.1)."),
    ("Sink", "Whether φ ≥ τ at the selected layer (Sec. 4.1)."),
)
TOKEN, POSITION, KIND, VIEW, CELL, ACROSS, DOWN, ALPHA, RANK, PHI, SINK = range(len(HEADINGS))
_WORDS = (KIND, VIEW, SINK)
_DECIMALS = {ALPHA: 6, PHI: 3}


class TokenTable(QAbstractTableModel):
    """Rows are visual tokens: those that `keep` lets through, in the order of a column."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._map: TokenMap | None = None
        self._layout: VisualLayout | None = None
        self._texts: dict[int, list[str]] = {}
        self._values: dict[int, npt.NDArray[Any]] = {}
        self._tokens: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._keep: Keep = "all"
        self._picked: frozenset[int] = frozenset()
        self._by, self._descending = TOKEN, False

    @property
    def map(self) -> TokenMap | None:
        """What is in the table, whatever is let through."""
        return self._map

    @property
    def keep(self) -> Keep:
        """Which tokens are let through."""
        return self._keep

    # ------------------------------------------------------------------------- what to show
    def show_reading(self, reading: Reading, picked: frozenset[int]) -> bool:
        """Take the numbers of a reading. True if rows came, went or moved."""
        layout = reading.run.layout
        anew = self._layout is None or not _same(self._layout, layout)
        if anew:
            self._place(layout)
        alpha = reading.map_before
        order = np.sort(alpha)
        now = {
            ALPHA: alpha,
            RANK: 1 + len(alpha) - np.searchsorted(order, alpha, side="right"),
            PHI: reading.phi[reading.focus.layer][reading.positions],
            SINK: reading.visual_sinks,
        }
        before = self._values
        if not anew and all(
            np.array_equal(now[column], before[column], equal_nan=column == PHI) for column in now
        ):
            return self.set_picked(picked)
        self._values.update(now)
        self._picked = picked
        return self._arrange(anew)

    def set_keep(self, keep: Keep) -> bool:
        """Let through all, patches, other tokens, sinks or picked ones."""
        self._keep = keep
        return self._arrange()

    def set_picked(self, picked: frozenset[int]) -> bool:
        """The cells that are picked now."""
        self._picked = picked
        return self._keep == "picked" and self._arrange()

    def token_of(self, row: int) -> int:
        """Visual token k of a row."""
        return int(self._tokens[row])

    def rows_of(self, tokens: Iterable[int]) -> list[int]:
        """Ascending rows of those visual tokens that are let through."""
        wanted = np.isin(self._tokens, np.fromiter(tokens, dtype=np.int64))
        return [int(row) for row in np.flatnonzero(wanted)]

    # -------------------------------------------------------------------- QAbstractTableModel
    def rowCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._tokens)

    def columnCount(self, parent: Index | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(HEADINGS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal and 0 <= section < len(HEADINGS):
            if role == Qt.ItemDataRole.DisplayRole:
                return HEADINGS[section][0]
            if role == Qt.ItemDataRole.ToolTipRole:
                return HEADINGS[section][1]
            if role == Qt.ItemDataRole.TextAlignmentRole:
                return int(Qt.AlignmentFlag.AlignCenter)  # clear of the arrow that marks the order
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(int(self._tokens[index.row()]), index.column())
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._by, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self._arrange()

    def text(self, token: int, column: int) -> str:
        """What the table says of a visual token in a column."""
        if column in self._texts:
            return self._texts[column][token]
        value = self._values[column][token]
        if column == SINK:
            return "sink" if value else ""
        if column == RANK:
            return f"{value:d}"
        # As many decimals in each row: the points stand under each other.
        return "–" if np.isnan(value) else f"{value:.{_DECIMALS[column]}f}"

    def table(self) -> dict[str, list[Any]]:
        """The rows that are listed, in their order: heading -> values. φ and α are not rounded."""
        return {
            HEADINGS[column][0]: [
                float(self._values[column][token])
                if column in _DECIMALS
                else self.text(token, column)
                for token in map(int, self._tokens)
            ]
            for column in range(len(HEADINGS))
        }

    # ------------------------------------------------------------------------------ plumbing
    def _place(self, layout: VisualLayout) -> None:
        placed = token_map(layout)
        self._map, self._layout = placed, layout
        several = len(layout.image_sizes) > 1
        names = [
            f"image {view.image + 1} {view.name}" if several else view.name for view in layout.views
        ]
        left, top, right, bottom = placed.box.T
        self._values = {
            TOKEN: np.arange(layout.count),
            POSITION: placed.position,
            KIND: placed.kind,
            VIEW: placed.view,
            CELL: placed.row * 100_000 + placed.col,
            ACROSS: left,
            DOWN: top,
        }
        self._texts = {
            TOKEN: [str(k) for k in range(layout.count)],
            POSITION: [str(p) for p in placed.position],
            KIND: [KINDS[kind] for kind in placed.kind],
            VIEW: [names[view] if view >= 0 else "–" for view in placed.view],
            CELL: [
                f"({r}, {c})" if r >= 0 else "–"
                for r, c in zip(placed.row, placed.col, strict=True)
            ],
            ACROSS: _edges(left, right),
            DOWN: _edges(top, bottom),
        }

    def _arrange(self, anew: bool = False) -> bool:
        """Filter and sort; tell the table what has changed."""
        if self._map is None:
            return False
        tokens = np.flatnonzero(self._let_through())
        values = self._values[self._by][tokens]
        # Stable, so that equal ones stay in the order of the sequence; NaN comes last.
        keys = -values.astype(np.float64) if self._descending else values
        tokens = tokens[np.argsort(keys, kind="stable")]
        if not anew and np.array_equal(tokens, self._tokens):
            if len(tokens):
                last = self.index(len(tokens) - 1, SINK)
                self.dataChanged.emit(self.index(0, ALPHA), last, [Qt.ItemDataRole.DisplayRole])
            return False
        self.beginResetModel()
        self._tokens = tokens
        self.endResetModel()
        return True

    def _let_through(self) -> npt.NDArray[np.bool_]:
        assert self._map is not None
        if self._keep == "all":
            return np.ones(len(self._map.kind), dtype=bool)
        if self._keep == "sinks":
            return np.asarray(self._values[SINK], dtype=bool)
        if self._keep == "picked":
            return np.isin(self._values[TOKEN], np.fromiter(self._picked, dtype=np.int64))
        patches = self._map.kind == KINDS.index("patch")
        return patches if self._keep == "patches" else ~patches


def _same(one: VisualLayout, other: VisualLayout) -> bool:
    """A growing run makes its layout anew whenever it is read."""
    return one is other or (
        one.image_sizes == other.image_sizes
        and np.array_equal(one.positions, other.positions)
        and np.array_equal(one.boxes, other.boxes, equal_nan=True)
        and len(one.views) == len(other.views)
    )


def _edges(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> list[str]:
    return [
        "–" if np.isnan(a) else f"{round(a)}–{round(b)}" for a, b in zip(low, high, strict=True)
    ]


class PlainCells(QStyledItemDelegate):
    """Draws text and nothing else: the style asks eight questions a cell, 300 cells a repaint."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        rect: QRect = option.rect  # type: ignore[attr-defined]
        palette: QPalette = option.palette  # type: ignore[attr-defined]
        ink = QPalette.ColorRole.Text
        if option.state & QStyle.StateFlag.State_Selected:  # type: ignore[attr-defined]
            painter.fillRect(rect, palette.highlight())
            ink = QPalette.ColorRole.HighlightedText
        painter.setPen(palette.color(ink))
        painter.drawText(rect.adjusted(8, 0, -8, 0), _side(index.column()), index.data())


def _side(column: int) -> int:
    """Words stand left, numbers right."""
    side = Qt.AlignmentFlag.AlignLeft if column in _WORDS else Qt.AlignmentFlag.AlignRight
    return int(side | Qt.AlignmentFlag.AlignVCenter)
