"""F1 and the README tell the same of each panel.

After a panel was added or its help changed: UPDATE_README=1 python -m pytest tests/gui/test_help.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, settle
from var_studio.gui.help_texts import first_sentence, panel_table
from var_studio.gui.main_window import MainWindow

pytestmark = IGNORE_QT
README = Path(__file__).parents[2] / "README.md"
TABLE = re.compile(r"\| panel \| what it shows \|\n(?:\|.*\n)+")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("One. Two.", "One."),
        ("φ is at most √D (Sec. 4.1). More.", "φ is at most √D (Sec. 4.1)."),
        ("As in Fig. 3a and Eq. 4 of App. B. More.", "As in Fig. 3a and Eq. 4 of App. B."),
        ("τ ≥ 0.2 and 1.5 are numbers. More", "τ ≥ 0.2 and 1.5 are numbers."),
        ("No stop", "No stop"),
    ],
)
def test_first_sentence(text: str, first: str) -> None:
    assert first_sentence(text) == first


def test_the_readme_tells_the_first_sentence_of_each_panels_help() -> None:
    told = README.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_README"):
        told = TABLE.sub(lambda _: panel_table(), told)
        README.write_text(told, encoding="utf-8")
    (table,) = TABLE.findall(told)
    assert table == panel_table(), "run this test with UPDATE_README=1"


def test_f1_tells_the_whole_help_of_the_panel_in_focus(window: MainWindow, qtbot: QtBot) -> None:
    for name, dock in window.area.docks.items():
        panel = dock.panel
        assert panel.help_text.endswith(".") and panel.empty_text.endswith("."), name
        window.area.reveal(name)
        settle(qtbot)
        qtbot.keyClick(window, QtCore.Qt.Key.Key_F1)
        card = window.help_card
        assert card.isVisible() and card.text() == panel.help_text, name
        assert window.rect().contains(card.geometry()), f"the help of {name} is cut off"
        qtbot.keyClick(card, QtCore.Qt.Key.Key_Escape)
        assert not card.isVisible()


def test_f1_in_a_panels_header_is_about_that_panel(window: MainWindow, qtbot: QtBot) -> None:
    panel = window.area.panel("heads")
    panel.header.help_button.setFocus()
    settle(qtbot)
    qtbot.keyClick(window, QtCore.Qt.Key.Key_F1)
    assert window.help_card.text() == panel.help_text
