"""The order of a question's images: dragged with the mouse, stepped with the keyboard, undone."""

from __future__ import annotations

import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, settle
from tests.gui.pointer import move_mouse
from tests.synthetic import make_image
from var_studio.gui.main_window import MainWindow
from var_studio.gui.widgets.image_strip import ImageStrip

pytestmark = IGNORE_QT
Left = QtCore.Qt.MouseButton.LeftButton


@pytest.fixture
def strip(window: MainWindow, qtbot: QtBot) -> ImageStrip:
    """Seven images: two rows of thumbnails."""
    window.workspace.question.set_images([make_image(seed=seed) for seed in range(7)])
    settle(qtbot)
    return window.setup.image_section.strip


def order(shown: MainWindow) -> list[int]:
    hashes = [make_image(seed=seed).sha256 for seed in range(7)]
    return [hashes.index(image.sha256) for image in shown.workspace.question.images]


def carry(qtbot: QtBot, strip: ImageStrip, number: int, to: int, steps: int = 4) -> None:
    """Drag a thumbnail over another, and let it go there."""
    button = strip.thumbnails[number]
    start = button.rect().center()
    end = button.mapFromParent(strip.thumbnails[to].geometry().center())
    qtbot.mousePress(button, Left, pos=start)
    for step in range(1, steps + 1):
        at = QtCore.QPointF(start) + QtCore.QPointF(end - start) * step / steps
        move_mouse(button, at, buttons=True)
    if to != number:
        assert strip.mark.isVisible(), "nothing says where it will go"
        over = strip.thumbnails[to].geometry().adjusted(-4, 0, 4, 0)
        assert over.contains(strip.mark.geometry().center())
    qtbot.mouseRelease(button, Left, pos=end)
    settle(qtbot)
    assert not strip.mark.isVisible()


def test_a_thumbnail_is_dragged_to_another_place(
    window: MainWindow, strip: ImageStrip, qtbot: QtBot
) -> None:
    question, stack = window.workspace.question, window.workspace.undo_stack
    suggested, each = question.suggestions, question.each
    carry(qtbot, strip, 0, 2)
    assert order(window) == [1, 2, 0, 3, 4, 5, 6]
    assert strip.current == 2 and strip.thumbnails[2].isChecked()
    carry(qtbot, strip, 6, 1)  # from the second row to the first
    assert order(window) == [1, 6, 2, 0, 3, 4, 5]
    assert (question.suggestions, question.each) == (suggested, each)
    for _ in range(2):
        stack.undo()
    assert order(window) == list(range(7))
    # Moved a little and back, it is neither a move nor a click; a click is a click.
    chosen, steps = strip.current, stack.index()
    carry(qtbot, strip, 4, 4)
    button = strip.thumbnails[4]
    centre = QtCore.QPointF(button.rect().center())
    qtbot.mousePress(button, Left, pos=centre.toPoint())
    for shift in (60, 0):
        move_mouse(button, centre + QtCore.QPointF(shift, 0), buttons=True)
    qtbot.mouseRelease(button, Left, pos=centre.toPoint())
    assert order(window) == list(range(7)) and stack.index() == steps
    assert not button.isDown()
    qtbot.mouseClick(strip.thumbnails[5], Left)
    assert strip.current == 5 != chosen and stack.index() == steps


def test_the_keyboard_moves_it_too(window: MainWindow, strip: ImageStrip, qtbot: QtBot) -> None:
    for number, button, wanted in (
        (0, strip.later, [1, 0, 2, 3, 4, 5, 6]),
        (1, strip.later, [1, 2, 0, 3, 4, 5, 6]),
        (2, strip.earlier, [1, 0, 2, 3, 4, 5, 6]),
    ):
        assert strip.current == number
        button.setFocus(QtCore.Qt.FocusReason.TabFocusReason)
        assert QtWidgets.QApplication.focusWidget() is button
        qtbot.keyClick(button, QtCore.Qt.Key.Key_Space)
        settle(qtbot)
        assert order(window) == wanted
