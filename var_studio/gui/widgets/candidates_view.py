"""Candidates for a word as bars: their probabilities before and after, changes and ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets.line_columns import LineColumns
from var_studio.gui.widgets.ticks import number_text


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

    def numbers(self) -> dict[str, str]:
        """What stands under each heading."""
        return {
            "before": percent(self.before, self.below_before),
            "after": percent(self.after, self.below_after),
            "log p": nats(self.before, self.below_before),
            "log p after": nats(self.after, self.below_after),
            "Δ log p": self.change,
            "rank": self.ranks,
        }

    def spoken(self) -> str:
        """The line as a sentence."""
        change = f", log-probability {self.change}" if self.change else ""
        before, after = (
            percent(self.before, self.below_before),
            percent(self.after, self.below_after),
        )
        return f"{self.word}: {before} before, {after} after{change}, rank {self.ranks}"


# Heading -> the widest text in the column.
BEFORE = {"before": "≤ 9.9·10⁻⁹⁹ %"}
AFTER = {"after": "≤ 9.9·10⁻⁹⁹ %"}
LOGS_BEFORE = {"log p": "≤ −00.00"}
LOGS_AFTER = {"log p after": "≤ −00.00"}
CHANGE = {"Δ log p": "≤ −00.00"}
RANKS = {"rank": ">10 → >10"}
WITH_LOGS = 640
"""From this width on a column has room for log-probabilities (nats) as well."""


class CandidatesView(LineColumns[Line]):
    """Filled bar: after. Outline: before. Right of it: both probabilities, change and ranks."""

    COLUMN = 470
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
        shown = self._shown(room.width())
        wide = [
            max(metrics.horizontalAdvance(text), metrics.horizontalAdvance(name)) + 14
            for name, text in shown.items()
        ]
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
        for text, end, width in zip(shown, ends, wide, strict=True):
            box = QtCore.QRectF(end - width, 0, width, metrics.height())
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignRight, text)
        for number, line in enumerate(lines):
            row = QtCore.QRectF(room.left(), heading + number * step, room.width(), step)
            self._draw_word(painter, line, row, words, present)
            bar = QtCore.QRectF(row.left() + words, row.top(), bars, step)
            self._draw_bar(painter, line, bar, present)
            told = line.numbers()
            for name, end, width in zip(shown, ends, wide, strict=True):
                text = told[name]
                quiet = text.startswith(("≤", "≥")) or name in RANKS
                painter.setPen(QtGui.QColor(present.text_dim if quiet else present.text))
                box = QtCore.QRectF(end - width, row.top(), width, step)
                right = QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
                painter.drawText(box, right, text)

    def _shown(self, width: float) -> dict[str, str]:
        """The columns that there is something to say in, and room for."""
        if not self._both:
            return BEFORE | LOGS_BEFORE | RANKS
        logs = LOGS_BEFORE | LOGS_AFTER if width >= WITH_LOGS else {}
        return BEFORE | AFTER | logs | CHANGE | RANKS

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
    return f"≤ {_percent(below)}"


def nats(p: float | None, below: float | None) -> str:
    """The log of a probability; "≤ −9.21" for one that is only known to lie below."""
    known = below if p is None else p
    if known is None or math.isnan(known):
        return "–"
    log = math.log(known) if known > 0 else -math.inf
    text = "−∞" if math.isinf(log) else number_text(log) if log > -0.01 else f"−{-log:.2f}"
    return text if p is not None else f"≤ {text}"


def _percent(p: float) -> str:
    """99.9, 0.25, 1.3·10⁻⁵ %: a model that is sure of itself leaves little to the others."""
    if p >= 0.9995:
        # Rounded down: what is not certain is not written as 100 %.
        return f"{math.floor(p * 1e6 + 1e-6) / 1e4:g} %"
    if p < 1e-4:
        return f"{number_text(100 * p)} %"
    return f"{p * 100:.2f} %" if p < 0.0995 else f"{p * 100:.1f} %"
