"""Accounts as bars: two shares of each kind of token, and what follows from them in numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets.line_columns import LineColumns

UNKNOWN = "–"


@dataclass(frozen=True)
class Line:
    """One account: `before` and `after` are shares, NaN where they are not known; `colour` is a
    role of the theme. `third`: what the third column says; None: the change from one to the
    other."""

    name: str
    before: float
    after: float
    colour: str = "accent"
    total: bool = False
    third: str | None = None


class LedgerView(LineColumns[Line]):
    """Filled bar: after. Outline: before. Right of it: before, after and change, or what `headings`
    call them. `percent`: both shares as parts of 100.
    """

    COLUMN = 380

    def __init__(
        self,
        parent: QtWidgets.QWidget | None = None,
        headings: tuple[str, str, str] = ("before", "after", "change"),
        name: str = "Ledger of the attention row",
        percent: bool = False,
    ) -> None:
        super().__init__(name, parent)
        self._headings, self._percent = headings, percent
        self.setMinimumSize(240, 48)

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show other accounts."""
        before, after, _ = self._headings
        spoken = (
            f"{n.name}: {self._share(n.before)} {before}, {self._share(n.after)} {after}"
            for n in lines
        )
        self._put(lines, "; ".join(spoken))

    def _draw_column(
        self, painter: QtGui.QPainter, lines: Sequence[Line], rows: int, room: QtCore.QRectF
    ) -> None:
        present = theme.colours(self.palette())
        metrics = painter.fontMetrics()
        number = max(metrics.horizontalAdvance(t) for t in ("+0.0000", *self._headings)) + 14
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
                # Below what is seen of the accounts, however few have room.
                row.moveBottom(min(row.bottom(), self.seen_bottom()))
                painter.fillRect(row, self.palette().window())
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
        if not math.isnan(line.after):
            width = line.after * room.width()
            painter.fillRect(QtCore.QRectF(room.left(), top, width, high), colour)
        if not math.isnan(line.before):
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
        if math.isnan(change):
            sign = UNKNOWN
        flags = QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
        third = sign if line.third is None else line.third
        for place, text in enumerate((self._share(line.before), self._share(line.after), third)):
            painter.setPen(
                QtGui.QColor(present.text if place < 2 or third != "0" else present.text_dim)
            )
            box = QtCore.QRectF(left + place * number, row.top(), number, row.height())
            painter.drawText(box, flags, text)

    def _share(self, value: float) -> str:
        if math.isnan(value):
            return UNKNOWN
        # Sums of float32 may end a hair below 0, which would read -0.000.
        value = max(value, 0.0)
        return f"{100 * value:.1f}" if self._percent else f"{value:.3f}"
