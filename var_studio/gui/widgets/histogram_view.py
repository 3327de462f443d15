"""A histogram with log counts, token groups told apart, and τ as a line to drag."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import inks
from var_studio.gui.widgets.ticks import number_text, tick_values

NEAR = 7
"""The line is caught within this many pixels."""
FLOOR = 0.6
"""Bottom of the log axis: a count of 1 still has some height."""


@dataclass(frozen=True)
class PhiCounts:
    """Counts of φ per bin and token group; `edges` (B + 1,), the rest (B,)."""

    edges: npt.NDArray[np.floating]
    visual: npt.NDArray[np.integer]
    text: npt.NDArray[np.integer]
    bos: npt.NDArray[np.integer]


class HistogramView(QtWidgets.QWidget):
    """φ of one layer: visual tokens as filled bars, text as an outline, the first token as ◆.

    The line is τ: drag it, or PageUp and PageDown; with Shift in small steps.
    """

    tau_dragged = QtCore.Signal(float)
    tau_released = QtCore.Signal()
    bin_hovered = QtCore.Signal(int)
    """Bin under the pointer, -1 for none."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(180, 96)
        self.setAccessibleName("Histogram of φ with the threshold τ")
        self._counts: PhiCounts | None = None
        self._tau = 0.0
        self._bound = 1.0
        self._caption = ""
        self._still: QtGui.QPixmap | None = None
        self._still_key: tuple[object, ...] = ()
        self._dragging = False
        self._hovered = -1

    def set_counts(self, counts: PhiCounts, bound: float) -> None:
        """Show other counts. `bound`: the largest φ there can be, √D."""
        self._counts, self._bound = counts, bound
        self._still = None
        self.update()

    def set_tau(self, tau: float, caption: str) -> None:
        """Move the line and say `caption` beside it."""
        if (tau, caption) != (self._tau, self._caption):
            self._tau, self._caption = tau, caption
            self.setAccessibleDescription(caption)
            self.update()

    @property
    def tau(self) -> float:
        """Where the line stands."""
        return self._tau

    # ---------------------------------------------------------------------------- geometry
    def plot(self) -> QtCore.QRectF:
        """Where bars are drawn, in this widget."""
        metrics = QtGui.QFontMetrics(inks.small_font(self.font()))
        line = metrics.height()
        left = metrics.horizontalAdvance("1000") + 10
        below = (1 if self._low() else 2) * line + 6
        width, height = self.width() - left - 12, self.height() - 2 * line - 8 - below
        return QtCore.QRectF(left, 2 * line + 8, max(20, width), max(20, height))

    def _low(self) -> bool:
        """Too low for the name of the axis, which the panel's title says as well."""
        return self.height() < 170

    def x_of(self, phi: float) -> float:
        """Where a value of φ lies across this widget."""
        plot = self.plot()
        return plot.left() + phi / self._bound * plot.width()

    def phi_at(self, x: float) -> float:
        """The value of φ at a place across this widget, within 0 and the bound."""
        plot = self.plot()
        return min(max((x - plot.left()) / plot.width(), 0.0), 1.0) * self._bound

    def _top(self) -> float:
        counts = self._counts
        assert counts is not None
        most = max(int(counts.visual.max(initial=1)), int(counts.text.max(initial=1)), 10)
        return 10 ** (math.log10(most) * 1.08)

    def _height(self, count: float, plot: QtCore.QRectF) -> float:
        share = math.log(max(count, FLOOR) / FLOOR) / math.log(self._top() / FLOOR)
        return share * plot.height()

    # ----------------------------------------------------------------------------- drawing
    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw axes, the three groups, the legend, and τ."""
        painter = QtGui.QPainter(self)
        if self._counts is None:
            return
        plot = self.plot()
        key = (self.width(), self.height(), self.palette().cacheKey(), self.font().key())
        if self._still is None or self._still_key != key:
            self._still_key, self._still = key, self._draw_still(plot)
        self._draw_sink_side(painter, plot)
        painter.drawPixmap(0, 0, self._still)
        painter.setFont(inks.small_font(self.font()))
        self._draw_tau(painter, plot)
        if self.hasFocus():
            frame = QtCore.QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            inks.outline(painter, [frame], theme.colours(self.palette()).accent, 1.0, 0)

    def _draw_still(self, plot: QtCore.QRectF) -> QtGui.QPixmap:
        """What stays while τ is dragged: axes, the three groups, the legend."""
        still = inks.clear_pixmap(self)
        painter = QtGui.QPainter(still)
        painter.setFont(inks.small_font(self.font()))
        self._draw_axes(painter, plot)
        self._draw_groups(painter, plot)
        self._draw_legend(painter, plot)
        painter.end()
        return still

    def _draw_axes(self, painter: QtGui.QPainter, plot: QtCore.QRectF) -> None:
        present = theme.colours(self.palette())
        metrics = painter.fontMetrics()
        line = metrics.height()
        grid, ink = QtGui.QColor(present.border), QtGui.QColor(present.text_dim)
        count = 1
        free = plot.bottom() + line
        while count <= self._top():
            y = plot.bottom() - self._height(count, plot)
            painter.setPen(QtGui.QPen(grid, 1, QtCore.Qt.PenStyle.DotLine))
            painter.drawLine(QtCore.QPointF(plot.left(), y), QtCore.QPointF(plot.right(), y))
            if y + line / 2 <= free:
                painter.setPen(ink)
                box = QtCore.QRectF(0, y - line / 2, plot.left() - 5, line)
                painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignRight, str(count))
                free = y - line / 2
            count *= 10
        painter.setPen(QtGui.QPen(ink, 1))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        most = max(2, int(plot.width() // (metrics.horizontalAdvance("00.0") + 26)))
        bound_text = f"√D = {number_text(self._bound)}"
        bound_left = plot.right() + 10 - metrics.horizontalAdvance(bound_text)
        for value in tick_values(0.0, self._bound, most):
            x, text = self.x_of(value), number_text(value)
            half = metrics.horizontalAdvance(text) / 2
            painter.drawLine(QtCore.QPointF(x, plot.bottom()), QtCore.QPointF(x, plot.bottom() + 3))
            if x + half + 6 < bound_left:
                painter.drawText(
                    QtCore.QPointF(x - half, plot.bottom() + 4 + metrics.ascent()), text
                )
        painter.drawText(
            QtCore.QPointF(bound_left, plot.bottom() + 4 + metrics.ascent()), bound_text
        )
        painter.setPen(QtGui.QPen(ink, 1, QtCore.Qt.PenStyle.DashLine))
        painter.drawLine(plot.topRight(), plot.bottomRight())
        painter.setPen(ink)
        if self._low():
            return
        below = QtCore.QRectF(plot.left(), plot.bottom() + 4 + line, plot.width(), line)
        painter.drawText(below, QtCore.Qt.AlignmentFlag.AlignHCenter, "sink-dimension value φ")

    def _draw_sink_side(self, painter: QtGui.QPainter, plot: QtCore.QRectF) -> None:
        colour = QtGui.QColor(theme.colours(self.palette()).sink)
        colour.setAlpha(26)
        side = QtCore.QRectF(plot)
        side.setLeft(min(self.x_of(self._tau), plot.right()))
        painter.fillRect(side, colour)

    def _draw_groups(self, painter: QtGui.QPainter, plot: QtCore.QRectF) -> None:
        counts, present = self._counts, theme.colours(self.palette())
        assert counts is not None
        xs = [self.x_of(float(edge)) for edge in counts.edges]
        bars = []
        for b in np.flatnonzero(counts.visual):
            height = self._height(int(counts.visual[b]), plot)
            width = max(1.0, xs[b + 1] - xs[b] - (1 if xs[b + 1] - xs[b] > 4 else 0))
            bars.append(QtCore.QRectF(xs[b], plot.bottom() - height, width, height))
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(present.visual))
        painter.drawRects(bars)
        painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
        painter.setPen(QtGui.QPen(QtGui.QColor(present.text), 1.6))
        painter.drawPolyline(self._steps(counts.text, xs, plot))
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        for b in np.flatnonzero(counts.bos):
            middle = (xs[b] + xs[b + 1]) / 2
            y = plot.bottom() - self._height(int(counts.bos[b]), plot)
            painter.setPen(QtGui.QPen(QtGui.QColor(present.bos), 2))
            painter.drawLine(QtCore.QPointF(middle, plot.bottom()), QtCore.QPointF(middle, y))
            self._diamond(painter, QtCore.QPointF(middle, y))
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing, False)

    def _steps(
        self, counts: npt.NDArray[np.integer], xs: list[float], plot: QtCore.QRectF
    ) -> QtGui.QPolygonF:
        """The outline over the bins; where a run of empty bins is, it lies on the axis."""
        points = [QtCore.QPointF(xs[0], plot.bottom())]
        for b, count in enumerate(counts):
            y = plot.bottom() - (self._height(int(count), plot) if count else 0.0)
            if y != points[-1].y():
                points += [QtCore.QPointF(xs[b], points[-1].y()), QtCore.QPointF(xs[b], y)]
        points += [QtCore.QPointF(xs[-1], points[-1].y()), QtCore.QPointF(xs[-1], plot.bottom())]
        return QtGui.QPolygonF(points)

    def _diamond(self, painter: QtGui.QPainter, at: QtCore.QPointF) -> None:
        present = theme.colours(self.palette())
        painter.setPen(QtGui.QPen(QtGui.QColor(present.window), 1))
        painter.setBrush(QtGui.QColor(present.bos))
        r = 5.0
        x, y = at.x(), at.y()
        corners = [(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
        painter.drawPolygon([QtCore.QPointF(*corner) for corner in corners])
        painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)

    def _draw_legend(self, painter: QtGui.QPainter, plot: QtCore.QRectF) -> None:
        counts, present = self._counts, theme.colours(self.palette())
        assert counts is not None
        metrics = painter.fontMetrics()
        x, middle = plot.left(), 2 + metrics.height() / 2
        for kind, name in (
            ("visual", "visual tokens"),
            ("text", "text tokens"),
            ("bos", "first token"),
        ):
            if kind == "visual":
                painter.fillRect(QtCore.QRectF(x, middle - 4, 10, 9), QtGui.QColor(present.visual))
            elif kind == "text":
                painter.setPen(QtGui.QPen(QtGui.QColor(present.text), 1.6))
                painter.drawRect(QtCore.QRectF(x, middle - 4, 9, 8))
            else:
                painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
                self._diamond(painter, QtCore.QPointF(x + 5, middle))
                painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing, False)
            painter.setPen(QtGui.QColor(present.text_dim))
            text = f"{name}"
            painter.drawText(QtCore.QPointF(x + 15, 2 + metrics.ascent()), text)
            x += 15 + metrics.horizontalAdvance(text) + 16
        painter.setPen(QtGui.QColor(present.text_dim))
        scale = "count, log scale"
        left = plot.right() - metrics.horizontalAdvance(scale)
        if left > x:
            painter.drawText(QtCore.QPointF(left, 2 + metrics.ascent()), scale)

    def _draw_tau(self, painter: QtGui.QPainter, plot: QtCore.QRectF) -> None:
        present = theme.colours(self.palette())
        metrics = painter.fontMetrics()
        x = min(self.x_of(self._tau), plot.right())
        ink = QtGui.QColor(present.sink)
        top = plot.top() - 3
        painter.setPen(QtGui.QPen(ink, 3 if self._dragging else 2))
        painter.drawLine(QtCore.QPointF(x, top), QtCore.QPointF(x, plot.bottom()))
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(ink)
        grip = QtCore.QRectF(x - 4, plot.center().y() - 9, 8, 18)
        painter.drawRoundedRect(grip, 3, 3)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing, False)
        width = metrics.horizontalAdvance(self._caption)
        left = min(max(x + 6, plot.left()), plot.right() - width)
        if x + 6 + width > plot.right():
            left = max(plot.left(), x - 6 - width)
        painter.setPen(ink)
        painter.drawText(QtCore.QPointF(left, plot.top() - metrics.descent() - 1), self._caption)

    # ------------------------------------------------------------------------------ events
    def _on_line(self, point: QtCore.QPointF) -> bool:
        return self._counts is not None and abs(point.x() - self.x_of(self._tau)) <= NEAR

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Catch the line."""
        if event.button() == QtCore.Qt.MouseButton.LeftButton and self._on_line(event.position()):
            self._dragging = True
            self.update()

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Move τ while dragging; else show that the line can be caught."""
        if self._dragging:
            self.tau_dragged.emit(self.phi_at(event.position().x()))
            return
        shape = QtCore.Qt.CursorShape
        near = self._on_line(event.position())
        self.setCursor(shape.SizeHorCursor if near else shape.ArrowCursor)
        self._hover(event.position())

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """Let the line go: one undo step."""
        if self._dragging and event.button() == QtCore.Qt.MouseButton.LeftButton:
            self._dragging = False
            self.update()
            self.tau_released.emit()

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """The pointer is on no bin any more."""
        self._hover(QtCore.QPointF(-1, -1))

    def _hover(self, point: QtCore.QPointF) -> None:
        found = -1
        if self._counts is not None and self.plot().contains(point):
            edges = self._counts.edges
            found = int(np.searchsorted(edges, self.phi_at(point.x()), side="right")) - 1
            found = found if 0 <= found < len(edges) - 1 else -1
        if found != self._hovered:
            self._hovered = found
            self.bin_hovered.emit(found)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """PageUp and PageDown move τ by 1 % of its range, with Shift by 0.1 %."""
        key = event.key()
        if key in (QtCore.Qt.Key.Key_PageUp, QtCore.Qt.Key.Key_PageDown):
            fine = event.modifiers() & QtCore.Qt.KeyboardModifier.ShiftModifier
            step = self._bound * (0.001 if fine else 0.01)
            step = step if key == QtCore.Qt.Key.Key_PageUp else -step
            self.tau_dragged.emit(min(max(self._tau + step, 0.0), self._bound))
            if not event.isAutoRepeat():
                self.tau_released.emit()
        else:
            super().keyPressEvent(event)
