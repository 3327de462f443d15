"""Only panels that can be seen do anything when something changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, settle, tab_of
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels.base import Panel

pytestmark = IGNORE_QT


def test_panels_behind_tabs_are_made_after_the_first_paint(
    qtbot: QtBot, window: MainWindow, tmp_path: Path
) -> None:
    docks = window.area.docks
    first = {name for name, dock in docks.items() if dock.has_panel}
    assert first == {"setup", "transcript", "image", "heads", "phi_histogram"}
    for dock in docks.values():
        if not dock.has_panel:
            tab_of(window, dock.windowTitle())  # its tab is there
    # One that is asked for is made at once, with what it listens to, and stays out of sight.
    window.workspace.add_run(make_run(tmp_path / "run"))
    assert window.area.panel("layers").workspace is window.workspace
    assert not window.area.panel("layers").isVisible()
    # One whose tab is clicked shows the answer.
    bar, index = tab_of(window, "Ledger")
    qtbot.mouseClick(bar, QtCore.Qt.MouseButton.LeftButton, pos=bar.tabRect(index).center())
    settle(qtbot)
    ledger = window.area.panel("ledger")
    assert ledger.isVisible() and ledger._stack.currentWidget() is ledger.body
    before = {name: dock.geometry() for name, dock in docks.items() if window.area.on_screen(name)}
    window.start(model=None)
    qtbot.waitUntil(lambda: all(dock.has_panel for dock in docks.values()))
    settle(qtbot)
    now = {name: dock.geometry() for name, dock in docks.items() if window.area.on_screen(name)}
    assert now == before, "nothing moves"
    window.workspace.modified = False


def test_a_panel_behind_a_tab_rests_until_it_is_raised(
    qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refreshed: list[tuple[str, int | None]] = []
    refresh = Panel._refresh

    def counted(panel: Panel, reading) -> None:  # type: ignore[no-untyped-def]
        refreshed.append((panel.name, None if reading is None else reading.position))
        refresh(panel, reading)

    monkeypatch.setattr(Panel, "_refresh", counted)
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    refreshed.clear()
    window.workspace.selection.step_token(3)
    settle(qtbot)
    names = [name for name, _ in refreshed]
    seen = {panel.name for panel in window.panels() if window.area.on_screen(panel.name)}
    assert {"image", "heads", "transcript", "phi_histogram"} <= seen
    assert "ledger" not in seen, "it is behind a tab"
    assert set(names) <= seen and len(names) == len(set(names)), "each once"

    refreshed.clear()
    bar, index = tab_of(window, "Ledger")
    qtbot.mouseClick(
        bar, QtCore.Qt.MouseButton.LeftButton, pos=bar.tabRect(index).center()
    )  # a real click on the tab
    settle(qtbot)
    position = window.workspace.selection.position
    assert refreshed == [("ledger", position)]
    assert window.area.panel("ledger").isVisible()
    assert not window.area.panel("phi_histogram").isVisible()
    refreshed.clear()
    window.workspace.selection.step_token(1)
    settle(qtbot)
    names = [name for name, _ in refreshed]
    assert "ledger" in names and "phi_histogram" not in names
    # Hidden and shown again, and put back in its first place.
    window.area.docks["ledger"].hide()
    window.area.reveal("ledger")
    settle(qtbot)
    assert window.area.panel("ledger").isVisible()
    window.restore_layout()
    settle(qtbot)
    assert window.area.panel("phi_histogram").isVisible()
    assert not window.area.panel("ledger").isVisible()
    window.workspace.modified = False
