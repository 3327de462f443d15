"""The frame of the window: layout, sizes, drops, notices over the panels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from PySide6 import QtCore, QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, notices, press, settle
from tests.gui.pointer import drag
from tests.synthetic import make_run
from var_studio.gui import theme
from var_studio.gui.appearance import Appearance
from var_studio.gui.main_window import MainWindow
from var_studio.gui.panels import PANELS
from var_studio.recording.session import save_session
from var_studio.recording.settings import Redistribution

pytestmark = IGNORE_QT
# The offscreen plugin warns where a panel floats.
FLOATS = pytest.mark.qt_log_ignore("propagateSizeHints", "does not support raise")


# -------------------------------------------------------------------------------------- notices
def test_notices_move_nothing(window: MainWindow, qtbot: QtBot) -> None:
    places = [panel.geometry() for panel in window.panels()]
    area = window.area.geometry()
    words = "A sentence that is long enough to need more than one line of the notice. " * 3
    for number in range(4):
        window.notices.show_notice("error", f"{number}: {words}", more="why\n" * 9)
    settle(qtbot)
    assert window.area.geometry() == area
    assert [panel.geometry() for panel in window.panels()] == places
    bar = window.notices
    assert len(notices(window)) == 3
    assert window.centralWidget().rect().contains(bar.geometry())
    for notice in bar.notices:
        assert notice._text.height() >= notice._text.heightForWidth(notice._text.width())
    # Details make it grow; a narrower window keeps it inside.
    height = bar.height()
    press(qtbot, bar.notices[0].details_button)
    settle(qtbot)
    assert bar.height() >= height + 150 and bar.notices[0]._details.isVisible()
    window.resize(1000, 700)
    settle(qtbot)
    assert window.centralWidget().rect().contains(bar.geometry())
    bar.clear()
    assert not bar.isVisible()


# ---------------------------------------------------------------------------------------- drops
def drop_on(widget: QtWidgets.QWidget, mime: QtCore.QMimeData) -> bool:
    """Drag over a widget and let go, as Qt tells it: to the widget under the pointer, then to
    those it lies in, until one accepts."""
    middle = QtCore.QPointF(widget.rect().center())
    copy, left = QtCore.Qt.DropAction.CopyAction, QtCore.Qt.MouseButton.LeftButton
    no_key = QtCore.Qt.KeyboardModifier.NoModifier
    taker: QtWidgets.QWidget | None = widget
    while taker is not None:
        if taker.isEnabled() and taker.acceptDrops():
            enter = QtGui.QDragEnterEvent(middle.toPoint(), copy, mime, left, no_key)
            enter.ignore()
            QtCore.QCoreApplication.sendEvent(taker, enter)
            if enter.isAccepted():
                break
        taker = None if taker.isWindow() else taker.parentWidget()
    if taker is None:
        return False
    event = QtGui.QDropEvent(middle, copy, mime, left, no_key)
    QtCore.QCoreApplication.sendEvent(taker, event)
    return event.isAccepted()


def mime_of(path: Path) -> QtCore.QMimeData:
    mime = QtCore.QMimeData()
    mime.setUrls([QtCore.QUrl.fromLocalFile(str(path))])
    return mime


def test_a_file_can_be_dropped_on_every_widget(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.start(model=None)
    window.workspace.add_run(make_run(tmp_path / "run"))
    settle(qtbot)
    taken: list[str] = []
    window.workspace.question.image_changed.connect(
        lambda: taken.append(getattr(window.workspace.question.image, "name", ""))
    )
    tried = 0
    for number, (panel, widget) in enumerate(_visible(window)):
        picture = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 8), (number % 256, number // 256, 7)).save(picture)
        taken.clear()
        assert drop_on(widget, mime_of(picture)), (panel, widget)
        assert picture.name in taken, f"{panel}: {widget} swallowed the file"
        tried += 1
    assert tried > 60
    assert not any("file:" in field.text() for field in window.findChildren(QtWidgets.QLineEdit))


def _visible(window: MainWindow) -> Iterator[tuple[str, QtWidgets.QWidget]]:
    for panel in window.panels():
        if panel.isVisible():
            for widget in (panel, panel.header, *panel.findChildren(QtWidgets.QWidget)):
                if widget.isVisible() and not widget.isWindow():
                    yield panel.name, widget


@FLOATS
def test_drops_on_a_floating_panel(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = window.area.docks["heads"]
    dock.setFloating(True)
    settle(qtbot)
    session = save_session(tmp_path / "a.vars", [make_run(tmp_path / "run")])
    assert drop_on(dock.panel, mime_of(session))
    assert window.workspace.session_path == session and len(window.workspace.runs) == 1
    # A recording's folder, a model's folder, a picture without a file.
    window.workspace.modified = False
    assert drop_on(dock.panel, mime_of(tmp_path / "run"))
    assert len(window.workspace.runs) == 2
    loaded: list[str] = []
    monkeypatch.setattr(window, "load_model", loaded.append)
    model = tmp_path / "model"
    model.mkdir()
    assert drop_on(window.transcript.answer.viewport(), mime_of(model))
    assert loaded == [str(model)]
    pixels = QtCore.QMimeData()
    picture = QtGui.QImage(30, 20, QtGui.QImage.Format.Format_RGB32)
    picture.fill(QtGui.QColor("#3366cc"))
    pixels.setImageData(picture)
    assert drop_on(dock.panel, pixels)
    assert window.workspace.question.image is not None
    assert not drop_on(dock.panel, QtCore.QMimeData()), "nothing was dropped"
    dock.setFloating(False)
    settle(qtbot)


# --------------------------------------------------------------------------------------- layout
def places(shown: MainWindow) -> dict[str, tuple[bool, bool]]:
    return {name: (dock.isVisible(), dock.isFloating()) for name, dock in shown.area.docks.items()}


def reopened(qtbot: QtBot) -> MainWindow:
    again = MainWindow(Appearance())
    with qtbot.waitSignal(again.first_painted):
        again.show()
    settle(qtbot)
    return again


@FLOATS
def test_the_layout_is_remembered_and_restorable(window: MainWindow, qtbot: QtBot) -> None:
    docks = window.area.docks
    first = places(window)
    docks["heads"].hide()
    docks["ledger"].setFloating(True)
    window.area.tabifyDockWidget(docks["image"], docks["transcript"])
    settle(qtbot)
    changed = places(window)
    assert changed != first and docks["transcript"] in window.area.tabifiedDockWidgets(
        docks["image"]
    )
    window.workspace.modified = False
    window.close()
    again = reopened(qtbot)
    try:
        assert places(again) == changed
        docks = again.area.docks
        assert docks["transcript"] in again.area.tabifiedDockWidgets(docks["image"])
        again.actions_by_name["restore_layout"].trigger()
        settle(qtbot)
        assert places(again) == first
        assert docks["transcript"] not in again.area.tabifiedDockWidgets(docks["image"])
    finally:
        again.close()
        again.deleteLater()


def test_a_layout_of_other_panels_is_left_alone(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from var_studio.gui import docks

    window.area.docks["heads"].hide()
    with monkeypatch.context() as patch:
        patch.setattr(docks, "_LAYOUT_VERSION", 7)  # as of a version with other panels
        window.close()
    again = reopened(qtbot)
    try:
        assert again.area.docks["heads"].isVisible()
        assert len(again.area.docks) == len(PANELS)
    finally:
        again.close()
        again.deleteLater()


def test_the_theme_is_switched_and_remembered(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lightness() -> int:
        return QtGui.QGuiApplication.palette().color(QtGui.QPalette.ColorRole.Window).lightness()

    for scheme, dark in (("dark", True), ("light", False)):
        window.theme_actions[scheme].trigger()
        settle(qtbot)
        assert (lightness() < 128) is dark
        assert Appearance().scheme == scheme
    window.theme_actions["system"].trigger()
    settle(qtbot)
    for dark in (True, False):  # The desktop changes; the offscreen platform has none that could.
        monkeypatch.setattr(theme, "system_is_dark", lambda dark=dark: dark)
        QtGui.QGuiApplication.styleHints().colorSchemeChanged.emit(QtCore.Qt.ColorScheme.Unknown)
        settle(qtbot)
        assert (lightness() < 128) is dark, "the window does not follow the system"


# ---------------------------------------------------------------------------------------- sizes
def test_names_of_tabs_are_written_out(window: MainWindow, qtbot: QtBot) -> None:
    window.resize(1000, 700)
    settle(qtbot)
    bars = [bar for bar in window.area.findChildren(QtWidgets.QTabBar) if bar.count()]
    assert bars
    for bar in bars:
        for index in range(bar.count()):
            needed = bar.fontMetrics().horizontalAdvance(bar.tabText(index))
            assert bar.tabRect(index).width() > needed, bar.tabText(index)
            # The last one is reached by the arrows or with the wheel.
            bar.setCurrentIndex(index)
            settle(qtbot)
            assert bar.rect().contains(bar.tabRect(index)), bar.tabText(index)


def test_sizes_come_back_with_the_window_and_stay_where_they_are_dragged(
    window: MainWindow, qtbot: QtBot
) -> None:
    docks = window.area.docks
    window.resize(1400, 900)
    settle(qtbot)
    before = {name: docks[name].size() for name in ("setup", "image", "transcript")}
    for size in ((1000, 700), (1400, 900)):
        window.resize(*size)
        settle(qtbot)
    assert {name: docks[name].size() for name in before} == before, "there and back"
    # A separator that was dragged stays where it is put, in proportion.
    image = docks["image"].geometry()
    at = QtCore.QPointF(image.right() + 3, image.center().y())
    drag(qtbot, window.area, at, at - QtCore.QPointF(60, 0), at - QtCore.QPointF(120, 0))
    settle(qtbot)
    narrow = docks["image"].width()
    assert narrow < before["image"].width() - 60
    window.resize(1410, 900)
    settle(qtbot)
    assert abs(docks["image"].width() - narrow) < 20
    # So it does in the next window, until the first layout is asked for.
    assert window.area.own_sizes
    window.workspace.modified = False
    window.close()
    again = reopened(qtbot)
    try:
        assert again.area.own_sizes
        again.actions_by_name["restore_layout"].trigger()
        settle(qtbot)
        again.resize(1400, 900)
        settle(qtbot)
        assert not again.area.own_sizes
        assert again.area.docks["setup"].width() == before["setup"].width()
    finally:
        again.close()
        again.deleteLater()


def overlaps(shown: MainWindow) -> list[str]:
    """Panels on screen that lie over one another, or are smaller than their content can be."""
    area = shown.area
    docks = [dock for name, dock in area.docks.items() if area.on_screen(name)]
    found = [
        f"{one.windowTitle()} over {other.windowTitle()}"
        for number, one in enumerate(docks)
        for other in docks[:number]
        if one.geometry().intersects(other.geometry())
    ]
    return found + [
        f"{dock.windowTitle()} is too small"
        for dock in docks
        if not area.rect().contains(dock.geometry())
        or dock.width() < dock.minimumSizeHint().width()
        or dock.height() < dock.minimumSizeHint().height()
    ]


def test_at_its_smallest_nothing_overlaps_and_it_fits_a_small_screen(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.start(model=None)
    for seed in (0, 1):
        window.workspace.add_run(make_run(tmp_path / str(seed), seed=seed))
    qtbot.waitUntil(lambda: all(dock.has_panel for dock in window.area.docks.values()))
    bottom = [entry.kind().name for entry in PANELS if entry.place == "bottom"]
    for name in bottom:
        window.area.reveal(name)
        window.resize(200, 200)
        settle(qtbot)
        # 1024 × 700, and a title bar.
        assert window.width() <= 1024 and window.height() <= 672, name
        assert overlaps(window) == [], name
    window.setMinimumSize(900, 600)  # The check can fail.
    window.resize(900, 600)
    settle(qtbot)
    assert overlaps(window) != []


def test_the_room_of_a_hidden_panel_goes_to_the_maps(window: MainWindow, qtbot: QtBot) -> None:
    window.start(model=None)
    qtbot.waitUntil(lambda: all(dock.has_panel for dock in window.area.docks.values()))
    settle(qtbot)
    docks = window.area.docks
    before = {name: docks[name].size() for name in ("setup", "transcript", "image", "heads")}
    for hidden, gains in (("heads", "image"), ("image", "heads")):
        docks[hidden].hide()
        settle(qtbot)
        assert abs(docks["setup"].width() - before["setup"].width()) <= 2
        assert abs(docks["transcript"].height() - before["transcript"].height()) <= 2
        room = before["image"].width() + before["heads"].width()
        assert docks[gains].width() > room - 10
        docks[hidden].show()
        settle(qtbot)
        assert {name: docks[name].size() for name in before} == before, "there and back"


def test_a_note_does_not_make_a_small_window_grow(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    window.start(model=None)
    run = make_run(tmp_path / "run")
    pair = make_run(tmp_path / "pair", intervention=Redistribution(tau=5.0))
    for each in (run, pair):
        window.workspace.add_run(each)
    window.workspace.look_at(run)
    qtbot.waitUntil(lambda: all(dock.has_panel for dock in window.area.docks.values()))
    window.resize(1100, 700)
    settle(qtbot)
    heads = window.area.panel("heads")
    assert not heads.note.isVisible()  # type: ignore[attr-defined]
    assert window.workspace.paired is pair and window.size().toTuple() == (1100, 700)
    window.workspace.selection.select_cells({3})
    window.workspace.view.reverse()
    settle(qtbot)
    assert heads.note.isVisible()  # type: ignore[attr-defined]
    assert window.size().toTuple() == (1100, 700)
