"""Layers × heads at a glance: one value or one small map for each head, drawn as one image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import inks
from var_studio.gui.widgets.atlas_pixels import (
    ROOMY,
    CellShape,
    map_indices,
    margin_of,
    paint_cells,
    value_indices,
)
from var_studio.gui.widgets.head_picking import NO_HEAD, Head, HeadPicking
from var_studio.gui.widgets.ticks import index_step

WIDEST = 1.9
"""A cell that shows one value may be this many times wider than high, or higher than wide."""


class AtlasView(HeadPicking):
    """All heads of the model: layer 0 on top, head 0 on the left.

    Click a head or drag over several; the number of a layer or head takes the whole row or
    column, or several when dragged along, and the corner all.
    """

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(140, 96)  # with a note below, still in a window of 1100 × 700
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName("Heads: layers from top to bottom, heads from left to right")
        self._shape = (0, 0)
        self._values: npt.NDArray[np.floating] | None = None
        self._limits: tuple[float, npt.NDArray[np.floating] | float] = (0.0, 1.0)
        self._colours = "viridis"
        self._aspect: float | None = None
        self._outlined: npt.NDArray[np.bool_] | None = None
        self._signed = False
        self._layer = -1
        self._indices: npt.NDArray[np.uint8] | None = None
        self._image: QtGui.QImage | None = None
        self._image_cell = CellShape(0, 0)
        self._axes_key: tuple[object, ...] = ()
        self._axes = QtGui.QPixmap()
        self._grid_key: tuple[object, ...] = ()
        self._grid = QtCore.QPoint(), CellShape(1, 1)

    # ------------------------------------------------------------------------ what to show
    def set_values(
        self, values: npt.NDArray[np.floating], low: float, high: float, colours: str
    ) -> None:
        """Show one value for each head, (L, H); NaN is drawn as an empty cell."""
        self._signed = False
        self._take(values, (low, high), colours, None)

    def set_maps(
        self,
        maps: npt.NDArray[np.floating],
        high: npt.NDArray[np.floating] | float,
        colours: str,
        aspect: float = 1.0,
        signed: bool = False,
    ) -> None:
        """Show a small map for each head, (L, H, rows, cols), from 0 to `high`: one or (L, H).

        `aspect` is the width of a map over its height, as it lies on the picture. `signed`: from
        -high to high.
        """
        if signed != self._signed:
            self._signed, self._indices = signed, None
        self._take(maps, (0.0, high), colours, aspect)

    def _take(
        self,
        values: npt.NDArray[np.floating],
        limits: tuple[float, npt.NDArray[np.floating] | float],
        colours: str,
        aspect: float | None,
    ) -> None:
        same = values is self._values and limits[0] == self._limits[0]
        # A limit of each head is an array: the same one, or another.
        one = isinstance(limits[1], float) and limits[1] == self._limits[1]
        same = same and (one or limits[1] is self._limits[1])
        if not same or aspect is None:
            self._indices = None
        if same and colours == self._colours and aspect == self._aspect:
            return
        shape = (int(values.shape[0]), int(values.shape[1]))
        if shape != self._shape:
            self._shape = shape
            self.forget_beyond(*shape)
        self._values, self._limits, self._colours, self._aspect = values, limits, colours, aspect
        self._image = None
        self.update()

    def set_outlined(self, outlined: npt.NDArray[np.bool_] | None) -> None:
        """Outline the heads where (L, H) is True: the image-centric ones."""
        before, self._outlined = self._outlined, outlined
        if outlined is before or (
            outlined is not None and before is not None and np.array_equal(outlined, before)
        ):
            return
        self._image = None
        self.update()

    def set_layer(self, layer: int) -> None:
        """Mark the number of the present layer."""
        if layer != self._layer:
            self._layer = layer
            self.update()

    # ------------------------------------------------------------------------ where heads are
    def between(self, first: Head, last: Head) -> frozenset[Head]:
        """The rectangle of two corners; from a margin, whole layers or columns; the corner, all."""
        layers, heads = (
            range(count) if one < 0 else range(min(one, max(other, 0)), max(one, other) + 1)
            for one, other, count in zip(first, last, self._shape, strict=True)
        )
        if max(first) < 0:
            return frozenset()
        return frozenset((layer, head) for layer in layers for head in heads)

    def moved(self, head: Head, down: int, right: int) -> Head:
        """The neighbour; at an edge the head itself."""
        layers, heads = self._shape
        return (
            min(max(head[0] + down, 0), max(layers - 1, 0)),
            min(max(head[1] + right, 0), max(heads - 1, 0)),
        )

    def row_of(self, head: Head) -> frozenset[Head]:
        """All heads of its layer."""
        return self.between((head[0], -1), (head[0], -1))

    def column_of(self, head: Head) -> frozenset[Head]:
        """The head of this number in every layer."""
        return self.between((-1, head[1]), (-1, head[1]))

    # ---------------------------------------------------------------------------- geometry
    def _font(self) -> QtGui.QFont:
        return inks.small_font(self.font())

    def grid(self) -> tuple[QtCore.QPoint, CellShape]:
        """Top left of the cells in this widget, and the size of one cell (device pixels)."""
        ratio = self.devicePixelRatioF()
        key = (self._shape, self._aspect, self.width(), self.height(), ratio)
        if key != self._grid_key:
            self._grid_key, self._grid = key, self._measure()
        return self._grid

    def _measure(self) -> tuple[QtCore.QPoint, CellShape]:
        layers, heads = self._shape
        metrics = QtGui.QFontMetrics(self._font())
        line = metrics.height()
        left = line + metrics.horizontalAdvance(str(max(layers - 1, 0))) + 12
        below = 2 * line + 4
        ratio = self.devicePixelRatioF()
        width = max(1.0, (self.width() - left - 4) * ratio / max(heads, 1))
        height = max(1.0, (self.height() - below - 4) * ratio / max(layers, 1))
        if self._aspect is not None:
            width, height = min(width, height * self._aspect), min(height, width / self._aspect)
        else:
            width, height = min(width, height * WIDEST), min(height, width * WIDEST)
        margin = 0
        if self._aspect is not None:
            margin = round(ratio * margin_of(min(width, height) / ratio))
        cell = CellShape(max(1, int(height)), max(1, int(width)), margin)
        spare = self.width() - left - 4 - cell.width * heads / ratio
        return QtCore.QPoint(left + int(max(spare, 0) / 2), 3), cell

    def cell_rect(self, layer: int, head: int) -> QtCore.QRectF:
        """Where a head is drawn, in this widget."""
        origin, cell = self.grid()
        ratio = self.devicePixelRatioF()
        width, height = cell.width / ratio, cell.height / ratio
        return QtCore.QRectF(origin.x() + head * width, origin.y() + layer * height, width, height)

    def hit(self, point: QtCore.QPointF, clamped: bool = False) -> Head | None:
        """(layer, head) at a point; -1 for either in the margin of numbers; None beyond.

        `clamped`: the nearest head, also from beyond the edges.
        """
        layers, heads = self._shape
        if not layers or not heads:
            return None
        origin, cell = self.grid()
        ratio = self.devicePixelRatioF()
        head = int((point.x() - origin.x()) * ratio // cell.width)
        layer = int((point.y() - origin.y()) * ratio // cell.height)
        if clamped:
            return min(max(layer, 0), layers - 1), min(max(head, 0), heads - 1)
        if head >= heads:
            return None
        return (layer if 0 <= layer < layers else -1, max(head, -1))

    # ----------------------------------------------------------------------------- drawing
    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the cells, the numbers along the edges, and the marks."""
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), self.palette().window())
        if self._values is None:
            return
        origin, cell = self.grid()
        if self._image is None or self._image_cell != cell:
            self._image, self._image_cell = self._draw_cells(cell), cell
        painter.drawImage(origin, self._image)
        self._draw_axes(painter)
        # Inside large cells (of maps, in their margin) and around small ones, so that the outlines
        # of image-centric heads, this one's and its neighbours', stay seen.
        roomy = cell.smaller >= (ROOMY if cell.margin else 24) * self.devicePixelRatioF()
        inset = 1.0 if cell.margin else 4.5
        margins = (inset, inset, -inset - 1, -inset - 1) if roomy else (-1.0, -1.0, 0.0, 0.0)
        marks = [self.cell_rect(*head).adjusted(*margins) for head in self._selected]
        casing = 0 if cell.margin and roomy else 255
        inks.outline(painter, marks, theme.colours(self.palette()).selection, 2.0, casing)
        if self.stretched is not None:
            inks.outline(painter, [self._band()], theme.colours(self.palette()).accent, 1.5, 120)
        if self.hasFocus() and self._selected != {self._cursor}:
            inks.outline(painter, [self.cell_rect(*self._cursor)], "#ffffff", 1.0)
        if self._hovered != NO_HEAD:
            inks.outline(painter, [self.cell_rect(*self._hovered)], "#ffffff", 1.0)
        if self.hasFocus():
            frame = QtCore.QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            inks.outline(painter, [frame], theme.colours(self.palette()).accent, 1.0, 0)

    def _draw_cells(self, cell: CellShape) -> QtGui.QImage:
        assert self._values is not None
        if self._aspect is None:
            low, high = self._limits
            indices = value_indices(self._values, low, float(high))
        else:
            if self._indices is None or self._image_cell != cell:
                high = self._limits[1]
                self._indices = map_indices(self._values, high, cell, signed=self._signed)
            indices = self._indices
        present = theme.colours(self.palette())
        ratio = self.devicePixelRatioF()
        pixels = paint_cells(
            indices,
            cell,
            self._colours,
            gap=present.window,
            empty=present.canvas,
            outlined=self._outlined,
            outline=present.image_centric,
            inner_line="#101010" if present.dark else "#ffffff",
            thick=round(ratio * 2) if cell.smaller >= 16 * ratio else max(1, round(ratio)),
        )
        height, width = pixels.shape
        image = QtGui.QImage(
            pixels.data, width, height, 4 * width, QtGui.QImage.Format.Format_RGB32
        ).copy()
        image.setDevicePixelRatio(ratio)
        return image

    def _band(self) -> QtCore.QRectF:
        """Around what a drag has come over."""
        assert self.stretched is not None
        (top, left), (bottom, right) = self.stretched
        layers, heads = self._shape
        top, bottom = (0, layers - 1) if top < 0 else sorted((top, max(bottom, 0)))
        left, right = (0, heads - 1) if left < 0 else sorted((left, max(right, 0)))
        return self.cell_rect(top, left).united(self.cell_rect(bottom, right))

    def _draw_axes(self, painter: QtGui.QPainter) -> None:
        """Numbers and names along the edges, kept as long as they stay the same."""
        columns = {head for _, head in self._selected}
        chosen = next(iter(columns)) if len(columns) == 1 else -1
        key = (self._grid_key, self._layer, chosen, self.palette().cacheKey())
        if key != self._axes_key:
            self._axes_key, self._axes = key, inks.clear_pixmap(self)
            on_axes = QtGui.QPainter(self._axes)
            self._draw_numbers(on_axes, chosen)
            on_axes.end()
        painter.drawPixmap(0, 0, self._axes)

    def _draw_numbers(self, painter: QtGui.QPainter, chosen: int) -> None:
        layers, heads = self._shape
        present = theme.colours(self.palette())
        plain, strong = self._font(), self._font()
        strong.setBold(True)
        metrics = QtGui.QFontMetrics(strong)
        line = metrics.height()
        first = self.cell_rect(0, 0)
        # Numbers: every row or every 2nd, 5th, ...; the present layer's number always.
        step = index_step(layers, first.height(), line)
        for layer in range(layers):
            here = layer == self._layer
            near = abs(layer - self._layer) * first.height() < line
            if not here and (layer % step or (near and step > 1)):
                continue
            row = self.cell_rect(layer, 0)
            box = QtCore.QRectF(0, row.center().y() - line / 2, row.left() - 5, line)
            painter.setFont(strong if here else plain)
            painter.setPen(QtGui.QColor(present.text if here else present.text_dim))
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignRight, str(layer))
        step = index_step(heads, first.width(), metrics.horizontalAdvance(str(heads)) + 6)
        bottom = self.cell_rect(layers - 1, 0).bottom()
        apart = metrics.horizontalAdvance(str(heads)) + 4
        for head in range(heads):
            here = head == chosen
            near = chosen >= 0 and abs(head - chosen) * first.width() < apart
            if not here and (head % step or (near and step > 1)):
                continue
            column = self.cell_rect(0, head)
            box = QtCore.QRectF(column.center().x() - 20, bottom + 2, 40, line)
            painter.setFont(strong if here else plain)
            painter.setPen(QtGui.QColor(present.text if here else present.text_dim))
            painter.drawText(box, QtCore.Qt.AlignmentFlag.AlignHCenter, str(head))
        painter.setFont(plain)
        painter.setPen(QtGui.QColor(present.text_dim))
        width = first.width() * heads
        painter.drawText(
            QtCore.QRectF(first.left(), bottom + line, width, line),
            QtCore.Qt.AlignmentFlag.AlignHCenter,
            "head",
        )
        painter.save()
        numbers = metrics.horizontalAdvance(str(layers - 1)) + 12
        painter.translate(first.left() - numbers, (first.top() + bottom) / 2)
        painter.rotate(-90)
        painter.drawText(QtCore.QPointF(-metrics.horizontalAdvance("layer") / 2, -1), "layer")
        painter.restore()

    # ------------------------------------------------------------------------------ events
    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Redraw in the colours of the new palette."""
        if event.type() == QtCore.QEvent.Type.PaletteChange:
            self._image = None
            self.update()
        elif event.type() == QtCore.QEvent.Type.FontChange:
            self._grid_key = self._axes_key = ()
            self.update()
        super().changeEvent(event)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Choose a head, a layer, a column, or all."""
        found = self.hit(event.position())
        if event.button() == QtCore.Qt.MouseButton.LeftButton and found is not None:
            self.begin(found, event.modifiers())

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Say which head lies under the pointer; with the button down, take those between."""
        found = self.hit(event.position())
        self.hover(found if found is not None and min(found) >= 0 else NO_HEAD)
        if event.buttons() & QtCore.Qt.MouseButton.LeftButton:
            nearest = self.hit(event.position(), clamped=True)
            if nearest is not None:
                self.stretch(nearest)
