"""The whole window, started and ended as the program does it; what a person does in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from var_studio.assets import user_folder
from var_studio.gui.appearance import Appearance
from var_studio.gui.collector import Collector
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.token_list import TokenRole
from var_studio.gui.widgets.token_strip import TokenStrip

# The offscreen plugin warns of it at each top-level window.
IGNORE_QT = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
PATIENCE = 60_000
"""Milliseconds: loading torch on a busy machine. No test asserts how long anything takes."""


class PatientBot(QtBot):
    """Waits as long as the slowest machine may take, and not the five seconds of its parent."""

    def waitUntil(self, callback: Callable[[], bool | None], *, timeout: int = PATIENCE) -> None:
        super().waitUntil(callback, timeout=timeout)

    def waitSignal(self, signal: Any, *, timeout: int = PATIENCE, **others: Any) -> Any:
        return super().waitSignal(signal, timeout=timeout, **others)


@pytest.fixture
def qtbot(qapp: QtWidgets.QApplication, request: pytest.FixtureRequest) -> QtBot:
    """The bot of pytest-qt, with patience."""
    return PatientBot(request)


@pytest.fixture
def window(qtbot: QtBot, qapp: QtWidgets.QApplication) -> Iterator[MainWindow]:
    """The window on screen, no model loaded yet; ends as closing it would, without a question."""
    qapp.setStyle("Fusion")
    collector = Collector()
    collector.start()
    appearance = Appearance()
    shown = MainWindow(appearance)
    shown.resize(1400, 900)
    with qtbot.waitSignal(shown.first_painted):
        shown.show()
    shown.setup.prepare()  # as `start` does
    shown.activateWindow()
    qtbot.waitUntil(shown.isActiveWindow)  # shortcuts are an active window's
    yield shown
    shown.workspace.modified = False
    shown.close()
    shown.deleteLater()
    collector.stop()


@pytest.fixture
def demo(window: MainWindow, qtbot: QtBot) -> MainWindow:
    """The window with the real demo model loaded and its first question ready to run."""
    window.start()
    qtbot.waitUntil(lambda: window.controller.model is not None, timeout=PATIENCE)
    return window


def wait_idle(qtbot: QtBot, window: MainWindow) -> None:
    """Wait until all queued runs are over."""
    qtbot.waitUntil(lambda: window.controller.idle, timeout=PATIENCE)
    settle(qtbot)


def wait_saved(qtbot: QtBot, window: MainWindow) -> None:
    """Wait until the session is written, or refused."""
    qtbot.waitUntil(lambda: not window.files.saving, timeout=PATIENCE)
    settle(qtbot)


def settle(qtbot: QtBot) -> None:
    """Let zero timers and queued repaints happen."""
    for _ in range(3):
        QtWidgets.QApplication.processEvents()
    qtbot.wait(1)


def press(qtbot: QtBot, button: QtWidgets.QAbstractButton) -> None:
    """Click a button as a mouse does."""
    qtbot.mouseClick(button, QtCore.Qt.MouseButton.LeftButton)


def tab_of(window: MainWindow, title: str) -> tuple[QtWidgets.QTabBar, int]:
    """The tab bar that has this tab, and which tab it is."""
    for bar in window.area.findChildren(QtWidgets.QTabBar):
        for index in range(bar.count()):
            if bar.tabText(index) == title:
                return bar, index
    raise AssertionError(f"no tab {title}")


def words(strip: TokenStrip) -> list[str]:
    """The words of a paragraph, as shown."""
    return [entry.text.strip() for entry in strip.tokens.entries]


def click_word(qtbot: QtBot, strip: TokenStrip, number: int) -> int:
    """Click the entry of that number in the paragraph; return its position."""
    index = strip.tokens.index(number)
    place = strip.visualRect(index).center()
    assert strip.viewport().rect().contains(place)
    qtbot.mouseClick(strip.viewport(), QtCore.Qt.MouseButton.LeftButton, pos=place)
    settle(qtbot)
    return int(index.data(TokenRole.POSITION))


def notices(window: MainWindow) -> list[str]:
    """What the notices on screen say."""
    return [notice.text() for notice in window.notices.notices if notice.isVisible()]


def cached() -> list[str]:
    """Every file and folder in the user's cache."""
    cache = user_folder("cache")
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*"))


class Gate:
    """Holds the real engine at its first token until opened: a run that is surely under way."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def wrap(self, record: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, on_event: Callable[[Any], None], **kwargs: Any) -> Any:
            cancel: threading.Event = kwargs["cancel"]

            def tell(event: Any) -> None:
                on_event(event)
                if type(event).__name__ == "TokenProduced":
                    self.reached.set()
                    while not self._open.wait(0.01) and not cancel.is_set():
                        pass

            return record(*args, on_event=tell, **kwargs)

        return held


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A gate in front of the engine's second token."""
    from var_studio.engine import generation

    held = Gate()
    monkeypatch.setattr(generation, "record", held.wrap(generation.record))
    yield held
    held.open()


Answer = QtWidgets.QMessageBox.StandardButton
AnswerBoxes = Callable[[Answer], list[str]]


@pytest.fixture
def answer_boxes(monkeypatch: pytest.MonkeyPatch) -> AnswerBoxes:
    """Answer each question box with a button that it has; collect what was asked."""
    asked: list[str] = []

    def answer(button: Answer) -> list[str]:
        def exec_(box: QtWidgets.QMessageBox) -> int:
            assert box.button(button) is not None
            asked.append(f"{box.text()} {box.informativeText()}")
            return int(button.value)

        monkeypatch.setattr(QtWidgets.QMessageBox, "exec", exec_)
        return asked

    return answer


def tick(qtbot: QtBot, window: MainWindow, kind: str) -> None:
    """Click the box of an intervention, wherever it is scrolled to."""
    row = window.setup.interventions.rows[kind]
    window.setup.scroller.ensureWidgetVisible(row.box)
    settle(qtbot)
    place = QtCore.QPoint(8, row.box.height() // 2)
    qtbot.mouseClick(row.box, QtCore.Qt.MouseButton.LeftButton, pos=place)
    settle(qtbot)


def choose(qtbot: QtBot, combo: QtWidgets.QComboBox, key: str) -> None:
    """Choose an entry with the keyboard, as a person does."""
    combo.setFocus()
    steps = combo.findData(key) - combo.currentIndex()
    for _ in range(abs(steps)):
        qtbot.keyClick(combo, QtCore.Qt.Key.Key_Down if steps > 0 else QtCore.Qt.Key.Key_Up)
    settle(qtbot)


def type_line(qtbot: QtBot, line: QtWidgets.QLineEdit, text: str) -> None:
    """Type another text into a field, and Enter."""
    line.setFocus()
    line.selectAll()
    qtbot.keyClick(line, QtCore.Qt.Key.Key_Delete)
    qtbot.keyClicks(line, text)
    qtbot.keyClick(line, QtCore.Qt.Key.Key_Return)
    settle(qtbot)
