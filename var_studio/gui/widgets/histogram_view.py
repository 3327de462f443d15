"""A histogram with log counts, token groups told apart, and τ as a line to drag.

Importing this loads pyqtgraph, a fifth of a second: import it when there is something to plot.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyqtgraph as pg
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import inks
from var_studio.gui.widgets.ticks import number_text, tick_values

if TYPE_CHECKING:
    from var_studio.analysis.histogram import PhiHistogram

# Smoothed bars have grey edges; Qt itself sends no more moves than the screen can show, and
# dropping some of them would leave τ behind the pointer.
pg.setConfigOptions(antialias=False, mouseRateLimit=-1)

BASE = math.log10(0.6)
"""Bottom of the log axis: a count of 1 still has some height."""
TALL = 150
"""From this height on there is room for the name of the axis, which the panel's title says too."""


class HistogramView(pg.PlotWidget):
    """φ of one layer: visual tokens as filled bars, text as an outline, BOS as ◆.

    The line is τ: drag it, or PageUp and PageDown; with Shift in small steps. The view stands
    still: from 0 to √D in every layer, so that layers compare.
    """

    tau_dragged = QtCore.Signal(float)
    tau_released = QtCore.Signal()
    bin_hovered = QtCore.Signal(int)
    """Bin under the pointer, -1 for none."""

    _made = False  # Qt resizes and repaints what is still being built

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        self._counts: PhiHistogram | None = None
        self._tau = 0.0
        self._bound = 1.0
        self._caption = ""
        self._pointer = QtCore.QPointF(-1, -1)
        self._axis = PhiAxis("bottom")
        super().__init__(
            parent, background=None, enableMenu=False, axisItems={"bottom": self._axis}
        )
        self.setMinimumSize(180, 72)
        self.setAccessibleName("Histogram of φ with the threshold τ")
        self._make_items()
        self._made = True
        self._wear_theme()

    def _make_items(self) -> None:
        """Everything in the scene, kept: an item that Python lets go would vanish from it."""
        plot = self.getPlotItem()
        plot.hideButtons()
        plot.setMouseEnabled(False, False)
        plot.disableAutoRange()
        self._box = plot.getViewBox()
        # Focus is the widget's; a focused box would take "+" and "−" from the window.
        self._box.setFlag(QtWidgets.QGraphicsItem.GraphicsItemFlag.ItemIsFocusable, False)
        self._box.sigResized.connect(self._fit)
        self.scene().setMoveDistance(2)
        self._left = plot.getAxis("left")
        self._left.setGrid(255)
        self._left.setStyle(tickAlpha=255)
        self._left.setZValue(-10)  # the grid lies behind the bars
        self._axis.setStyle(tickLength=3, tickTextOffset=1)
        none = pg.mkPen(None)
        self._side = pg.LinearRegionItem(movable=False, pen=none)
        self._bars = pg.BarGraphItem(x0=[], width=1.0, height=[], pen=none)
        self._outline = pg.PlotCurveItem([0.0, 1.0], [BASE], stepMode="center")
        self._stems = pg.PlotCurveItem(connect="pairs")
        self._bos = pg.ScatterPlotItem(symbol="d", size=12, antialias=True, useCache=False)
        self._limit = pg.InfiniteLine(1.0)
        self._line = pg.InfiniteLine(0.0, movable=True, bounds=(0.0, 1.0))
        self._line.setCursor(QtCore.Qt.CursorShape.SizeHorCursor)
        self._line.sigDragged.connect(self._dragged)
        self._line.sigPositionChangeFinished.connect(self._released)
        # Not the line's own marker, whose edge would be jagged.
        self._grip = pg.ScatterPlotItem(size=12, pen=none, antialias=True, useCache=False)
        self._label = TauLabel(self._line)
        items = (self._side, self._bars, self._outline, self._stems, self._bos, self._limit)
        for item in (*items, self._line, self._grip):
            self._box.addItem(item, ignoreBounds=True)

    def set_counts(self, counts: PhiHistogram, bound: float) -> None:
        """Show other counts. `bound`: the largest φ there can be, √D."""
        self._counts, self._bound = counts, bound
        self._axis.bound = bound
        self._limit.setValue(bound)
        self._line.setBounds((0.0, bound))
        edges, text = counts.edges, _heights(counts.text)
        steps = np.concatenate((edges[:1], edges, edges[-1:]))
        self._outline.setData(steps, np.concatenate(([BASE], text, [BASE])))
        first = np.flatnonzero(counts.bos)
        middles, tops = (edges[first] + edges[first + 1]) / 2, _heights(counts.bos[first])
        self._stems.setData(np.repeat(middles, 2), _between(np.full(len(first), BASE), tops))
        self._bos.setData(middles, tops)
        self._fit()

    def set_tau(self, tau: float, caption: str) -> None:
        """Move the line and say `caption` beside it."""
        if (tau, caption) != (self._tau, self._caption):
            self._tau, self._caption = tau, caption
            self.setAccessibleDescription(caption)
            self._show_tau()

    def _show_tau(self) -> None:
        self._line.setValue(self._tau)
        self._side.setRegion((self._tau, max(self._bound, self._tau)))
        self._label.setFormat(self._caption)
        low, high = self._box.viewRange()[1]
        self._grip.setData([self._line.value()], [low + 0.45 * (high - low)])

    @property
    def tau(self) -> float:
        """Where the line stands."""
        return self._tau

    # ---------------------------------------------------------------------------- geometry
    def plot_rect(self) -> QtCore.QRectF:
        """Where bars are drawn, in this widget."""
        return QtCore.QRectF(self._box.sceneBoundingRect())

    def x_of(self, phi: float) -> float:
        """Where a value of φ lies across this widget."""
        return float(self._box.mapViewToScene(QtCore.QPointF(phi, 0.0)).x())

    def phi_at(self, x: float) -> float:
        """The value of φ at a place across this widget, within 0 and the bound."""
        phi = self._box.mapSceneToView(QtCore.QPointF(x, 0.0)).x()
        return min(max(float(phi), 0.0), self._bound)

    def _fit(self) -> None:
        """Fit ranges, ticks and bars to the size in pixels."""
        counts = self._counts
        if counts is None or self._box.width() < 2 or self._box.height() < 2:
            return
        margin = 0.006 * self._bound  # the line is seen whole at either end
        most = max(int(counts.visual.max(initial=1)), int(counts.text.max(initial=1)), 10)
        strip = self._label.boundingRect().height()
        height = float(self._box.height())
        # A strip on top stays free of bars, for what the line says.
        share = max(height - strip, 0.5 * height) / height
        top = BASE + (math.log10(most) + 0.03 - BASE) / share
        self._box.setRange(
            xRange=(-margin, self._bound + margin), yRange=(BASE, top), padding=0, update=True
        )
        self._label.setPosition(1.0 - strip / 2 / height)
        powers = [(k, str(10**k)) for k in range(math.floor(math.log10(most)) + 1)]
        self._left.setTicks([powers])
        there = np.flatnonzero(counts.visual)
        widths = np.diff(counts.edges)[there]
        pixel = (self._bound + 2 * margin) / self._box.width()
        self._bars.setOpts(
            x0=counts.edges[there],
            width=np.where(widths > 4 * pixel, widths - pixel, np.maximum(widths, pixel)),
            y0=BASE,
            height=_heights(counts.visual[there]) - BASE,
        )
        self._show_tau()

    def resizeEvent(self, event: QtGui.QResizeEvent | None) -> None:
        """Name the axis where there is room."""
        super().resizeEvent(event)
        if self._made:
            self._size_axes()

    def _size_axes(self) -> None:
        # Fixed sizes: axes that grow with their numbers make the plot jump.
        metrics = QtGui.QFontMetrics(inks.small_font(self.font()))
        self._left.setWidth(metrics.horizontalAdvance("1000") + 9)
        self._axis.setHeight(metrics.height() * (2 if self.height() >= TALL else 1) + 6)
        self._axis.showLabel(self.height() >= TALL)
        beside = metrics.horizontalAdvance(self._axis.bound_text()) // 2 + 3
        self._axis.setStyle(hideOverlappingLabels=beside)
        self.getPlotItem().layout.setContentsMargins(0, 1, beside, 0)

    # ------------------------------------------------------------------------------- looks
    def _wear_theme(self) -> None:
        present = theme.colours(self.palette())
        small = inks.small_font(self.font())
        ink = pg.mkPen(present.text_dim)
        self.setBackground(self.palette().color(QtGui.QPalette.ColorRole.Window))
        self._left.setPen(None)
        self._left.setTickPen(present.border, style=QtCore.Qt.PenStyle.DotLine)
        self._axis.setPen(ink)
        self._axis.setLabel("sink-dimension value φ")
        self._axis.label.setFont(small)
        for axis in (self._left, self._axis):
            axis.setTextPen(ink)
            axis.setTickFont(small)
        shade = QtGui.QColor(present.sink)
        shade.setAlpha(26)
        self._side.setBrush(shade)
        self._bars.setOpts(brush=present.visual)
        self._outline.setPen(present.text, width=1.6)
        self._stems.setPen(present.bos, width=2)
        self._bos.setBrush(present.bos)
        self._bos.setPen(present.window)
        self._limit.setPen(present.text_dim, style=QtCore.Qt.PenStyle.DashLine)
        self._grip.setBrush(present.sink)
        self._line.setPen(present.sink, width=2)
        self._line.setHoverPen(present.sink, width=3)
        self._label.setColor(present.sink)
        self._label.setFont(small)
        self._size_axes()
        self._fit()

    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Wear the new palette or font."""
        super().changeEvent(event)
        kinds = (QtCore.QEvent.Type.PaletteChange, QtCore.QEvent.Type.FontChange)
        if event.type() in kinds and self._made:
            self._wear_theme()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the scene, and a frame while the keys go here."""
        super().paintEvent(event)
        if self.hasFocus():
            painter = QtGui.QPainter(self.viewport())
            frame = QtCore.QRectF(self.viewport().rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            inks.outline(painter, [frame], theme.colours(self.palette()).accent, 1.0, 0)

    # ------------------------------------------------------------------------------ events
    def _dragged(self) -> None:
        self.tau_dragged.emit(float(self._line.value()))

    def _released(self) -> None:
        """One undo step."""
        self.tau_released.emit()

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Say which bin lies under the pointer."""
        super().mouseMoveEvent(event)
        self._pointer = event.position()
        self.tell_hovered()

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """The pointer is on no bin any more."""
        super().leaveEvent(event)
        self._pointer = QtCore.QPointF(-1, -1)
        self.tell_hovered()

    def tell_hovered(self) -> None:
        """Say which bin lies under the pointer; anew after the counts have changed."""
        found, point = -1, self._pointer
        if self._counts is not None and self.plot_rect().contains(point):
            edges = self._counts.edges
            found = int(np.searchsorted(edges, self.phi_at(point.x()), side="right")) - 1
            found = found if 0 <= found < len(edges) - 1 else -1
        self.bin_hovered.emit(found)

    def focusInEvent(self, event: QtGui.QFocusEvent) -> None:
        """Show the frame."""
        super().focusInEvent(event)
        self.viewport().update()

    def focusOutEvent(self, event: QtGui.QFocusEvent) -> None:
        """Hide the frame."""
        super().focusOutEvent(event)
        self.viewport().update()

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
            event.ignore()  # the window's


class PhiAxis(pg.AxisItem):
    """Round numbers that keep apart, and the bound √D by its name."""

    bound = 1.0

    def bound_text(self) -> str:
        """What stands at the largest φ there can be."""
        return f"√D = {number_text(self.bound)}"

    def tickValues(
        self, minVal: float, maxVal: float, size: float
    ) -> list[tuple[float, list[float]]]:
        """Ticks for `size` pixels, as (spacing, values)."""
        metrics = QtGui.QFontMetrics(self.style["tickFont"] or QtGui.QFont())
        number, pixel = metrics.horizontalAdvance("00.0"), (maxVal - minVal) / size
        values = tick_values(0.0, self.bound, max(2, int(size // (number + 26))))
        room = (metrics.horizontalAdvance(self.bound_text()) / 2 + number / 2 + 6) * pixel
        values = [value for value in values if value < self.bound - room]
        return [(1.0, [*values, self.bound])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        """The numbers as people read them."""
        return [self.bound_text() if v == self.bound else number_text(v) for v in values]


class TauLabel(pg.InfLineLabel):
    """What the line says: right of it, or left of it where the right has no room."""

    GAP = 3

    def updatePosition(self) -> None:
        """Stand beside the line, within the plot."""
        super().updatePosition()
        box = self.line.getViewBox()
        width = self.boundingRect().width()
        if box is None or not width:
            return
        x = box.mapFromView(QtCore.QPointF(self.line.value(), 0.0)).x()
        left = x + self.GAP
        if left + width > box.width():
            left = max(0.0, x - self.GAP - width)
        self.setAnchor(((x - left) / width, 0.5))


def _heights(counts: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Where counts end on the log axis; an empty bin lies on its bottom."""
    return np.where(counts > 0, np.log10(np.maximum(counts, 1)), BASE)


def _between(
    low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.stack((low, high), axis=1).ravel()
