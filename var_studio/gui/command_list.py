"""Every action, panel, recent file and theme of the window, for the command palette."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtGui import QAction, QKeySequence

from var_studio.gui.actions import ACTIONS
from var_studio.gui.models.commands import Command

if TYPE_CHECKING:
    from var_studio.gui.main_window import MainWindow


def commands(window: MainWindow) -> list[Command]:
    """What the palette offers now: the actions as their menus show them, then the rest."""
    found = [
        _of_action(entry.menu, window.actions_by_name[entry.name])
        for entry in ACTIONS
        if entry.name in window.actions_by_name and entry.name != "show_palette"
    ]
    found += [_of_action("Figure", action) for action in window.takeaway.actions]
    for choices in window.choices:
        found += choices.commands()
    for name, dock in window.area.docks.items():
        title = dock.panel.title
        reveal = partial(window.area.reveal, name)
        found.append(Command("Panel", f"Show {title}", reveal, tip=dock.panel.help_text))
        found.append(Command("Help", f"What is {title}?", partial(window.help_on, dock.panel)))
    for menu in window.recent:
        found += menu.commands()
    for action in window.theme_actions.values():
        found.append(_of_action("Theme", action))
    return found


def _of_action(kind: str, action: QAction) -> Command:
    keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    text = action.text().replace("&", "")
    return Command(kind, text, action.trigger, keys, action.statusTip(), action.isEnabled())
