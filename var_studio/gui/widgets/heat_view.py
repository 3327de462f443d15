"""One heat map over one picture: drawing, zoom, and which visual token lies under the pointer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui import theme
from var_studio.gui.widgets import inks
from var_studio.gui.widgets.colour_maps import indexed_colours, to_indices
from var_studio.gui.widgets.heat_scene import HeatScene
from var_studio.gui.widgets.zoom import Zoom
from var_studio.recording.layout import View

SMOOTH_STEPS = 9
"""Odd, so that a sample lies in the middle of a cell and shows its very value."""
_KEY_STEPS = {
    QtCore.Qt.Key.Key_Left: (0, -1),
    QtCore.Qt.Key.Key_Right: (0, 1),
    QtCore.Qt.Key.Key_Up: (-1, 0),
    QtCore.Qt.Key.Key_Down: (1, 0),
}


class HeatView(QtWidgets.QWidget):
    """A picture with a map of values on its visual tokens.

    Click marks a cell, the wheel zooms, dragging moves, a double click shows the whole picture;
    with the keyboard: Shift+arrows move the marked cell, + and − zoom, 0 shows all.
    """

    token_hovered = QtCore.Signal(int)
    """Visual token k under the pointer, -1 for none."""
    token_clicked = QtCore.Signal(int)
    """Visual token k that was clicked, -1 for a place that is none."""

    def __init__(self, zoom: Zoom | None = None, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.zoom = zoom or Zoom(self)
        self.zoom.changed.connect(self._moved)
        self.setMouseTracking(True)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(96, 72)
        self.setAttribute(QtCore.Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._scene: HeatScene | None = None
        self._bounds = QtCore.QRectF()
        self._values: npt.NDArray[np.floating] | None = None
        self._limits = (0.0, 1.0)
        self._colours = "viridis"
        self._sinks: npt.NDArray[np.bool_] | None = None
        self._marked = self._hovered = -1
        self._opacity = 0.75
        self._smooth = False
        self._grey = False
        self._maps: list[QtGui.QImage] | None = None
        self._ground: QtGui.QPixmap | None = None
        self._pressed: QtCore.QPointF | None = None
        self._dragging = False

    # ------------------------------------------------------------------------ what to show
    def set_scene(self, scene: HeatScene | None) -> None:
        """Show another picture or other grids of it."""
        self._scene = scene
        self._bounds = scene.bounds if scene else QtCore.QRectF()
        self._maps = self._ground = None
        self.update()

    def scene(self) -> HeatScene | None:
        """The scene shown."""
        return self._scene

    def set_map(
        self, values: npt.NDArray[np.floating], low: float, high: float, colours: str
    ) -> None:
        """Show values (V,) of the visual tokens between two limits; NaN leaves the cell bare."""
        self._values, self._limits, self._colours = values, (low, high), colours
        self._maps = None
        self.update()

    def set_sinks(self, sinks: npt.NDArray[np.bool_] | None) -> None:
        """Box the visual tokens where (V,) bool is True; None: no boxes."""
        self._sinks = sinks
        self.update()

    def set_marked(self, token: int) -> None:
        """Mark the cell of visual token k, -1 for none."""
        if token != self._marked:
            self._marked = token
            self.update()

    def set_hovered(self, token: int) -> None:
        """Show where the pointer is in a linked view: visual token k, -1 for none."""
        if token != self._hovered:
            self._hovered = token
            self.update()

    def set_opacity(self, opacity: float) -> None:
        """Opacity of the map over the picture, 0 to 1."""
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
        self._smooth = smooth
        self._maps = None
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
        """Draw the picture, the map, the sinks' boxes and the marked cell."""
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
            self._draw_marks(painter, transform)
        if self.hasFocus():
            frame = QtCore.QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
            inks.outline(painter, [frame], theme.colours(self.palette()).accent, 1.0, 0)

    def _draw_ground(self, transform: QtGui.QTransform) -> QtGui.QPixmap:
        """The picture, padding and unseen parts: what stays while tokens and settings change."""
        ratio = self.devicePixelRatioF()
        ground = QtGui.QPixmap(self.size() * ratio)
        ground.setDevicePixelRatio(ratio)
        ground.fill(QtGui.QColor(theme.colours(self.palette()).canvas))
        scene = self._scene
        assert scene is not None
        painter = QtGui.QPainter(ground)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform)
        painter.setPen(QtCore.Qt.PenStyle.NoPen)
        whole = transform.mapRect(self._bounds)
        if not scene.strip:
            # What lies in a grid but outside the picture is padding.
            self._hatch(painter, whole, QtGui.QColor(theme.colours(self.palette()).unseen))
        if scene.picture is not None:
            whole_picture = scene.grey_picture if self._grey else scene.picture
            target = transform.mapRect(QtCore.QRectF(0, 0, *scene.size))
            smaller = target.width() * ratio < 0.6 * scene.picture.width()
            if smaller and self.zoom.factor == 1.0:
                # Qt's transform samples only four pixels; this one averages.
                picture = whole_picture.scaled(
                    (target.size() * ratio).toSize(),
                    QtCore.Qt.AspectRatioMode.IgnoreAspectRatio,
                    QtCore.Qt.TransformationMode.SmoothTransformation,
                )
                painter.drawImage(target, picture)
            else:
                painter.drawImage(target, whole_picture)
        elif not scene.strip:
            painter.fillRect(
                transform.mapRect(QtCore.QRectF(0, 0, *scene.size)), QtGui.QColor(110, 110, 110)
            )
        for left, top, right, bottom in scene.unseen:
            box = transform.mapRect(QtCore.QRectF(left, top, right - left, bottom - top))
            painter.fillRect(box, QtGui.QColor(20, 20, 20, 120))
            self._hatch(painter, box, QtGui.QColor(255, 255, 255, 170))
        painter.end()
        return ground

    @staticmethod
    def _hatch(painter: QtGui.QPainter, box: QtCore.QRectF, colour: QtGui.QColor) -> None:
        painter.fillRect(box, QtGui.QBrush(colour, QtCore.Qt.BrushStyle.BDiagPattern))

    def _draw_map(self, painter: QtGui.QPainter, transform: QtGui.QTransform) -> None:
        scene = self._scene
        assert scene is not None
        if self._maps is None:
            self._maps = [self._map_image(view) for view in scene.views]
        painter.setOpacity(1.0 if scene.strip else self._opacity)
        painter.setRenderHint(QtGui.QPainter.RenderHint.SmoothPixmapTransform, self._smooth)
        for view, image in zip(scene.views, self._maps, strict=True):
            left, top, right, bottom = view.box
            box = QtCore.QRectF(left, top, right - left, bottom - top)
            painter.drawImage(transform.mapRect(box), image)
        painter.setOpacity(1.0)

    def _map_image(self, view: View) -> QtGui.QImage:
        values = self._values
        assert values is not None
        grid = np.asarray(values, dtype=np.float32)[np.maximum(view.tokens, 0)]
        grid[view.tokens < 0] = np.nan
        if self._smooth:
            # Clipped first: a sink far beyond the scale would flood the cells around it.
            grid = interpolate(np.clip(grid, *self._limits), SMOOTH_STEPS)
        indices = to_indices(grid, *self._limits)
        rows, cols = indices.shape
        image = QtGui.QImage(cols, rows, QtGui.QImage.Format.Format_Indexed8)
        image.setColorTable(self._colour_table())
        pixels = np.frombuffer(image.bits(), dtype=np.uint8).reshape(rows, image.bytesPerLine())
        pixels[:, :cols] = indices
        # Indexed images are converted again on every draw; this once.
        return image.convertToFormat(QtGui.QImage.Format.Format_ARGB32_Premultiplied)

    def _colour_table(self) -> tuple[int, ...]:
        """Differences fade out towards 0: where nothing changes, the picture is seen."""
        colours = indexed_colours(self._colours)
        low, high = self._limits
        if self._scene is None or self._scene.strip or low >= 0 or high <= 0:
            return colours
        zero = 1 + 254 * -low / (high - low)
        reach = 0.4 * max(zero - 1, 255 - zero)
        alphas = (min(255, round(255 * abs(entry - zero) / reach)) for entry in range(256))
        return tuple(
            alpha << 24 | colour & 0xFFFFFF if entry else 0
            for entry, (alpha, colour) in enumerate(zip(alphas, colours, strict=True))
        )

    def _draw_marks(self, painter: QtGui.QPainter, transform: QtGui.QTransform) -> None:
        scene = self._scene
        assert scene is not None
        if self._sinks is not None:
            cells = [scene.cell(int(k)) for k in np.flatnonzero(self._sinks)]
            boxes = [transform.mapRect(cell) for cell in cells if cell is not None]
            small = min((min(b.width(), b.height()) for b in boxes), default=0.0)
            # Around small cells, whose colour a box inside would hide.
            inset, width = (-1.0, 1.0) if small < 12 else (1.0, 1.6)
            boxes = [box.adjusted(inset, inset, -inset, -inset) for box in boxes]
            inks.outline(painter, boxes, inks.ON_MAP.sink, width)
        for token, width in ((self._hovered, 1.0), (self._marked, 2.4)):
            cell = scene.cell(token)
            if cell is not None:
                box = transform.mapRect(cell)
                inks.outline(painter, [box], "#ffffff", width)

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
        """Start a click or a drag."""
        if event.button() == QtCore.Qt.MouseButton.LeftButton:
            self._pressed, self._dragging = event.position(), False

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:
        """Move the picture while dragging; else say what lies under the pointer."""
        point = event.position()
        if self._pressed is not None and not self._dragging:
            far = (point - self._pressed).manhattanLength()
            self._dragging = far >= QtWidgets.QApplication.startDragDistance()
        if self._pressed is not None and self._dragging:
            step = self._fraction(self._pressed) - self._fraction(point)
            self._pressed = point
            self.zoom.shift(step)
            return
        self._hover(self.token_at(point))

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        """A press and a release in one place are a click on a cell."""
        if event.button() == QtCore.Qt.MouseButton.LeftButton and self._pressed is not None:
            self._pressed = None
            if not self._dragging:
                self.token_clicked.emit(self.token_at(event.position()))

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:
        """Show the whole picture."""
        self.zoom.reset()

    def leaveEvent(self, event: QtCore.QEvent) -> None:
        """The pointer is on no cell any more."""
        self._hover(-1)

    def _hover(self, token: int) -> None:
        if token != self._hovered:
            self.set_hovered(token)
            self.token_hovered.emit(token)

    def wheelEvent(self, event: QtGui.QWheelEvent) -> None:
        """Zoom around the pointer."""
        self.zoom.around(self._fraction(event.position()), 1.2 ** (event.angleDelta().y() / 120))
        event.accept()

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """Shift+arrows move the marked cell; + and − zoom, 0 shows all."""
        key = QtCore.Qt.Key(event.key()) if event.key() else None
        shift = event.modifiers() & QtCore.Qt.KeyboardModifier.ShiftModifier
        if shift and key in _KEY_STEPS and self._scene is not None:
            start = self._marked if self._scene.cell(self._marked) is not None else None
            if start is None:
                found = next((int(t) for t in self._scene.views[0].tokens.flat if t >= 0), None)
            else:
                found = self._scene.neighbour(start, *_KEY_STEPS[key])
            if found is not None:
                self.token_clicked.emit(found)
        elif key in (QtCore.Qt.Key.Key_Plus, QtCore.Qt.Key.Key_Equal):
            self.zoom.around(self.zoom.centre, 1.25)
        elif key == QtCore.Qt.Key.Key_Minus:
            self.zoom.around(self.zoom.centre, 0.8)
        elif key == QtCore.Qt.Key.Key_0:
            self.zoom.reset()
        else:
            super().keyPressEvent(event)


def interpolate(grid: npt.NDArray[np.floating], steps: int) -> npt.NDArray[np.float32]:
    """Bilinear between the middles of cells, `steps` samples a cell; NaN cells stay bare.

    Values, not colours, are interpolated: between blue and red the map passes through its middle.
    (rows, cols) -> (rows * steps, cols * steps) float32.
    """
    there = np.isfinite(grid)
    down, across = _weights(grid.shape[0], steps), _weights(grid.shape[1], steps)
    weight = down @ there.astype(np.float32) @ across.T
    value = down @ np.where(there, grid, 0.0).astype(np.float32) @ across.T
    smooth = value / np.maximum(weight, 1e-6)
    smooth[~np.kron(there, np.ones((steps, steps), dtype=bool))] = np.nan
    return smooth.astype(np.float32)


def _weights(count: int, steps: int) -> npt.NDArray[np.float32]:
    places = np.clip((np.arange(count * steps) + 0.5) / steps - 0.5, 0, count - 1)
    below = np.minimum(places.astype(int), max(count - 2, 0))
    share = (places - below).astype(np.float32)
    weights = np.zeros((count * steps, count), dtype=np.float32)
    rows = np.arange(count * steps)
    weights[rows, below] = 1.0 - share
    if count > 1:
        weights[rows, below + 1] += share
    return weights
