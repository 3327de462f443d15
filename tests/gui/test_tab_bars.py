"""The bars of tabs: each has a name, and stands where its panels do."""

from __future__ import annotations

from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, settle
from var_studio.gui.docks import DockArea

pytestmark = IGNORE_QT


def _seen(area: DockArea) -> list[QtWidgets.QTabBar]:
    """Those with tabs; Qt keeps empty ones out of sight."""
    bars = area.findChildren(QtWidgets.QTabBar)
    return [bar for bar in bars if bar.isVisible() and bar.count()]


def _shown(qtbot: QtBot, area: DockArea) -> list[QtWidgets.QTabBar]:
    qtbot.addWidget(area)
    area.resize(1400, 860)
    area.show()
    settle(qtbot)
    return _seen(area)


def test_a_remembered_layout_leaves_no_stray_bar(qtbot: QtBot) -> None:
    first = DockArea()
    (bar,) = _shown(qtbot, first)
    assert bar.accessibleName() == "Panels in this place"
    again = DockArea()
    assert again.recall(first.remember(), False)
    (restored,) = _shown(qtbot, again)
    assert restored.y() > 300 and restored.count() == bar.count()
    again.arrange()
    settle(qtbot)
    (arranged,) = _seen(again)
    assert arranged.y() > 300 and arranged.count() == bar.count()
