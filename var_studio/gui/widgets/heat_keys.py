"""The keyboard on a heat map: a cursor that goes from cell to cell, and the tools at it."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

from var_studio.gui.widgets.heat_scene import HeatScene
from var_studio.gui.widgets.zoom import Zoom

_STEPS = {
    QtCore.Qt.Key.Key_Left: (0, -1),
    QtCore.Qt.Key.Key_Right: (0, 1),
    QtCore.Qt.Key.Key_Up: (-1, 0),
    QtCore.Qt.Key.Key_Down: (1, 0),
}
_ENTER = (QtCore.Qt.Key.Key_Return, QtCore.Qt.Key.Key_Enter)
_PAGES = {QtCore.Qt.Key.Key_PageUp: -1, QtCore.Qt.Key.Key_PageDown: 1}
_SIZES = {QtCore.Qt.Key.Key_Comma: -1, QtCore.Qt.Key.Key_Period: 1}
_PAINTS = ("brush", "erase")
_BY_MOUSE = (QtCore.Qt.FocusReason.MouseFocusReason,)
_STAYS = (
    QtCore.Qt.FocusReason.ActiveWindowFocusReason,
    QtCore.Qt.FocusReason.PopupFocusReason,
)


class HeatKeys(QtWidgets.QWidget):
    """What a HeatView does with keys.

    Arrows move the cursor and Enter uses the tool at it (Shift+Enter adds to the picked cells; a
    rectangle takes two corners), once the focus came by the keyboard: after a click the arrows
    still walk tokens and layers. Shift+arrows always move the picked cell; + and − zoom, 0 shows
    all, Page Up and Page Down change the view; comma and full stop change the size of the brush.
    """

    token_hovered = QtCore.Signal(int)
    """Visual token k under the pointer or the cursor, -1 for none."""
    bare_hovered = QtCore.Signal(str)
    """Whether the pointer is on a part of the picture that the model never saw."""
    token_clicked = QtCore.Signal(int, bool)
    """Visual token k that was picked, -1 for a place that is none; True: beside the others."""
    part_stepped = QtCore.Signal(int)
    """Another picture or view is wanted: the next (+1) or the one before (-1)."""

    box_drawn = QtCore.Signal(QtCore.QRectF, bool)
    """Rectangle in scene coordinates; True: to be taken away (Ctrl was held)."""
    cells_painted = QtCore.Signal(list)
    """Visual tokens k that a stroke passed over since the last one."""
    stroke_ended = QtCore.Signal()
    brush_resized = QtCore.Signal(int)
    """A brush of more (+1) or fewer (−1) cells across is wanted."""

    def __init__(self, zoom: Zoom | None = None, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.zoom = zoom or Zoom(self)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.StrongFocus)
        self._scene: HeatScene | None = None
        self._cells: frozenset[int] = frozenset()
        self._hovered = -1
        self._tool = "select"
        self._brush = 1
        self._anchor = -1
        self._takes_arrows = False

    def scene(self) -> HeatScene | None:
        """The scene shown."""
        return self._scene

    def set_hovered(self, token: int) -> None:
        """Show where the pointer or the cursor is: visual token k, -1 for none."""
        raise NotImplementedError

    def anchored_box(self) -> QtCore.QRectF | None:
        """The rectangle between the corner that was set by Enter and the cursor."""
        if self._scene is None:
            return None
        one, other = self._scene.cell(self._anchor), self._scene.cell(self._hovered)
        if one is None:
            return None
        return one if other is None else one.united(other)

    # ------------------------------------------------------------------------------ events
    def focusInEvent(self, event: QtGui.QFocusEvent) -> None:
        """Take the arrows, unless a click gave the focus."""
        if event.reason() not in _STAYS:
            self._takes_arrows = event.reason() not in _BY_MOUSE
        super().focusInEvent(event)

    def event(self, event: QtCore.QEvent) -> bool:
        """Keys that are used here are no shortcuts of the window."""
        if event.type() == QtCore.QEvent.Type.ShortcutOverride:
            assert isinstance(event, QtGui.QKeyEvent)
            if self._uses(event):
                event.accept()
                return True
        return super().event(event)

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:
        """See the class."""
        key = QtCore.Qt.Key(event.key()) if event.key() else None
        shift = bool(event.modifiers() & QtCore.Qt.KeyboardModifier.ShiftModifier)
        if not self._uses(event):
            super().keyPressEvent(event)
        elif key in _STEPS:
            token = self._stepped(*_STEPS[key], from_cells=shift)
            if token >= 0 and shift:
                self.token_clicked.emit(token, False)
            self._hover(token)
        elif key in _ENTER:
            self._use_tool(shift)
        elif key in _PAGES:
            self.part_stepped.emit(_PAGES[key])
        elif key in _SIZES:
            self.brush_resized.emit(_SIZES[key])
        elif key == QtCore.Qt.Key.Key_Escape:
            self._anchor = -1
            self.update()
        elif key == QtCore.Qt.Key.Key_0:
            self.zoom.reset()
        else:
            self.zoom.around(self.zoom.centre, 0.8 if key == QtCore.Qt.Key.Key_Minus else 1.25)

    def _uses(self, event: QtGui.QKeyEvent) -> bool:
        keys, modifier = QtCore.Qt.Key, QtCore.Qt.KeyboardModifier
        key = event.key()
        if event.modifiers() & (modifier.ControlModifier | modifier.AltModifier):
            return False
        if key in _STEPS:
            return self._takes_arrows or bool(event.modifiers() & modifier.ShiftModifier)
        if key == keys.Key_Escape:
            return self._anchor >= 0
        if key in _ENTER:
            return self._hovered >= 0
        if key in _SIZES:
            return self._tool in _PAINTS
        return key in _PAGES or key in (
            keys.Key_Plus,
            keys.Key_Equal,
            keys.Key_Minus,
            keys.Key_0,
        )

    # ------------------------------------------------------------------------------ cursor
    def _stepped(self, rows: int, cols: int, from_cells: bool) -> int:
        """The cell beside the cursor (or the picked cell); the first one where there is neither."""
        scene = self._scene
        if scene is None:
            return -1
        starts = [self._hovered, *sorted(self._cells)]
        if from_cells:
            starts.reverse()
        start = next((token for token in starts if scene.cell(token) is not None), None)
        if start is None:
            return next((int(t) for t in scene.views[0].tokens.flat if t >= 0), -1)
        found = scene.neighbour(start, rows, cols)
        return start if found is None else found

    def _hover(self, token: int) -> None:
        if token != self._hovered:
            self.set_hovered(token)
            self.token_hovered.emit(token)

    def _use_tool(self, extend: bool) -> None:
        token = self._hovered
        if self._tool == "select":
            self.token_clicked.emit(token, extend)
        elif self._tool != "rectangle":
            assert self._scene is not None
            cell = self._scene.cell(token)
            if cell is not None:
                middle = cell.center()
                tokens = self._scene.brushed(middle.x(), middle.y(), self._brush)
                self.cells_painted.emit(tokens)
                self.stroke_ended.emit()
        elif self._anchor < 0:
            self._anchor = token
            self.update()
        else:
            box = self.anchored_box()
            self._anchor = -1
            self.update()
            if box is not None:
                self.box_drawn.emit(box, False)
