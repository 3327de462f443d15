"""Every action of the window: its words, its key, its menu. The window has a method for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMainWindow, QMenu


@dataclass(frozen=True, slots=True)
class ActionEntry:
    """`name` is the window's method; `menu` its menu; `tip` a sentence for the status bar."""

    name: str
    menu: str
    text: str
    keys: tuple[str, ...] = ()
    tip: str = ""
    checkable: bool = False


MENUS = {
    "File": "&File",
    "Edit": "&Edit",
    "Run": "&Run",
    "View": "&View",
    "Figure": "Fi&gure",
    "Experiment": "E&xperiment",
    "Help": "&Help",
}
SEPARATOR = "-"

ACTIONS: tuple[ActionEntry, ...] = (
    ActionEntry("open_image", "File", "Open &image…", ("Ctrl+I",), "Choose the picture to ask of."),
    ActionEntry(
        "add_image", "File", "&Add image…", ("Ctrl+Shift+I",), "Ask about several pictures at once."
    ),
    ActionEntry("open_session", "File", "&Open session…", ("Ctrl+O",), "Open a saved session."),
    ActionEntry(
        "open_recording",
        "File",
        "Open &kept recording…",
        (),
        "Open the folder of a single run, e.g. one that a script recorded.",
    ),
    ActionEntry(
        "load_settings",
        "File",
        "&Load settings…",
        (),
        "Take the settings of a JSON file that Setup or a figure wrote.",
    ),
    ActionEntry(SEPARATOR, "File", ""),
    ActionEntry("save_session", "File", "&Save session", ("Ctrl+S",), "Save all runs in one file."),
    ActionEntry("save_session_as", "File", "Sa&ve session as…", ("Ctrl+Shift+S",)),
    ActionEntry(
        "save_part",
        "File",
        "Save a pa&rt as…",
        (),
        "Leave out rows, weights or pictures; the size of the file is told before.",
    ),
    ActionEntry(SEPARATOR, "File", ""),
    ActionEntry("close", "File", "&Quit", ("Ctrl+Q",)),
    ActionEntry("undo", "Edit", "&Undo", ("Ctrl+Z",), "Take the last change of settings back."),
    ActionEntry("redo", "Edit", "&Redo", ("Ctrl+Shift+Z",), "Make it again."),
    ActionEntry(SEPARATOR, "Edit", ""),
    ActionEntry("paste_image", "Edit", "&Paste image", ("Ctrl+V",), "Ask of the copied picture."),
    ActionEntry(SEPARATOR, "Edit", ""),
    ActionEntry(
        "find_words", "Edit", "&Find words…", ("Ctrl+F", "/"), "Search the question and answers."
    ),
    ActionEntry("find_next", "Edit", "Find &next", ("F3",), "Select the next word found."),
    ActionEntry("find_previous", "Edit", "Find pre&vious", ("Shift+F3",), "The one before."),
    ActionEntry("run", "Run", "&Run", ("R",), "Ask the model; every attention row is recorded."),
    ActionEntry(
        "run_with_var",
        "Run",
        "Run with &interventions",
        ("Shift+R",),
        "Ask again with what is ticked in Setup, in every layer and step, and compare.",
    ),
    ActionEntry(
        "run_pair",
        "Run",
        "Run &pair",
        ("Ctrl+R",),
        "Baseline, the same with the interventions, and the baseline's answer scored under them.",
    ),
    ActionEntry(
        "follow_up", "Run", "&Follow up", ("Ctrl+Shift+R",), "Ask on, after the answer on screen."
    ),
    ActionEntry("stop", "Run", "&Stop", ("Esc",), "Stop; what was recorded so far is kept."),
    ActionEntry(SEPARATOR, "Run", ""),
    ActionEntry("load_demo", "Run", "Load the &demo model"),
    ActionEntry("open_model_folder", "Run", "Open a &model folder…"),
    ActionEntry(
        "open_hub_model",
        "Run",
        "Load a model from the &hub…",
        (),
        "Type its owner/name in Setup; it is downloaded once.",
    ),
    ActionEntry("release_model", "Run", "Re&lease the model", (), "Give its memory back."),
    ActionEntry("next_token", "View", "&Next token", ("Right",)),
    ActionEntry("previous_token", "View", "&Previous token", ("Left",)),
    ActionEntry("next_layer", "View", "Next la&yer", ("Down",), "Down in Heads, to the output."),
    ActionEntry("previous_layer", "View", "Previous laye&r", ("Up",), "Up in Heads, to the input."),
    ActionEntry("next_head", "View", "Next &head", ("]",)),
    ActionEntry("previous_head", "View", "Previous hea&d", ("[",)),
    ActionEntry("all_heads", "View", "Select &all heads", ("A",)),
    ActionEntry(SEPARATOR, "View", ""),
    ActionEntry(
        "show_palette",
        "View",
        "&Command palette…",
        ("Ctrl+K",),
        "Every command and panel, by a few letters of its name.",
    ),
    ActionEntry("flip", "View", "&Flip before / after", ("Space",)),
    ActionEntry("toggle_sinks", "View", "&Box the visual sinks", ("S",), checkable=True),
    ActionEntry(
        "restore_layout", "View", "Restore the &layout", (), "All panels in their first places."
    ),
    ActionEntry("export_figure", "Figure", "&Export figure…", ("Ctrl+E",)),
    ActionEntry("copy_picture", "Figure", "&Copy the picture of the panel in focus"),
    ActionEntry(
        "reset_method",
        "Experiment",
        "R&eset the redistribution's settings",
        (),
        "Back to the paper's values and the model's own τ.",
    ),
    ActionEntry("help_here", "Help", "&What is this?", ("F1",), "Help on the panel in focus."),
    ActionEntry("show_keys", "Help", "&Keys"),
    ActionEntry(
        "about_machine",
        "Help",
        "About this &machine",
        (),
        "GPU, kernels, versions and folders, and what to change.",
    ),
    ActionEntry("about", "Help", "&About VAR Studio"),
)


def build(window: QMainWindow) -> tuple[dict[str, QAction], dict[str, QMenu]]:
    """Make the menus and actions, each connected to the window's method of its name."""
    menus = {name: window.menuBar().addMenu(title) for name, title in MENUS.items()}
    actions: dict[str, QAction] = {}
    for entry in ACTIONS:
        menu = menus[entry.menu]
        if entry.name == SEPARATOR:
            menu.addSeparator()
            continue
        action = QAction(entry.text, window)
        action.setObjectName(f"action.{entry.name}")
        action.setShortcuts([QKeySequence(key) for key in entry.keys])
        action.setStatusTip(entry.tip)
        action.setCheckable(entry.checkable)
        slot: Callable[..., Any] = getattr(window, entry.name)
        action.triggered.connect(_without_checked(slot))
        menu.addAction(action)
        actions[entry.name] = action
    for menu in menus.values():
        menu.setToolTipsVisible(False)
    return actions, menus


def _without_checked(slot: Callable[..., Any]) -> Callable[[bool], None]:
    """`triggered` brings a bool that none of the window's methods wants."""

    def call(_checked: bool = False) -> None:
        slot()

    return call


def keys_table() -> list[tuple[str, str]]:
    """(keys, what they do) for the list of keys."""
    return [
        (" or ".join(entry.keys), entry.text.replace("&", "").rstrip("…"))
        for entry in ACTIONS
        if entry.keys
    ]
