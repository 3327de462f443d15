"""The pointer on a widget: moves, drags, turns of the wheel. qtbot's moves hold no button."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle

LEFT = QtCore.Qt.MouseButton.LeftButton
NO_BUTTON = QtCore.Qt.MouseButton.NoButton
NO_KEY = QtCore.Qt.KeyboardModifier.NoModifier


def move_mouse(widget: QtWidgets.QWidget, point: QtCore.QPointF, buttons: bool = False) -> None:
    """A mouse move to a point of the widget, with the left button down or not."""
    event = QtGui.QMouseEvent(
        QtCore.QEvent.Type.MouseMove,
        point,
        widget.mapToGlobal(point),
        NO_BUTTON,
        LEFT if buttons else NO_BUTTON,
        NO_KEY,
    )
    QtWidgets.QApplication.sendEvent(widget, event)


def drag(
    qtbot: QtBot,
    widget: QtWidgets.QWidget,
    *points: QtCore.QPointF,
    held: QtCore.Qt.KeyboardModifier = NO_KEY,
) -> None:
    """Press at the first point, draw through the others, let go at the last."""
    qtbot.mousePress(widget, LEFT, held, points[0].toPoint())
    for point in points[1:]:
        move_mouse(widget, point, buttons=True)
        settle()
    qtbot.mouseRelease(widget, LEFT, held, points[-1].toPoint())
    settle()


def turn_wheel(
    widget: QtWidgets.QWidget,
    step: int,
    at: QtCore.QPointF | None = None,
    held: QtCore.Qt.KeyboardModifier = NO_KEY,
) -> bool:
    """Turn the wheel (a notch is 120, away from you) over a point, else the middle of the widget.
    Returns whether the widget took it."""
    place = QtCore.QPointF(widget.rect().center()) if at is None else at
    event = QtGui.QWheelEvent(
        place,
        widget.mapToGlobal(place),
        QtCore.QPoint(),
        QtCore.QPoint(0, step),
        NO_BUTTON,
        held,
        QtCore.Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QtWidgets.QApplication.sendEvent(widget, event)
    return event.isAccepted()
