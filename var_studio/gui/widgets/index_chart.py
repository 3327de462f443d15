"""Curves and bars over layers or over words: one place for each, to be clicked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets.chart import Chart
from var_studio.gui.widgets.chart_axes import Axis

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Curve:
    """Values (n,), NaN where there is none, with a band from `low` to `high`; `colour` is a role of
    the theme."""

    values: Floats
    colour: str
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True)
class Bars:
    """Values (n,) as bars from 0 up; NaN and 0 leave none."""

    values: Floats
    colour: str


class IndexChart(Chart):
    """n places side by side. `words`: what to write under them in place of their numbers, as far
    as they keep apart."""

    index_clicked = QtCore.Signal(int)
    index_hovered = QtCore.Signal(int)
    """The place under the pointer, -1 for none."""

    def __init__(self, name: str, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(name, parent)
        self._curves: tuple[Curve, ...] = ()
        self._bars: tuple[Bars, ...] = ()
        self._words: tuple[str, ...] | None = None
        self._current = -1
        self.count = 1
        self.clicked.connect(self._click)
        self.hovered.connect(self._hover)

    def set_places(
        self, count: int, x_name: str, y_axis: Axis, words: Sequence[str] | None = None
    ) -> None:
        """Tell how many places there are, what they are, and the vertical axis."""
        self.count = max(count, 1)
        self._words = None if words is None else tuple(words)
        self.set_axes(Axis(-0.5, self.count - 0.5, x_name, whole=True), y_axis)
        self.update()

    def set_marks(self, *marks: Curve | Bars, current: int = -1) -> None:
        """Show curves and bars (n,); `current`: the place that is selected."""
        self._curves = tuple(mark for mark in marks if isinstance(mark, Curve))
        self._bars = tuple(mark for mark in marks if isinstance(mark, Bars))
        self._current = current
        self.update()

    def index_at(self, point: QtCore.QPointF) -> int:
        """The place nearest to a point across this widget."""
        return min(max(round(self.value_at(point)[0]), 0), self.count - 1)

    # ----------------------------------------------------------------------------- drawing
    def draw_marks(
        self, painter: QtGui.QPainter, room: QtCore.QRectF, present: theme.Colours
    ) -> None:
        """The selected place, then bars, bands, curves."""
        step = room.width() / self.count
        if 0 <= self._current < self.count:
            shade = QtGui.QColor(present.selection)
            shade.setAlpha(60)
            left = room.left() + self._current * step
            column = QtCore.QRectF(left, room.top(), max(step, 2.0), room.height())
            painter.fillRect(column, shade)
        for bars in self._bars:
            self._draw_bars(painter, room, bars, QtGui.QColor(getattr(present, bars.colour)))
        if self._bars and 0 <= self._current < self.count:
            # A bar hides the shade behind it.
            wide = max(step, 5.0)
            left = room.left() + (self._current + 0.5) * step - wide / 2
            frame = QtCore.QRectF(left, room.top(), wide, room.height())
            painter.setPen(QtGui.QPen(QtGui.QColor(present.selection), 1.6))
            painter.setBrush(QtCore.Qt.BrushStyle.NoBrush)
            painter.drawRect(frame)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        for curve in self._curves:
            self._draw_curve(painter, room, curve, QtGui.QColor(getattr(present, curve.colour)))

    def _draw_bars(
        self, painter: QtGui.QPainter, room: QtCore.QRectF, bars: Bars, colour: QtGui.QColor
    ) -> None:
        step = room.width() / self.count
        gap = min(0.2 * step, 3.0)
        heights = np.nan_to_num(self.y_axis.shares(bars.values)) * room.height()
        boxes = []
        for index in np.flatnonzero(heights > 0):
            left, right = (round(room.left() + (index + side) * step) for side in (0, 1))
            high = max(round(float(heights[index])), 1)
            wide = max(right - left - round(gap), 1)
            boxes.append(QtCore.QRect(left, round(room.bottom()) - high, wide, high))
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawRects(boxes)

    def _draw_curve(
        self, painter: QtGui.QPainter, room: QtCore.QRectF, curve: Curve, colour: QtGui.QColor
    ) -> None:
        step = room.width() / self.count
        across = room.left() + (np.arange(self.count) + 0.5) * step

        def down(values: Floats) -> npt.NDArray[np.float64]:
            return np.asarray(room.bottom() - self.y_axis.shares(values) * room.height())

        runs = _runs(np.isfinite(curve.values))
        if curve.low is not None and curve.high is not None:
            shade = QtGui.QColor(colour)
            shade.setAlpha(60)
            painter.setPen(QtCore.Qt.PenStyle.NoPen)
            painter.setBrush(shade)
            low, high = down(curve.low), down(curve.high)
            for run in runs:
                # A place that stands alone has no width of its own.
                alone = run.stop - run.start == 1
                there = across[run] + np.array([-1.0, 1.0]) if alone else across[run]
                over, under = (np.broadcast_to(v[run], there.shape) for v in (high, low))
                edge = np.concatenate((over, under[::-1]))
                painter.drawPolygon(_points(np.concatenate((there, there[::-1])), edge))
        painter.setPen(QtGui.QPen(colour, 1.8))
        middle = down(curve.values)
        for run in runs:
            painter.drawPolyline(_points(across[run], middle[run]))
        size = 5.0 if step >= 9 else 0.0
        round_cap = QtCore.Qt.PenCapStyle.RoundCap
        for run in runs:
            # A layer that stands alone has no line to be seen by.
            wide = size or (4.0 if run.stop - run.start == 1 else 0.0)
            if wide:
                pen = QtGui.QPen(colour, wide, QtCore.Qt.PenStyle.SolidLine, round_cap)
                painter.setPen(pen)
                painter.drawPoints(_points(across[run], middle[run]))

    def _draw_columns(self, painter: QtGui.QPainter, room: QtCore.QRectF) -> None:
        if self._words is None:
            super()._draw_columns(painter, room)
            return
        present, metrics = theme.colours(self.palette()), painter.fontMetrics()
        step = room.width() / self.count
        # The selected word first: it is never the one that has no room.
        order = [self._current] if 0 <= self._current < len(self._words) else []
        order += [index for index in range(len(self._words)) if index != self._current]
        taken: list[QtCore.QRectF] = []
        for index in order:
            text = metrics.elidedText(
                self._words[index], QtCore.Qt.TextElideMode.ElideRight, max(int(step), 90)
            )
            width = metrics.horizontalAdvance(text) + 2
            left = room.left() + (index + 0.5) * step - width / 2
            left = min(max(left, 0.0), self.width() - width)
            box = QtCore.QRectF(left, room.bottom() + 4, width, metrics.height())
            if any(box.adjusted(-3, 0, 3, 0).intersects(other) for other in taken):
                continue
            taken.append(box)
            painter.setPen(
                QtGui.QColor(present.text if index == self._current else present.text_dim)
            )
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignCenter, text)

    # ------------------------------------------------------------------------------ events
    def _click(self, point: QtCore.QPointF, _: bool) -> None:
        room = self.plot_rect()
        if room.left() <= point.x() <= room.right():
            self.index_clicked.emit(self.index_at(point))

    def _hover(self, point: QtCore.QPointF | None) -> None:
        self.index_hovered.emit(-1 if point is None else self.index_at(point))


def _runs(known: npt.NDArray[np.bool_]) -> list[slice]:
    """Where values follow each other without a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], known, [False])).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _points(across: Floats, down: Floats) -> QtGui.QPolygonF:
    points = [QtCore.QPointF(x, y) for x, y in zip(across.tolist(), down.tolist(), strict=True)]
    return QtGui.QPolygonF(points)
