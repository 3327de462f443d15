"""The keyboard alone: where Tab goes, letters of menus, keys; names and tooltips of controls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PySide6 import QtCore, QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, settle
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key


def focusable(root: QtWidgets.QWidget) -> Iterator[QtWidgets.QWidget]:
    for widget in root.findChildren(QtWidgets.QWidget):
        lists_that_open = widget.window() is not root.window()
        if (
            widget.focusPolicy() & QtCore.Qt.FocusPolicy.TabFocus
            and widget.focusProxy() is None
            and not lists_that_open
        ):
            yield widget


def accessible_name(widget: QtWidgets.QWidget) -> str:
    """What a screen reader says: the name given, the label's, or the words on it."""
    interface = QtGui.QAccessible.queryAccessibleInterface(widget)
    return interface.text(QtGui.QAccessible.Text.Name).strip() if interface is not None else ""


def show_everything(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    """Every panel was on screen with a run, and there is a notice."""
    window.start(model=None)
    window.workspace.add_run(make_run(tmp_path / "run"))
    for name in window.area.docks:
        window.area.reveal(name)
        settle(qtbot)
    window.notices.show_notice("note", "Something", more="why")


def test_everything_the_keyboard_reaches_has_a_name(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    show_everything(window, qtbot, tmp_path)
    reached = list(focusable(window))
    assert len(reached) > 60
    nameless = [
        f"{type(widget).__name__} in {_panel_of(widget)}"
        for widget in reached
        if not accessible_name(widget)
    ]
    assert nameless == []
    bare = QtWidgets.QToolButton(window)  # The check can fail.
    assert accessible_name(bare) == ""
    bare.deleteLater()


POINTED_AT = {
    # What they show is said where the pointer is, in a line of the panel or a tooltip of the part.
    "HeatView", "AtlasView", "StripView", "ProfileChart", "TokenStrip",
    # Read, not pressed.
    "QPlainTextEdit", "HelpCard",
    # Words that are written out, and the arrows beside them.
    "QTabBar",
}  # fmt: skip


def test_everything_the_keyboard_reaches_has_a_tooltip(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    show_everything(window, qtbot, tmp_path)
    without = [
        f"{type(widget).__name__} {accessible_name(widget)!r} in {_panel_of(widget)}"
        for widget in focusable(window)
        if not widget.toolTip()
        and type(widget).__name__ not in POINTED_AT
        and not isinstance(widget.parentWidget(), QtWidgets.QTabBar)
    ]
    assert without == []


def test_every_menu_is_walked_by_letters(window: MainWindow) -> None:
    """Each entry has a letter of its own in its menu; panels are found by the name they begin
    with."""
    panels = {dock.toggleViewAction() for dock in window.area.docks.values()}
    bar = window.menuBar().actions()
    for entries in (bar, *(menu.actions() for menu in window.menus.values())):
        named = [a.text() for a in entries if not a.isSeparator() and a not in panels]
        letters = [QtGui.QKeySequence.mnemonic(text).toString() for text in named]
        assert all(letters), [text for text in named if "&" not in text]
        assert len(set(letters)) == len(letters), sorted(zip(letters, named, strict=True))


def test_no_two_actions_share_a_key(window: MainWindow) -> None:
    keys = [
        key.toString() for action in window.actions_by_name.values() for key in action.shortcuts()
    ]
    assert len(keys) > 25 and len(set(keys)) == len(keys)


def _panel_of(widget: QtWidgets.QWidget | None) -> str:
    from var_studio.gui.panels.base import Panel, PanelHeader

    while widget is not None:
        if isinstance(widget, Panel):
            return widget.name
        if isinstance(widget, PanelHeader):
            dock = widget.parentWidget()
            return str(getattr(getattr(dock, "panel", None), "name", "window"))
        widget = widget.parentWidget()
    return "window"


def test_tab_visits_everything_once_panel_by_panel(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.start(model=None)
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    start = window.setup.prompt
    start.setFocus()
    visited: list[QtWidgets.QWidget] = []
    for _ in range(400):
        widget = QtWidgets.QApplication.focusWidget()
        assert widget is not None
        if widget is start and visited:
            break
        visited.append(widget)
        qtbot.keyClick(widget, Key.Key_Tab)
    assert QtWidgets.QApplication.focusWidget() is start, "Tab is caught somewhere"
    assert len(set(map(id, visited))) == len(visited), "a widget was visited twice"
    missed = [
        f"{type(w).__name__} {accessible_name(w)!r} in {_panel_of(w)}"
        for w in focusable(window)
        if w.isVisible()
        and w.isEnabled()
        and not w.visibleRegion().isEmpty()
        and w not in visited
        # Of buttons of which one is down, the arrows reach the others.
        and not (isinstance(w, QtWidgets.QAbstractButton) and w.group() and not w.isChecked())
    ]
    assert missed == []
    panels = [_panel_of(widget) for widget in visited]
    parts = [name for n, name in enumerate(panels) if n == 0 or panels[n - 1] != name]
    if parts[0] == parts[-1]:
        parts.pop()  # It began in the middle of Setup.
    assert len(set(parts)) == len(parts), f"Tab goes to and fro between panels: {parts}"
    shown = [name for name in window.area.docks if window.area.on_screen(name)]
    assert "ledger" not in shown and {"setup", "transcript", "heads"} <= set(shown)
    assert [name for name in parts if name != "window"] == shown
    # And back, the same way.
    qtbot.keyClick(start, Key.Key_Backtab)
    assert QtWidgets.QApplication.focusWidget() is visited[-1]
