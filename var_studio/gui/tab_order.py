"""Where Tab goes: panel by panel, in each from its header down, and every control once.

Qt's own chain follows the order in which widgets were made, and loses its way among docks that
share a place and rows that hand their focus on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QAbstractButton, QApplication, QTabBar, QWidget

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow


def stops(window: MainWindow) -> list[QWidget]:
    """What Tab visits now, in order: an open card, notices, the panels on screen, their tabs."""
    found = [*_inside(window.help_card), *_inside(window.notices)]
    for name, dock in window.area.docks.items():
        if dock.isFloating() or not window.area.on_screen(name):
            continue
        header = sorted(_inside(dock.panel.header), key=lambda w: w.mapToGlobal(QPoint(0, 0)).x())
        found += [*header, *_inside(dock.panel)]
    tabs = window.area.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
    return found + [bar for bar in tabs if _is_stop(bar)]


def step(window: MainWindow, forward: bool) -> bool:
    """Move the focus to the next or previous stop, round the ends. False: there is none."""
    all_stops = stops(window)
    present = QApplication.focusWidget()
    if not all_stops:
        return False
    if present in all_stops:
        number = all_stops.index(present) + (1 if forward else -1)
    else:
        number = _nearest(all_stops, present) if forward else -1
    reason = Qt.FocusReason.TabFocusReason if forward else Qt.FocusReason.BacktabFocusReason
    all_stops[number % len(all_stops)].setFocus(reason)
    return True


def _nearest(all_stops: list[QWidget], present: QWidget | None) -> int:
    """From a part of something (a panel, the window): its first stop."""
    for number, stop in enumerate(all_stops):
        if present is not None and present.isAncestorOf(stop):
            return number
    return 0


def _inside(root: QWidget) -> Iterator[QWidget]:
    """The stops under a widget in Qt's chain, that is as they were made or ordered by the panel."""
    if not root.isVisible():
        return
    under = {id(widget) for widget in (root, *root.findChildren(QWidget))}
    widget = root
    while True:
        if id(widget) in under and _is_stop(widget):
            yield widget
        following = widget.nextInFocusChain()
        if following is None or following is root:
            return
        widget = following


def _is_stop(widget: QWidget) -> bool:
    if not (widget.isVisible() and widget.isEnabled() and widget.focusProxy() is None):
        return False
    if not widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
        return False
    # Of buttons of which one is down, that one; the arrows go to the others.
    group = widget.group() if isinstance(widget, QAbstractButton) else None
    if group is not None and group.exclusive() and group.checkedButton() is not None:
        return group.checkedButton() is widget
    return True
