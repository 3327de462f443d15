"""The wheel scrolls; it changes a number, slider or list only where that has the focus."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QScrollBar,
    QWidget,
)


class WheelGuard(QObject):
    """Watches the controls themselves: one filter of the application would see each event."""

    def watch(self, root: QWidget) -> None:
        """Guard all controls inside `root`, made so far."""
        for control in root.findChildren(QWidget):
            if isinstance(control, QAbstractSpinBox | QAbstractSlider | QComboBox):
                if isinstance(control, QScrollBar):
                    continue
                if control.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                    # Else the wheel would give the focus, and then change the value.
                    control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                control.installEventFilter(self)  # once, however often it is asked for

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.Wheel:
            return False
        assert isinstance(watched, QWidget)
        if watched.hasFocus():
            return False
        event.ignore()  # what lies around it scrolls
        return True
