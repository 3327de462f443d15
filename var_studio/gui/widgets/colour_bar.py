"""The colours of a map with numbers, and a pointed end where values lie beyond it."""

from __future__ import annotations

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.analysis.scale import placed
from var_studio.gui.widgets import inks
from var_studio.gui.widgets.colour_maps import indexed_colours
from var_studio.gui.widgets.ticks import number_text, tick_values

BAR = 9
POINT = 8


class ColourBar(QtWidgets.QWidget):
    """A horizontal bar of the colours from low to high, a quantity's name and round numbers."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._limits = (0.0, 1.0)
        self._clipped = False
        self._colours = "viridis"
        self._label = ""
        self._gamma = 1.0
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Colour bar")

    def set_scale(
        self,
        low: float,
        high: float,
        colours: str,
        label: str,
        clipped: bool = False,
        gamma: float = 1.0,
    ) -> None:
        """Show another scale. `clipped`: some value lies beyond an end, which gets a point. With a
        gamma the numbers stand where their colours are."""
        scale = (low, high), colours, label, clipped, gamma
        if scale == (self._limits, self._colours, self._label, self._clipped, self._gamma):
            return
        self._limits, self._colours, self._label, self._clipped, self._gamma = scale
        bent = "" if gamma == 1.0 else f", gamma {gamma:g}"
        words = f"{label} from {number_text(low)} to {number_text(high)}{bent}"
        self.setAccessibleDescription(words)
        self.setToolTip(words)
        self.update()

    def set_empty(self, words: str) -> None:
        """Show no scale, for there are no values; `words` say so."""
        self._colours = ""
        self.setAccessibleDescription(words)
        self.setToolTip(words)
        self.update()

    def sizeHint(self) -> QtCore.QSize:
        """The bar with a line of numbers under it."""
        return QtCore.QSize(160, BAR + self.fontMetrics().height() + 5)

    def minimumSizeHint(self) -> QtCore.QSize:
        """As high as wanted, as narrow as must be."""
        return QtCore.QSize(60, self.sizeHint().height())

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the name left, the bar right of it, numbers below the bar."""
        if not self._colours:
            return
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setFont(inks.small_font(self.font()))
        metrics = painter.fontMetrics()
        painter.setPen(inks.faint(self.palette()))
        label = self._label
        if metrics.horizontalAdvance(label) > self.width() * 0.4:
            # The unit in brackets gives way first; the tooltip has all of it.
            label = label.partition(" (")[0]
        name = min(metrics.horizontalAdvance(label) + 2, int(self.width() * 0.5))
        painter.drawText(
            QtCore.QRectF(2, 0, name + 2, BAR + 4),
            QtCore.Qt.AlignmentFlag.AlignVCenter,
            metrics.elidedText(label, QtCore.Qt.TextElideMode.ElideRight, name),
        )
        end = metrics.horizontalAdvance("0.000") // 2
        bar = QtCore.QRectF(name + 12, 2, self.width() - name - 12 - end - POINT, BAR)
        if bar.width() < 12:
            return
        self._draw_colours(painter, bar)
        self._draw_numbers(painter, bar, metrics)

    def _draw_colours(self, painter: QtGui.QPainter, bar: QtCore.QRectF) -> None:
        colours = indexed_colours(self._colours)
        image = QtGui.QImage(255, 1, QtGui.QImage.Format.Format_RGB32)
        pixels = np.frombuffer(image.bits(), dtype=np.uint32)
        pixels[:255] = np.array(colours[1:], dtype=np.uint32)
        painter.drawImage(bar, image)
        low, high = self._limits
        ends = [(bar.right(), POINT, colours[255])]
        if low < 0 < high:
            ends.append((bar.left(), -POINT, colours[1]))
        if self._clipped:
            painter.setPen(QtCore.Qt.PenStyle.NoPen)
            for x, out, colour in ends:
                painter.setBrush(QtGui.QColor(colour))
                middle = bar.center().y()
                painter.drawPolygon(
                    [
                        QtCore.QPointF(x, bar.top()),
                        QtCore.QPointF(x + out, middle),
                        QtCore.QPointF(x, bar.bottom()),
                    ]
                )
        painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)

    def _draw_numbers(
        self, painter: QtGui.QPainter, bar: QtCore.QRectF, metrics: QtGui.QFontMetrics
    ) -> None:
        low, high = self._limits
        widest = metrics.horizontalAdvance("−0.0000") + 8
        ticks = tick_values(low, high, max(1, int(bar.width() // widest)))
        digits = 3
        if low < 0 < high and len(ticks) < 3:
            ticks, digits = [low, 0.0, high], 2
        texts = [number_text(value, digits) for value in ticks]
        wide = max(metrics.horizontalAdvance(text) for text in texts)
        half = bar.width() / 2 + min(wide / 2, POINT + 8)
        if low == -high and half < wide + 6 + metrics.horizontalAdvance("0") / 2:
            # No room for both ends: they differ only by their sign.
            ticks, texts = [high], [f"±{number_text(high, digits)}"]
        painter.setPen(inks.faint(self.palette()))
        free = -1e9
        for value, text in zip(ticks, texts, strict=True):
            place = float(placed(np.array(value), low, high, self._gamma))
            x = bar.left() + place * bar.width()
            width = metrics.horizontalAdvance(text)
            left = min(max(x - width / 2, bar.left() - POINT - 8), self.width() - width)
            if left < free:
                continue
            free = left + width + 6
            painter.drawLine(QtCore.QPointF(x, bar.bottom()), QtCore.QPointF(x, bar.bottom() + 3))
            painter.drawText(QtCore.QPointF(left, bar.bottom() + 3 + metrics.ascent()), text)
