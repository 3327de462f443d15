"""One heat map over one picture: what it shows, its zoom, and what the mouse and keys do on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import heat_paint, inks
from var_studio.gui.widgets.heat_keys import HeatKeys
from var_studio.gui.widgets.heat_paint import Scale
from var_studio.gui.widgets.heat_scene import HeatScene
from var_studio.gui.widgets.zoom import Zoom

_CELL = "#ffffff"
_FAR = 3.0
"""Pixels between two points of a brush stroke that are looked up."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A region on the picture: its visual tokens, its colour, whether it is the active one."""

    tokens: tuple[int, ...]
    colour: str
    active: bool


class HeatView(HeatKeys):
    """A picture with a map of values on its visual tokens.

    `tool` "select": a click picks a cell, dragging moves the picture. "rectangle": dragging draws
    one. "brush", "erase": dragging passes over cells. The wheel zooms, the middle or right button
    moves, a double click shows the whole picture. Keys: see HeatKeys.
    """

    def __init__(self, zoom: Zoom | None = None, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(zoom, parent)
        self.zoom.changed.connect(self._moved)
        self.setMouseTracking(True)
        self.setMinimumSize(96, 72)
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setContextMenuPolicy(QtCore.Qt.ContextMenuPolicy.PreventContextMenu)
        self._bounds = QtCore.QRectF()
        self._values: npt.NDArray[np.floating] | None = None
        self._scale = Scale()
        self._sinks: npt.NDArray[np.bool_] | None = None
        self._cells_border: list[QtCore.QLineF] | None = None
        self._overlays: tuple[Overlay, ...] = ()
        self._overlay_borders: list[list[QtCore.QLineF]] | None = None
        self._opacity = 0.75
        self._smooth = False
        self._grey = False
        self._sentence = ""
        self._maps: list[QtGui.QImage] | None = None
        self._ground: QtGui.QPixmap | None = None
        self._pressed: QtCore.QPointF | None = None
        self._pointer: QtCore.QPointF | None = None
        self._button = QtCore.Qt.MouseButton.NoButton
        self._dragging, self._on_bare = False, ""
        self._box: QtCore.QRectF | None = None

    # ------------------------------------------------------------------------ what to show
    def set_scene(self, scene: HeatScene | None) -> None:
        """Show another picture or other grids of it."""
        self._scene = scene
        self._bounds = scene.bounds if scene else QtCore.QRectF()
        self._maps = self._ground = self._cells_border = self._overlay_borders = None
        self._anchor = -1
        self.update()

    def set_map(
        self,
        values: npt.NDArray[np.floating],
        low: float,
        high: float,
        colours: str,
        gamma: float = 1.0,
    ) -> None:
        """Show values (V,) of the visual tokens between two limits; NaN leaves the cell bare."""
        scale = Scale(low, high, colours, gamma)
        same = self._values is not None and np.array_equal(values, self._values, equal_nan=True)
        if same and scale == self._scale:
            return
        self._values, self._scale = values, scale
        self._maps = None
        self.update()

    def set_sinks(self, sinks: npt.NDArray[np.bool_] | None) -> None:
        """Box the visual tokens where (V,) bool is True; None: no boxes."""
        self._sinks = sinks
        self.update()

    def set_cells(self, cells: Collection[int]) -> None:
        """Outline the picked cells."""
        if cells != self._cells:
            self._cells = frozenset(cells)
            self._cells_border = None
            self.update()

    def set_overlays(self, overlays: Sequence[Overlay]) -> None:
        """Draw regions."""
        if tuple(overlays) != self._overlays:
            self._overlays = tuple(overlays)
            self._overlay_borders = None
            self.update()

    def set_hovered(self, token: int) -> None:
        """Show where the pointer is in a linked view: visual token k, -1 for none."""
        if token != self._hovered:
            self._hovered = token
            self.update()

    def set_sentence(self, sentence: str) -> None:
        """Say in the middle why there is no map; "" where there is one."""
        if sentence != self._sentence:
            self._sentence = sentence
            self.setAccessibleDescription(sentence)
            self.update()

    def set_opacity(self, opacity: float) -> None:
        """Opacity of the map over the picture, 0 to 1."""
        if opacity != self._opacity:
            self._opacity = opacity
            self.update()

    def set_grey_picture(self, grey: bool) -> None:
        """Show the picture without its colours, so that those of the map alone mean something."""
        if grey != self._grey:
            self._grey = grey
            self._ground = None
            self.update()

    def set_smooth(self, smooth: bool) -> None:
        """Interpolate between the cells' middles, or show each cell as one colour."""
        if smooth != self._smooth:
            self._smooth = smooth
            self._maps = None
            self.update()

    def set_tool(self, tool: str) -> None:
        """What the left button does: "select", "rectangle", "brush" or "erase"."""
        if tool != self._tool:
            self._tool = tool
            self._anchor = -1
            shape = QtCore.Qt.CursorShape
            self.setCursor(shape.ArrowCursor if tool == "select" else shape.CrossCursor)
            self.update()

    def set_brush(self, across: int) -> None:
        """How many cells across the brush paints or erases."""
        if across != self._brush:
            self._brush = across
            self.update()

    # ---------------------------------------------------------------------------- geometry
    def transform(self) -> QtGui.QTransform:
        """From scene coordinates (pixels of the picture) to this widget."""
        bounds, zoom = self._bounds, self.zoom
        if bounds.isEmpty() or self.width() < 1 or self.height() < 1:
            return QtGui.QTransform()
        scale = zoom.factor * min(self.width() / bounds.width(), self.height() / bounds.height())
        middle_x = bounds.left() + zoom.centre.x() * bounds.width()
        middle_y = bounds.top() + zoom.centre.y() * bounds.height()
        return QtGui.QTransform(
            *(scale, 0, 0, scale),
            *(self.width() / 2 - middle_x * scale, self.height() / 2 - middle_y * scale),
        )

    def to_scene(self, point: QtCore.QPointF) -> QtCore.QPointF:
        """A point of this widget in scene coordinates."""
        inverse, _ = self.transform().inverted()
        return inverse.map(point)

    def token_at(self, point: QtCore.QPointF) -> int:
        """Visual token k at a point of this widget; -1 for none."""
        if self._scene is None:
            return -1
        place = self.to_scene(point)
        token = self._scene.token_at(place.x(), place.y())
        return -1 if token is None else token

    def _fraction(self, point: QtCore.QPointF) -> QtCore.QPointF:
        place, bounds = self.to_scene(point), self._bounds
        return QtCore.QPointF(
            (place.x() - bounds.left()) / max(bounds.width(), 1e-9),
            (place.y() - bounds.top()) / max(bounds.height(), 1e-9),
        )

    # ----------------------------------------------------------------------------- drawing
    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        """Draw the picture, the map, the sinks' boxes, regions and picked cells."""
        painter = QtGui.QPainter(self)
        if self._scene is None:
            painter.fillRect(self.rect(), QtGui.QColor(theme.colours(self.palette()).canvas))
            return
        transform = self.transform()
        if self._ground is None:
            self._ground = self._draw_ground(transform)
        painter.drawPixmap(0, 0, self._ground)
        if self._values is not None:
            self._draw_map(painter, transform)
            if self._sinks is not None:
                heat_paint.box_sinks(painter, self._scene, transform, self._sinks)
            self._draw_marks(painter, transform)
        if self._sentence:
            heat_paint.draw_sentence(painter, self.rect(), self._sentence, self.palette())
        if self.hasFocus():
            heat_paint.frame_focus(painter, self.rect(), self.palette())

    def _draw_ground(self, transform: QtGui.QTransform) -> QtGui.QPixmap:
        assert self._scene is not None
        ratio, present = self.devicePixelRatioF(), theme.colours(self.palette())
        ground = QtGui.QPixmap(self.size() * ratio)
        ground.setDevicePixelRatio(ratio)
        ground.fill(QtGui.QColor(present.canvas))
        painter = QtGui.QPainter(ground)
        heat_paint.draw_ground(
            painter,
            self._scene,
            transform,
            present.unseen,
            self._grey,
            ratio,
            self.zoom.factor == 1.0,
        )
        painter.end()
        return ground

    def _draw_map(self, painter: QtGui.QPainter, transform: QtGui.QTransform) -> None:
        scene = self._scene
        assert scene is not None and self._values is not None
        if self._maps is None:
            self._maps = [
                heat_paint.map_image(view, self._values, self._scale, self._smooth, scene.strip)
                for view in scene.views
            ]
        painter.setOpacity(1.0 if scene.strip else self._opacity)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform, self._smooth)
        for view, image in zip(scene.views, self._maps, strict=True):
            left, top, right, bottom = view.box
            box = QtCore.QRectF(left, top, right - left, bottom - top)
            painter.drawImage(transform.mapRect(box), image)
        painter.setOpacity(1.0)
        heat_paint.hatch_padding(painter, scene, transform)

    def _draw_marks(self, painter: QtGui.QPainter, transform: QtGui.QTransform) -> None:
        scene = self._scene
        assert scene is not None
        if self._overlay_borders is None:
            self._overlay_borders = [scene.border(each.tokens) for each in self._overlays]
        for overlay, lines in zip(self._overlays, self._overlay_borders, strict=True):
            width = 2.2 if overlay.active else 1.4
            heat_paint.draw_border(
                painter, lines, transform, overlay.colour, width, dashed=not overlay.active
            )
        hovered = scene.cell(self._hovered)
        if hovered is not None:
            inks.outline(painter, [transform.mapRect(hovered)], _CELL, 1.0)
        self._draw_brush(painter, transform)
        if self._cells_border is None:
            self._cells_border = scene.border(self._cells)
        heat_paint.draw_border(painter, self._cells_border, transform, _CELL, 2.4)
        box = self._box if self._box is not None else self.anchored_box()
        if box is not None:
            present = theme.colours(self.palette())
            inks.outline(painter, [transform.mapRect(box)], present.selection, 1.6)

    def _draw_brush(self, painter: QtGui.QPainter, transform: QtGui.QTransform) -> None:
        """Where the brush would paint: around the pointer, or the cursor of the keyboard."""
        scene = self._scene
        assert scene is not None
        if self._tool not in ("brush", "erase") or self._brush == 1:
            return  # the one cell is outlined already
        cell = scene.cell(self._hovered)
        place = None if cell is None else cell.center()
        if self._pointer is not None:
            place = self.to_scene(self._pointer)
        if place is not None:
            box = scene.brush_box(place.x(), place.y(), self._brush)
            heat_paint.draw_brush(painter, transform.mapRect(box))

    # ------------------------------------------------------------------------------ events
    def _moved(self) -> None:
        self._ground = None
        self.update()

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        """Redraw the picture at the new size."""
        self._ground = None
        super().resizeEvent(event)

    def changeEvent(self, event: QtCore.QEvent) -> None:
        """Redraw in the colours of the new palette."""
        if event.type() == QtCore.QEvent.Type.PaletteChange:
            self._moved()
        super().changeEvent(event)

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        """Start a click, a rectangle, a stroke, or moving the picture."""
        if self._pressed is not None:
            return  # another button is down
        self._pressed, self._dragging = event.position(), False
        self._button = event.button()
        if self._draws("rectangle"):
            start = self.to_scene(event.position())
            self._box = QtCore.QRectF(start, start)
        elif self._draws("brush", "erase"):
            self._paint_between(event.position(), event.position())

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Go on with what the press began; else say what lies under the pointer."""
        point = event.position()
        self._pointer = point
        if self._tool in ("brush", "erase"):
            self.update()
        if self._pressed is not None:
            if not self._dragging:
                far = (point - self._pressed).manhattanLength()
                self._dragging = far >= QtWidgets.QApplication.startDragDistance()
            if self._draws("brush", "erase"):
                self._paint_between(self._pressed, point)
                self._pressed = point
            elif self._box is not None:
                self._box.setBottomRight(self.to_scene(point))
                self.update()
            elif self._dragging:
                step = self._fraction(self._pressed) - self._fraction(point)
                self._pressed = point
                self.zoom.shift(step)
                return
        self._hover(self.token_at(point))
        place = self.to_scene(point)
        self._hover_bare("" if self._scene is None else self._scene.bare_at(place.x(), place.y()))

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """End the rectangle or stroke; a press and a release in one place are a click on a cell."""
        if self._pressed is None or event.button() != self._button:
            return
        self._pressed = None
        modifiers = event.modifiers()
        control = bool(modifiers & QtCore.Qt.KeyboardModifier.ControlModifier)
        if self._draws("brush", "erase"):
            self.stroke_ended.emit()
        elif self._box is not None:
            box, self._box = self._box.normalized(), None
            if not self._dragging:
                box = self._cell_at(event.position())
            self.update()
            if not box.isEmpty():
                self.box_drawn.emit(box, control)
        elif not self._dragging and self._button == QtCore.Qt.MouseButton.LeftButton:
            shift = bool(modifiers & QtCore.Qt.KeyboardModifier.ShiftModifier)
            self.token_clicked.emit(self.token_at(event.position()), control or shift)

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:
        """Show the whole picture; with a tool that draws, draw on."""
        if self._tool == "select" and event.button() == QtCore.Qt.MouseButton.LeftButton:
            self.zoom.reset()
        else:
            self.mousePressEvent(event)

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """The pointer is on no cell any more."""
        self._pointer = None
        self.update()
        self._hover(-1)
        self._hover_bare("")

    def _hover_bare(self, what: str) -> None:
        if what != self._on_bare:
            self._on_bare = what
            self.bare_hovered.emit(what)

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        """Zoom around the pointer; with Shift, another size of the brush."""
        shift = event.modifiers() & QtCore.Qt.KeyboardModifier.ShiftModifier
        if shift and self._tool in ("brush", "erase"):
            # Some systems turn the wheel with Shift into a sideways one.
            turned = event.angleDelta().y() or event.angleDelta().x()
            self.brush_resized.emit(1 if turned > 0 else -1)
            event.accept()
            return
        self.zoom.around(self._fraction(event.position()), 1.2 ** (event.angleDelta().y() / 120))
        event.accept()

    def _draws(self, *tools: str) -> bool:
        return self._button == QtCore.Qt.MouseButton.LeftButton and self._tool in tools

    def _cell_at(self, point: QtCore.QPointF) -> QtCore.QRectF:
        cell = None if self._scene is None else self._scene.cell(self.token_at(point))
        return QtCore.QRectF() if cell is None else cell

    def _paint_between(self, start: QtCore.QPointF, end: QtCore.QPointF) -> None:
        """The cells under a stretch of a stroke, also where the mouse jumped over some."""
        steps = 1 + int((end - start).manhattanLength() / _FAR)
        places = (start + (end - start) * (step / steps) for step in range(steps + 1))
        if self._scene is None:
            return
        tokens: dict[int, None] = {}
        for place in map(self.to_scene, places):
            tokens |= dict.fromkeys(self._scene.brushed(place.x(), place.y(), self._brush))
        if tokens:
            self.cells_painted.emit(list(tokens))
