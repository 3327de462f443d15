"""Candidates for a word as bars: their probabilities before and after, changes and ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets.line_columns import LineColumns


@dataclass(frozen=True, slots=True)
class Line:
    """One candidate. Probabilities 0 to 1; None: not recorded, `below` the one that was last.

    `change` is of the log-probability in nats; `ranks` in words. `after_known`: whether there is
    an after at all.
    """

    word: str
    before: float | None
    after: float | None
    change: str
    ranks: str
    chosen: str = ""
    below_before: float | None = None
    below_after: float | None = None

    def spoken(self) -> str:
        """The line as a sentence."""
        change = f", log-probability {self.change}" if self.change else ""
        before, after = (
            percent(self.before, self.below_before),
            percent(self.after, self.below_after),
        )
        return f"{self.word}: {before} before, {after} after{change}, rank {self.ranks}"


HEADINGS = ("before", "after", "Δ log p", "rank")
NUMBERS = ("≤ 0.01 %", "≤ 0.01 %", "≤ −00.00", "10 → >10")


class CandidatesView(LineColumns[Line]):
    """Filled bar: after. Outline: before. Right of it: both probabilities, change and ranks."""

    COLUMN = 450
    LEADING = 1

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__("Candidates for the word", parent)
        self._both = True
        self.setMinimumSize(300, 48)

    def set_lines(self, lines: Sequence[Line], both: bool) -> None:
        """Show other candidates; `both`: there is an after."""
        self._both = both
        self._put(lines, "; ".join(line.spoken() for line in lines))

    def _draw_column(
        self, painter: QtGui.QPainter, lines: Sequence[Line], rows: int, room: QtCore.QRectF
    ) -> None:
        present, metrics = theme.colours(self.palette()), painter.fontMetrics()
        wide = [metrics.horizontalAdvance(text) + 12 for text in NUMBERS]
        bold = painter.font()
        bold.setBold(True)
        measure = QtGui.QFontMetrics(bold).horizontalAdvance
        words = max(measure(line.word) for line in self._lines) + 30
        words = min(words, int(room.width() * 0.28))
        bars = max(0.0, room.width() - words - sum(wide) - 10)
        heading = metrics.height() + 3
        step = min((room.height() - heading) / rows, metrics.height() * 1.7)
        ends = [room.left() + words + bars + 10 + sum(wide[: n + 1]) for n in range(len(wide))]
        painter.setPen(QtGui.QColor(present.text_dim))
        for text, end, width in zip(HEADINGS, ends, wide, strict=True):
            box = QtCore.QRectF(end - width, 0, width, metrics.height())
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignRight, text)
        for number, line in enumerate(lines):
            row = QtCore.QRectF(room.left(), heading + number * step, room.width(), step)
            self._draw_word(painter, line, row, words, present)
            bar = QtCore.QRectF(row.left() + words, row.top(), bars, step)
            self._draw_bar(painter, line, bar, present)
            texts = (
                percent(line.before, line.below_before),
                percent(line.after, line.below_after) if self._both else "",
                line.change,
                line.ranks,
            )
            for place, (text, end, width) in enumerate(zip(texts, ends, wide, strict=True)):
                quiet = text.startswith(("≤", "≥")) or place == 3
                painter.setPen(QtGui.QColor(present.text_dim if quiet else present.text))
                box = QtCore.QRectF(end - width, row.top(), width, step)
                right = QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
                painter.drawText(box, right, text)

    def _draw_word(
        self,
        painter: QtGui.QPainter,
        line: Line,
        row: QtCore.QRectF,
        width: int,
        present: theme.Colours,
    ) -> None:
        font = painter.font()
        font.setBold(bool(line.chosen))
        painter.save()
        painter.setFont(font)
        painter.setPen(QtGui.QColor(present.text))
        word = painter.fontMetrics().elidedText(
            line.word, QtCore.Qt.TextElideMode.ElideRight, width - 20
        )
        middle = QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QtCore.QRectF(row.left(), row.top(), width, row.height()), middle, word)
        if line.chosen:
            painter.setPen(QtGui.QColor(present.selection))
            mark = QtCore.QRectF(row.left(), row.top(), width - 6, row.height())
            painter.drawText(mark, middle | QtCore.Qt.AlignmentFlag.AlignRight, line.chosen)
        painter.restore()

    def _draw_bar(
        self, painter: QtGui.QPainter, line: Line, room: QtCore.QRectF, present: theme.Colours
    ) -> None:
        high = min(room.height() - 4, 13.0)
        box = QtCore.QRectF(room.left(), room.center().y() - high / 2, room.width(), high)
        painter.fillRect(box, QtGui.QColor(present.canvas))
        if line.after is not None:
            box.setWidth(line.after * room.width())
            painter.fillRect(box, QtGui.QColor(present.visual))
        if line.before is not None:
            box.setWidth(line.before * room.width())
            painter.setPen(QtGui.QPen(QtGui.QColor(present.text), 1.2))
            painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
            painter.drawRect(box)


def percent(p: float | None, below: float | None) -> str:
    """A probability as people read it; "≤ 0.3 %" for one that is only known to lie below."""
    if p is not None:
        return _percent(p)
    if below is None or math.isnan(below):
        return "–"
    told = _percent(below)
    return told if told.startswith("<") else f"≤ {told}"


def _percent(p: float) -> str:
    if p and p < 1e-4:
        return "<0.01 %"
    return f"{p * 100:.2f} %" if p < 0.0995 else f"{p * 100:.1f} %"
