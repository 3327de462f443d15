"""The command palette: every action and panel, found by a few letters, without a mouse."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6 import QtCore, QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, settle
from tests.synthetic import make_run
from var_studio.gui import memory
from var_studio.gui.actions import ACTIONS, SEPARATOR
from var_studio.gui.command_list import commands
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.commands import Command, match, search

pytestmark = IGNORE_QT
Key = QtCore.Qt.Key
Ctrl = QtCore.Qt.KeyboardModifier.ControlModifier


def named(*texts: str) -> list[Command]:
    return [Command("Menu", text, lambda: None) for text in texts]


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("nh", "Next head"),
        ("head next", "Next head"),
        ("NEXT", "Next head"),
        ("run", "Run"),
        ("save as", "Save session as…"),
        ("exp", "Export figure…"),
        ("prvhd", "Previous head"),
    ],
)
def test_a_few_letters_find_the_command(typed: str, first: str) -> None:
    offered = named(
        "Open image…", "Previous head", "Save session as…", "Run with VAR", "Run", "Next head",
        "Export figure…", "Show Transcript",
    )  # fmt: skip
    assert search(typed, offered)[0].text == first


def test_letters_that_are_not_there_find_nothing() -> None:
    assert search("xyz", named("Next head")) == []
    assert search("next xyz", named("Next head")) == []
    assert match("dh", "Next head") is None, "letters are taken in their order"
    assert [c.text for c in search("", named("b", "a"))] == ["b", "a"]


def test_what_cannot_be_done_now_comes_last() -> None:
    offered = [Command("Edit", "Undo", lambda: None, enabled=False), *named("Undock")]
    assert [c.text for c in search("undo", offered)] == ["Undock", "Undo"]


def test_every_action_and_panel_is_there(window: MainWindow) -> None:
    offered = [command.text for command in commands(window)]
    for entry in ACTIONS:
        if entry.name not in (SEPARATOR, "show_palette"):
            assert window.actions_by_name[entry.name].text().replace("&", "") in offered
    for panel in window.panels():
        assert f"Show {panel.title}" in offered and f"What is {panel.title}?" in offered
    assert {"Light", "Dark", "Follow the system"} <= set(offered)
    # And nothing that a menu has is missing here, but for the menus of submenus.
    shown = [
        action.text().replace("&", "")
        for menu in window.menus.values()
        for action in menu.actions()
        if not action.isSeparator() and action.menu() is None
    ]
    panels = {dock.toggleViewAction().text() for dock in window.area.docks.values()}
    assert set(shown) - panels - {"Command palette…"} <= set(offered)


def test_keyboard_alone(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    before = window.transcript.answer
    before.setFocus()
    layer = window.workspace.selection.layer
    qtbot.keyClick(window, Key.Key_K, Ctrl)
    palette = window.palette_card
    assert palette.isVisible() and palette.line.hasFocus()
    assert len(palette.found()) > len(ACTIONS), "all are listed before anything is typed"
    qtbot.keyClicks(palette.line, "nextlayer")
    assert palette.found()[0] == "Next layer"
    qtbot.keyClick(palette.line, Key.Key_Return)
    assert not palette.isVisible()
    assert window.workspace.selection.layer == layer + 1
    assert QtWidgets.QApplication.focusWidget() is before
    # The arrows walk the list, not the tokens; Esc closes, and stops nothing.
    position = window.workspace.selection.position
    qtbot.keyClick(window, Key.Key_K, Ctrl)
    qtbot.keyClicks(palette.line, "token")
    second = palette.found()[1]
    qtbot.keyClick(palette.line, Key.Key_Down)
    assert palette.list.currentIndex().data() == second
    assert window.workspace.selection.position == position
    qtbot.keyClicks(palette.line, "qqq")
    assert palette.found() == [] and palette._nothing.isVisible()
    qtbot.keyClick(palette.line, Key.Key_Return)
    assert palette.isVisible(), "nothing was found, so nothing is done"
    qtbot.keyClick(palette.line, Key.Key_Escape)
    assert not palette.isVisible() and QtWidgets.QApplication.focusWidget() is before


def test_it_shows_panels_that_are_hidden_or_behind(window: MainWindow, qtbot: QtBot) -> None:
    heads, ledger = window.area.docks["heads"], window.area.docks["ledger"]
    heads.hide()
    settle(qtbot)
    assert not window.area.on_screen("heads")
    assert not window.area.on_screen("ledger"), "the ledger is behind the histogram"
    for typed, dock in (("show heads", heads), ("show ledger", ledger)):
        qtbot.keyClick(window, Key.Key_K, Ctrl)
        qtbot.keyClicks(window.palette_card.line, typed)
        qtbot.keyClick(window.palette_card.line, Key.Key_Return)
        settle(qtbot)
        assert window.area.on_screen(dock.panel.name)
        assert window._panel_in_focus() is dock.panel


def test_a_click_elsewhere_closes_it(window: MainWindow, qtbot: QtBot) -> None:
    window.show_palette()
    window.setup.prompt.setFocus()
    settle(qtbot)
    assert not window.palette_card.isVisible()
    assert QtWidgets.QApplication.focusWidget() is window.setup.prompt


def test_recent_files_are_listed_and_open(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from var_studio.recording.session import save_session

    session = save_session(tmp_path / "mine & yours.vars", [make_run(tmp_path / "run")])
    picture = tmp_path / "cat.png"
    image = QtGui.QImage(30, 20, QtGui.QImage.Format.Format_RGB32)
    image.fill(QtGui.QColor("#3366cc"))
    assert image.save(str(picture))
    assert window.files.open(session)
    window.intake.take_files([picture])
    memory.remember_recent("models", "owner/model")
    memory.remember_recent("sessions", str(tmp_path / "gone.vars"))
    window.workspace.replace_all([])
    window.workspace.question.set_image(None)
    listed = {c.kind: c for c in commands(window) if c.kind.startswith("Recent")}
    assert set(listed) == {"Recent session", "Recent image", "Recent model"}
    assert listed["Recent session"].text == "mine & yours.vars", "a file that is gone is listed"
    # In the menu, by keyboard and mouse alike; names keep their ampersands.
    menu = window.recent[0]._menu
    menu.aboutToShow.emit()
    (action,) = menu.actions()
    assert action.text() == "mine && yours.vars"
    action.trigger()
    settle(qtbot)
    assert window.workspace.session_path == session and window.workspace.run is not None
    window.workspace.question.set_image(None)
    listed["Recent image"].call()
    assert window.workspace.question.image is not None
    loaded: list[str] = []
    monkeypatch.setattr(window.controller, "load", lambda name, *_, **__: loaded.append(name))
    listed["Recent model"].call()
    assert loaded == ["owner/model"]
