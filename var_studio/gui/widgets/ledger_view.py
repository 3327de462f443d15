"""Accounts as bars: two shares of each kind of token, and what follows from them in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme


@dataclass(frozen=True)
class Line:
    """One account: `before` and `after` are shares; `colour` is a role of the theme. `third`: what
    the third column says; None: the change from one to the other."""

    name: str
    before: float
    after: float
    colour: str = "accent"
    total: bool = False
    third: str | None = None


COLUMN = 380
"""A column narrower than this has no room for its bars."""
BETWEEN = 36
"""Room between two columns."""


class LedgerView(QtWidgets.QWidget):
    """Filled bar: after. Outline: before. Right of it: before, after and change, or what `headings`
    call them.

    Where the lines have no room under each other they stand in two columns; in a narrow and low
    place the view asks for its height, so that what holds it scrolls.
    """

    def __init__(
        self,
        parent: QtWidgets.QWidget | None = None,
        headings: tuple[str, str, str] = ("before", "after", "change"),
        name: str = "Ledger of the attention row",
    ) -> None:
        super().__init__(parent)
        self._lines: tuple[Line, ...] = ()
        self._headings = headings
        self.setMinimumSize(240, 48)
        policy = self.sizePolicy()
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setAccessibleName(name)

    def hasHeightForWidth(self) -> bool:
        """The height follows from the number of columns."""
        return True

    def heightForWidth(self, width: int) -> int:
        """The least height at which no line overlaps another."""
        return self._least(2 if self._two_fit(width) else 1)

    def _two_fit(self, width: int) -> bool:
        return width >= 2 * COLUMN + BETWEEN

    def _least(self, columns: int) -> int:
        rows = -(-len(self._lines) // columns)
        return (rows + 1) * self.fontMetrics().height() + 3

    def columns(self) -> int:
        """In how many columns the lines stand: two only where one is too low."""
        return 2 if self.height() < self._least(1) and self._two_fit(self.width()) else 1

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show other accounts."""
        if len(lines) != len(self._lines):
            self.updateGeometry()
        self._lines = tuple(lines)
        before, after, _ = self._headings
        self.setAccessibleDescription(
            "; ".join(f"{n.name}: {n.before:.3f} {before}, {n.after:.3f} {after}" for n in lines)
        )
        self.update()

    def lines(self) -> tuple[Line, ...]:
        """The accounts shown."""
        return self._lines

    def scrolled(self) -> QtWidgets.QScrollArea:
        """The ledger in a frameless area that scrolls where a panel is low."""
        area = QtWidgets.QScrollArea()
        area.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(QtCore.Qt.FocusPolicy.NoFocus)
        area.setWidgetResizable(True)
        area.setWidget(self)
        area.setMinimumSize(self.minimumSize())  # the rest scrolls
        return area

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw each column: a heading and one row for each account."""
        if not self._lines:
            return
        painter = QtGui.QPainter(self)
        columns = self.columns()
        rows = -(-len(self._lines) // columns)
        width = (self.width() - BETWEEN * (columns - 1)) / columns
        for column in range(columns):
            room = QtCore.QRectF(column * (width + BETWEEN), 0, width, self.height())
            lines = self._lines[column * rows : (column + 1) * rows]
            self._draw_column(painter, lines, rows, room)

    def _draw_column(
        self, painter: QtGui.QPainter, lines: Sequence[Line], rows: int, room: QtCore.QRectF
    ) -> None:
        present = theme.colours(self.palette())
        metrics = painter.fontMetrics()
        number = max(metrics.horizontalAdvance(t) for t in ("+0.0000", *self._headings)) + 6
        names = max(metrics.horizontalAdvance(line.name) for line in self._lines) + 12
        names = min(names, int(room.width() * 0.4), max(60, int(room.width()) - 3 * number - 12))
        bars = max(0.0, room.width() - names - 3 * number - 12.0)
        numbers = room.left() + names + bars + 12
        heading = metrics.height() + 3
        step = min((room.height() - heading) / rows, metrics.height() * 2.0)
        painter.setPen(QtGui.QColor(present.text_dim))
        for place, word in enumerate(self._headings):
            box = QtCore.QRectF(numbers + place * number, 0, number, metrics.height())
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignRight, word)
        for index, line in enumerate(lines):
            row = QtCore.QRectF(room.left(), heading + index * step, room.width(), step)
            if line.total:
                painter.setPen(QtGui.QColor(present.border))
                painter.drawLine(row.topLeft(), row.topRight())
            painter.setPen(QtGui.QColor(present.text))
            name = metrics.elidedText(line.name, QtCore.Qt.TextElideMode.ElideRight, names - 8)
            middle = QtCore.Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QtCore.QRectF(row.left(), row.top(), names, step), middle, name)
            if not line.total:
                bar = QtCore.QRectF(row.left() + names, row.top(), bars, step)
                self._draw_bar(painter, line, bar)
            self._draw_numbers(painter, line, numbers, row, number)

    def _draw_bar(self, painter: QtGui.QPainter, line: Line, room: QtCore.QRectF) -> None:
        present = theme.colours(self.palette())
        high = min(room.height() - 4, 14.0)
        top = room.center().y() - high / 2
        colour = QtGui.QColor(getattr(present, line.colour))
        painter.fillRect(
            room.adjusted(0, top - room.top(), 0, top + high - room.bottom()),
            QtGui.QColor(present.canvas),
        )
        painter.fillRect(QtCore.QRectF(room.left(), top, line.after * room.width(), high), colour)
        painter.setPen(QtGui.QPen(QtGui.QColor(present.text), 1.2))
        painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
        painter.drawRect(QtCore.QRectF(room.left(), top, line.before * room.width(), high))

    def _draw_numbers(
        self,
        painter: QtGui.QPainter,
        line: Line,
        left: float,
        row: QtCore.QRectF,
        number: float,
    ) -> None:
        present = theme.colours(self.palette())
        change = line.after - line.before
        sign = f"{change:+.3f}".replace("-", "−") if abs(change) >= 0.0005 else "0"
        flags = QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
        third = sign if line.third is None else line.third
        for place, text in enumerate((_share(line.before), _share(line.after), third)):
            painter.setPen(
                QtGui.QColor(present.text if place < 2 or third != "0" else present.text_dim)
            )
            box = QtCore.QRectF(left + place * number, row.top(), number, row.height())
            painter.drawText(box, flags, text)


def _share(value: float) -> str:
    # Sums of float32 may end a hair below 0, which would read -0.000.
    return f"{max(value, 0.0):.3f}"
