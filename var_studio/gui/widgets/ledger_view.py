"""Accounts as bars: what each kind of token held before and after, and the change in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme


@dataclass(frozen=True)
class Line:
    """One account: `before` and `after` are shares of the row; `colour` a role of the theme."""

    name: str
    before: float
    after: float
    colour: str = "accent"
    total: bool = False


class LedgerView(QtWidgets.QWidget):
    """Filled bar: after. Outline: before. Right of it: before, after and change."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: tuple[Line, ...] = ()
        self.setMinimumSize(240, 90)
        self.setAccessibleName("Ledger of the attention row")

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show other accounts."""
        self._lines = tuple(lines)
        self.setAccessibleDescription(
            "; ".join(f"{n.name}: {n.before:.3f} before, {n.after:.3f} after" for n in lines)
        )
        self.update()

    def lines(self) -> tuple[Line, ...]:
        """The accounts shown."""
        return self._lines

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw a heading and one row for each account."""
        if not self._lines:
            return
        painter = QtGui.QPainter(self)
        present = theme.colours(self.palette())
        metrics = painter.fontMetrics()
        number = metrics.horizontalAdvance("+0.0000") + 6
        names = max(metrics.horizontalAdvance(line.name) for line in self._lines) + 12
        names = min(names, int(self.width() * 0.4))
        bars = max(0.0, self.width() - names - 3 * number - 12.0)
        heading = metrics.height() + 3
        step = min((self.height() - heading) / len(self._lines), metrics.height() * 2.0)
        painter.setPen(QtGui.QColor(present.text_dim))
        for place, word in enumerate(("before", "after", "change")):
            box = QtCore.QRectF(names + bars + 12 + place * number, 0, number, metrics.height())
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignRight, word)
        for index, line in enumerate(self._lines):
            row = QtCore.QRectF(0, heading + index * step, self.width(), step)
            if line.total:
                painter.setPen(QtGui.QColor(present.border))
                painter.drawLine(row.topLeft(), row.topRight())
            painter.setPen(QtGui.QColor(present.text))
            name = metrics.elidedText(line.name, QtCore.Qt.TextElideMode.ElideRight, names - 8)
            middle = QtCore.Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QtCore.QRectF(0, row.top(), names, step), middle, name)
            if not line.total:
                self._draw_bar(painter, line, QtCore.QRectF(names, row.top(), bars, step))
            self._draw_numbers(painter, line, names + bars + 12, row, number)

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
        for place, text in enumerate((_share(line.before), _share(line.after), sign)):
            painter.setPen(
                QtGui.QColor(present.text if place < 2 or sign != "0" else present.text_dim)
            )
            box = QtCore.QRectF(left + place * number, row.top(), number, row.height())
            painter.drawText(box, flags, text)


def _share(value: float) -> str:
    # Sums of float32 may end a hair below 0, which would read -0.000.
    return f"{max(value, 0.0):.3f}"
