"""Single keys are the window's shortcuts, except where a control in focus needs them itself."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QWidget,
)
from shiboken6 import isValid

_ARROWS = {
    Qt.Key.Key_Left,
    Qt.Key.Key_Right,
    Qt.Key.Key_Up,
    Qt.Key.Key_Down,
}
_MODIFIERS = (
    Qt.KeyboardModifier.ControlModifier
    | Qt.KeyboardModifier.AltModifier
    | Qt.KeyboardModifier.MetaModifier
)


class KeyGuard(QObject):
    """Follows the focus; watches only the widget that has it, so other events cost nothing.

    A slider, number or list in focus keeps its arrows, a button its space bar, one of several that
    exclude each other its arrows too, a list its letters (they search it). A number gives undo to
    the window, which undoes settings, not typing.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._watched: QWidget | None = None

    def focus_changed(self, old: QWidget | None, new: QWidget | None) -> None:
        """Connect to QApplication.focusChanged."""
        # The focus also moves because the widget that had it was destroyed.
        if self._watched is not None and isValid(self._watched):
            self._watched.removeEventFilter(self)
        keeps = QAbstractSlider | QAbstractSpinBox | QComboBox | QAbstractButton
        self._watched = new if isinstance(new, keeps) else None
        if self._watched is not None:
            self._watched.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
            return False
        if isinstance(watched, QAbstractSpinBox) and (
            event.matches(QKeySequence.StandardKey.Undo)
            or event.matches(QKeySequence.StandardKey.Redo)
        ):
            event.ignore()
            return True
        if self._keeps(watched, event):
            event.accept()
            return True
        return False

    @staticmethod
    def _keeps(watched: QObject, event: QKeyEvent) -> bool:
        if event.modifiers() & _MODIFIERS:
            return False
        key = event.key()
        if isinstance(watched, QAbstractButton):
            group = watched.group()
            others = group is not None and group.exclusive()
            return key == Qt.Key.Key_Space or (others and key in _ARROWS)
        if isinstance(watched, QComboBox):
            return key in _ARROWS or bool(event.text().strip()) or key == Qt.Key.Key_Space
        return key in _ARROWS
