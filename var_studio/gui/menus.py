"""The menus that are not a list of actions: panels and themes to show, what was opened last."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QMenu

from var_studio.gui.appearance import SCHEMES
from var_studio.gui.recent import RecentMenu

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow


def add_panels(window: MainWindow) -> None:
    """A tick for each panel at the end of the View menu."""
    menu = window.menus["View"]
    menu.addSeparator()
    for dock in window.area.docks.values():
        menu.addAction(dock.toggleViewAction())
    menu.addAction(window.actions_by_name["restore_layout"])


def add_themes(window: MainWindow) -> dict[str, QAction]:
    """The themes in the View menu, by the name of their scheme."""
    menu = window.menus["View"]
    menu.addSeparator()
    themes = menu.addMenu("The&me")
    group = QActionGroup(window)
    found: dict[str, QAction] = {}
    for scheme, text in zip(SCHEMES, ("Follow the system", "Light", "Dark"), strict=True):
        action = QAction(text, window)
        action.setCheckable(True)
        action.setChecked(window.appearance.scheme == scheme)
        action.setData(scheme)
        group.addAction(action)
        themes.addAction(action)
        found[scheme] = action
    group.triggered.connect(window.choose_theme)
    return found


def add_recent(window: MainWindow) -> list[RecentMenu]:
    """What was opened last, in the File and Run menus."""

    def open_session(name: str) -> None:
        window.files.open(Path(name))

    def open_image(name: str) -> None:
        window.intake.take_files([Path(name)])

    found: list[RecentMenu] = []
    for menu, before, title, what, call, on_disk in (
        ("File", "save_session", "Recent s&essions", "session", open_session, True),
        ("File", "save_session", "Recent i&mages", "image", open_image, True),
        ("Run", "open_model_folder", "Recent m&odels", "model", window.load_model, False),
    ):
        submenu = QMenu(title, window)
        window.menus[menu].insertMenu(window.actions_by_name[before], submenu)
        found.append(RecentMenu(submenu, f"{what}s", what, call, on_disk))
    window.menus["File"].insertSeparator(window.actions_by_name["save_session"])
    return found
