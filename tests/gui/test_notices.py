"""Notices: where they lie, and how long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6 import QtCore, QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from var_studio.gui.widgets import notices
from var_studio.gui.widgets.notices import NoticeBar

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)


@pytest.fixture
def over(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[QtWidgets.QWidget]:
    monkeypatch.setattr(notices, "STAYS_MS", 150)
    monkeypatch.setattr(notices, "_LETTER_MS", 0)
    widget = QtWidgets.QWidget()
    qtbot.addWidget(widget)
    widget.resize(1100, 640)
    widget.show()
    yield widget


def send(widget: QtWidgets.QWidget, *, inside: bool) -> None:
    place = QtCore.QPointF(5, 5)
    if inside:
        QtWidgets.QApplication.sendEvent(widget, QtGui.QEnterEvent(place, place, place))
    else:
        QtWidgets.QApplication.sendEvent(widget, QtCore.QEvent(QtCore.QEvent.Type.Leave))


def test_good_news_pass_and_problems_and_questions_stay(
    over: QtWidgets.QWidget, qtbot: QtBot
) -> None:
    bar = NoticeBar(over)
    bar.show_notice("error", "The disk is full.", "Free some room.")
    bar.show_notice("warning", "This is slow.")
    bar.show_notice("note", "The last run was cut off.", action=QtWidgets.QPushButton("Open it"))
    bar.show_notice("note", "Exported map.pdf", "to /home/me.")
    qtbot.waitUntil(lambda: len(bar.notices) == 3)
    qtbot.wait(400)
    assert [notice.kind for notice in bar.notices] == ["note", "warning", "error"]
    assert bar.notices[0].asks


def test_a_note_that_is_read_stays(over: QtWidgets.QWidget, qtbot: QtBot) -> None:
    bar = NoticeBar(over)
    note = bar.show_notice("note", "Exported map.pdf", "to /home/me.")
    send(note, inside=True)
    qtbot.wait(500)
    assert bar.notices == [note] and note.isVisible()
    send(note, inside=False)
    qtbot.waitUntil(lambda: bar.notices == [])
    assert not bar.isVisible()


def test_it_lies_in_a_corner_that_leaves_the_keyboard_in_sight(
    over: QtWidgets.QWidget, qtbot: QtBot
) -> None:
    bar = NoticeBar(over)
    area = over.rect()
    bar.show_notice("error", "The disk is full.", "Free some room.")
    place = bar.geometry()
    assert area.right() - place.right() < 20 and area.bottom() - place.bottom() < 20
    assert (
        place.height() > 20
        and place.width() < 0.5 * area.width()
        and place.top() > 0.7 * area.height()
    )
    bar.clear()
    field = QtWidgets.QLineEdit(over)
    field.setGeometry(800, 600, 250, 30)
    field.show()
    over.activateWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    bar.show_notice("error", "The image cannot be read.", "Open another one.")
    assert not bar.geometry().intersects(field.geometry())
    assert area.contains(bar.geometry())
    assert bar.height() > 20 and bar.geometry().left() < 20
    # It keeps its corner, whatever gets the keyboard meanwhile.
    field.clearFocus()
    over.resize(1000, 500)
    qtbot.wait(20)
    assert bar.geometry().left() < 20 and over.rect().contains(bar.geometry())


def test_a_problem_becomes_one_line_until_it_is_looked_at(
    over: QtWidgets.QWidget, qtbot: QtBot
) -> None:
    field = QtWidgets.QLineEdit(over)
    field.show()
    over.activateWindow()
    field.setFocus()
    qtbot.waitUntil(field.hasFocus)
    bar = NoticeBar(over)
    long = "The file cannot be read, since its last part is not there. " * 3
    problem = bar.show_notice("error", long, "Open another one.")
    whole = bar.height()
    send(problem, inside=False)  # wherever the pointer happens to be
    qtbot.waitUntil(lambda: problem.folded)
    qtbot.waitUntil(lambda: bar.height() < whole)
    one_line = bar.height()
    assert (
        over.fontMetrics().height() < one_line < 2.5 * over.fontMetrics().height() + 10
        and problem.isVisible()
    )
    assert problem.text().startswith(long) and over.rect().contains(bar.geometry())
    send(problem, inside=True)
    qtbot.waitUntil(lambda: bar.height() == whole)
    qtbot.wait(300)
    assert not problem.folded, "somebody reads it"
    send(problem, inside=False)
    qtbot.waitUntil(lambda: problem.folded and bar.height() == one_line)
    problem.close_button.setFocus()
    qtbot.waitUntil(lambda: not problem.folded)
    asks = bar.show_notice("warning", long, action=QtWidgets.QPushButton("Load it anyway"))
    qtbot.wait(400)
    assert not asks.folded, "a question is there to be read"


def test_a_long_path_is_seen_whole_and_copied_as_it_is(
    over: QtWidgets.QWidget, qtbot: QtBot
) -> None:
    bar = NoticeBar(over)
    path = "/cache/windows/20261121-221504-561415-70dbc5f4/20261121-221824-591166-e12f80ec"
    name = "a" * 90
    bar.show_notice("error", f"Recording to {path} failed.", f"Rename {name}.")
    label = bar.notices[0]._text
    qtbot.waitUntil(lambda: label.isVisible() and label.width() > 100)
    metrics = label.fontMetrics()
    room = label.contentsRect().width()
    for piece in label.text().replace("\u200b", " ").split():
        assert metrics.horizontalAdvance(piece) <= room, "no line can hold it"
    assert bar.notices[0].text() == f"Recording to {path} failed. Rename {name}."
    label.setSelection(0, len(label.text()))
    qtbot.keyClick(label, QtCore.Qt.Key.Key_C, QtCore.Qt.KeyboardModifier.ControlModifier)
    assert QtWidgets.QApplication.clipboard().text() == bar.notices[0].text()
