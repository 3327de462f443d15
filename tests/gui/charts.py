"""Charts: guides to drag, and what is painted where."""

from __future__ import annotations

from PySide6 import QtCore, QtGui
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle
from tests.gui.pointer import LEFT, move_mouse
from var_studio.gui.widgets.chart import Chart
from var_studio.gui.widgets.index_chart import IndexChart


def drag_guide(qtbot: QtBot, view: Chart, name: str, values: list[float]) -> None:
    """Press on a guide, move it through values of its axis, let it go."""
    guide = next(g for g in view.guides if g.name == name)
    room = view.plot_rect()

    def place(value: float) -> QtCore.QPointF:
        if guide.upright:
            return QtCore.QPointF(view.x_of(value), room.top() + 0.3 * room.height())
        return QtCore.QPointF(room.left() + 0.2 * room.width(), view.y_of(value))

    qtbot.mousePress(view, LEFT, pos=place(guide.value).toPoint())
    for value in values:
        move_mouse(view, place(value), buttons=True)
        settle()
    qtbot.mouseRelease(view, LEFT, pos=place(values[-1]).toPoint())
    settle()


def middle_of(chart: IndexChart, index: int, share: float = 0.5) -> QtCore.QPointF:
    """Over the middle of an index, at a share of the height."""
    room = chart.plot_rect()
    return QtCore.QPointF(
        room.left() + (index + 0.5) * room.width() / chart.count,
        room.bottom() - share * room.height(),
    )


def colour(chart: IndexChart, point: QtCore.QPointF) -> QtGui.QColor:
    """The colour painted at a point."""
    return chart.grab().toImage().pixelColor(point.toPoint())


def is_like(one: QtGui.QColor, name: str) -> bool:
    """Whether a colour is about that of a name: lines are drawn with soft edges."""
    other = QtGui.QColor(name)
    far = (one.red() - other.red(), one.green() - other.green(), one.blue() - other.blue())
    return max(map(abs, far)) < 48
