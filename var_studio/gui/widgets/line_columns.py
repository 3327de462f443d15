"""Lines under a heading that stand in two columns where one is too low for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from PySide6 import QtCore, QtGui, QtWidgets

L = TypeVar("L")

BETWEEN = 36
"""Room between two columns."""


class LineColumns(QtWidgets.QWidget, Generic[L]):
    """Where the lines have no room under each other they stand in two columns; in a narrow and
    low place the view asks for its height, so that what holds it scrolls.
    """

    COLUMN: int
    """A column narrower than this has no room for its bars."""
    LEADING = 0
    """Pixels between two lines, at the least."""

    def __init__(self, name: str, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: tuple[L, ...] = ()
        policy = self.sizePolicy()
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName(name)

    def lines(self) -> tuple[L, ...]:
        """What is shown."""
        return self._lines

    def hasHeightForWidth(self) -> bool:
        """The height follows from the number of columns."""
        return True

    def heightForWidth(self, width: int) -> int:
        """The least height at which no line overlaps another."""
        return self._least(2 if self._two_fit(width) else 1)

    def columns(self) -> int:
        """In how many columns the lines stand: two only where one is too low."""
        return 2 if self.height() < self._least(1) and self._two_fit(self.width()) else 1

    def scrolled(self) -> QtWidgets.QScrollArea:
        """The view in a frameless area that scrolls where a panel is low."""
        area = _WholeRows(self)
        area.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        area.setWidgetResizable(True)
        area.setWidget(self)
        area.setMinimumSize(self.minimumSize())  # the rest scrolls
        return area

    def row_height(self) -> int:
        """The least height of a line."""
        return self.fontMetrics().height() + self.LEADING

    def seen_bottom(self) -> float:
        """Where what is seen of the view ends, in it: above its own end where it scrolls."""
        holder = self.parentWidget()
        seen = self.height() if holder is None else holder.height() - self.y()
        return float(min(self.height(), seen))

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw each column."""
        if not self._lines:
            return
        painter = QtGui.QPainter(self)
        columns = self.columns()
        rows = self._rows(columns)
        width = (self.width() - BETWEEN * (columns - 1)) / columns
        for column in range(columns):
            room = QtCore.QRectF(column * (width + BETWEEN), 0, width, self.height())
            lines = self._lines[column * rows : (column + 1) * rows]
            self._draw_column(painter, lines, rows, room)

    def _draw_column(
        self, painter: QtGui.QPainter, lines: Sequence[L], rows: int, room: QtCore.QRectF
    ) -> None:
        """Draw a heading and `lines` in `room`, which has place for `rows` of them."""
        raise NotImplementedError

    def _put(self, lines: Sequence[L], spoken: str) -> None:
        """Show other lines; `spoken` says them to who cannot see."""
        if len(lines) != len(self._lines):
            self.updateGeometry()
        self._lines = tuple(lines)
        self.setAccessibleDescription(spoken)
        self.update()

    def _two_fit(self, width: int) -> bool:
        return width >= 2 * self.COLUMN + BETWEEN

    def _rows(self, columns: int) -> int:
        return -(-len(self._lines) // columns)

    def _least(self, columns: int) -> int:
        return self._rows(columns) * self.row_height() + self.fontMetrics().height() + 3


class _WholeRows(QtWidgets.QScrollArea):
    """Shows no half of a line: what is left below the last whole one stays free."""

    def __init__(self, view: LineColumns[L]) -> None:
        super().__init__()
        self._view = view
        self.verticalScrollBar().valueChanged.connect(lambda: view.update())

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Leave free what is no whole line, where there are more than have room."""
        row, heading = self._view.row_height(), self._view.fontMetrics().height() + 3
        least = self._view.heightForWidth(self.width() - self.verticalScrollBar().width())
        spare = 0
        if self.height() < least and self.height() > heading + row:
            spare = (self.height() - heading) % row
        self.verticalScrollBar().setSingleStep(row)
        if self.viewportMargins().bottom() != spare:
            self.setViewportMargins(0, 0, 0, spare)
        super().resizeEvent(event)
