"""Lists and tables that keep their own keys while the window has shortcuts on the same ones."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets

_KEYS = {
    QtCore.Qt.Key.Key_Up,
    QtCore.Qt.Key.Key_Down,
    QtCore.Qt.Key.Key_Left,
    QtCore.Qt.Key.Key_Right,
    QtCore.Qt.Key.Key_Home,
    QtCore.Qt.Key.Key_End,
    QtCore.Qt.Key.Key_PageUp,
    QtCore.Qt.Key.Key_PageDown,
    QtCore.Qt.Key.Key_Delete,
    QtCore.Qt.Key.Key_F2,
}


def keeps_key(event: QtCore.QEvent) -> bool:
    """Accept a key that walks or edits a list before it becomes a shortcut; True if it was one."""
    if event.type() != QtCore.QEvent.Type.ShortcutOverride:
        return False
    assert isinstance(event, QtGui.QKeyEvent)
    modifier = QtCore.Qt.KeyboardModifier
    if event.key() not in _KEYS or event.modifiers() & (
        modifier.ControlModifier | modifier.AltModifier
    ):
        return False
    event.accept()
    return True


class KeyedTable(QtWidgets.QTableView):
    """A table whose arrows walk its rows."""

    def event(self, event: QtCore.QEvent) -> bool:
        """Its own keys first."""
        return keeps_key(event) or super().event(event)
