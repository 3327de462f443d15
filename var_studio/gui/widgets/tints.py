"""Tints behind words: one colour of the theme, the stronger the larger the value."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import inks

LEAST = 0.02
"""A value closer to 0 than this leaves the word untinted."""
BAR = 10


@dataclass(frozen=True, slots=True)
class Hues:
    """Roles of the theme for values above and below 0."""

    above: str = "visual"
    below: str = "bos"


def tint(shade: float, hues: Hues, present: theme.Colours) -> QtGui.QColor:
    """The colour behind a word for a value from -1 to 1; clear near 0. Words stay legible on it."""
    colour = QtGui.QColor(getattr(present, hues.above if shade >= 0 else hues.below))
    size = min(abs(shade), 1.0)
    strongest = 0.46 if present.dark else 0.62
    colour.setAlphaF(0.0 if size < LEAST else 0.05 + (strongest - 0.05) * size)
    return colour


class TintBar(QtWidgets.QWidget):
    """The tints from the least to the largest value between two numbers, after the quantity's
    name."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._name, self._ends, self._hues, self._centred = "", ("0", "1"), Hues(), False
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Fixed, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Colours of the words")

    def set_scale(self, name: str, low: str, high: str, hues: Hues, centred: bool) -> None:
        """`low`, `high`: the numbers at the ends; `centred`: 0 is in the middle."""
        scale = name, (low, high), hues, centred
        if scale == (self._name, self._ends, self._hues, self._centred):
            return
        self._name, self._ends, self._hues, self._centred = scale
        self.setAccessibleDescription(self.text())
        self.setToolTip(self.text())
        self.updateGeometry()
        self.update()

    def text(self) -> str:
        """The scale in words."""
        return f"{self._name} from {self._ends[0]} to {self._ends[1]}"

    def sizeHint(self) -> QtCore.QSize:
        """Name, numbers and a bar that is long enough to compare with."""
        metrics = QtGui.QFontMetrics(inks.small_font(self.font()))
        words = sum(metrics.horizontalAdvance(word) for word in (self._name, *self._ends))
        return QtCore.QSize(words + 130, metrics.height() + 6)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the name, the least number, the bar, the largest number."""
        painter = QtGui.QPainter(self)
        painter.setFont(inks.small_font(self.font()))
        metrics, present = painter.fontMetrics(), theme.colours(self.palette())
        low, high = (metrics.horizontalAdvance(word) for word in self._ends)
        name = metrics.horizontalAdvance(self._name)
        left = name + 10 + low + 6
        bar = QtCore.QRectF(left, (self.height() - BAR) / 2, self.width() - left - high - 8, BAR)
        painter.setPen(inks.faint(self.palette()))
        line = QtCore.QRectF(0, 0, name + 2, self.height())
        middle = QtCore.Qt.AlignmentFlag.AlignVCenter
        painter.drawText(line, middle, self._name)
        line = QtCore.QRectF(name + 10, 0, low + 2, self.height())
        painter.drawText(line, middle, self._ends[0])
        line = QtCore.QRectF(bar.right() + 6, 0, high + 2, self.height())
        painter.drawText(line, middle, self._ends[1])
        painter.fillRect(bar, QtGui.QColor(present.surface))
        steps = max(int(bar.width()), 1)
        for step in range(steps):
            share = (step + 0.5) / steps
            shade = 2 * share - 1 if self._centred else share
            column = QtCore.QRectF(bar.left() + step, bar.top(), 1, bar.height())
            painter.fillRect(column, tint(shade, self._hues, present))
        painter.setPen(QtGui.QColor(present.unseen))
        painter.drawRect(bar)
        if self._centred:
            x = bar.center().x()
            painter.drawLine(QtCore.QLineF(x, bar.top() - 2, x, bar.bottom() + 2))

    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Wear the new palette or font."""
        super().changeEvent(event)
        self.updateGeometry()
        self.update()
