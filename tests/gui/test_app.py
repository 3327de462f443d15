"""Starting and ending: what the first paint costs, whose garbage is whose, what was left over."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, cached, notices, press, settle
from tests.synthetic import make_run
from var_studio.gui import app
from var_studio.gui.collector import Collector
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.run_controller import RunController
from var_studio.gui.question_intake import QuestionIntake
from var_studio.gui.widgets.section import Section
from var_studio.recording.files import ZipFiles
from var_studio.recording.paths import runs_folder
from var_studio.recording.session import save_session

pytestmark = IGNORE_QT

_START = """
import sys
from var_studio.gui.app import main
code = main(quit_after_first_paint=True)
print(sorted({"torch", "transformers", "matplotlib"} & set(sys.modules)))
sys.exit(code)
"""


def test_first_paint_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _START],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "VAR_STUDIO_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    line, loaded = done.stdout.splitlines()
    report = json.loads(line)
    assert report.keys() == {"seconds_to_first_paint", "torch_loaded"}
    assert report["seconds_to_first_paint"] > 0.05, "counted from later than the process's start"
    assert report["torch_loaded"] is False and loaded == "[]"


def test_garbage_is_collected_in_the_gui_thread_only(qtbot: QtBot) -> None:
    class Marked:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            died_in.append(threading.current_thread())

    died_in: list[threading.Thread] = []
    collector = Collector(interval_ms=5)
    collector.start()
    try:
        assert not gc.isenabled()
        Marked()
        worker = threading.Thread(target=gc.collect)
        worker.start()
        worker.join()
        assert died_in == [], "collected in a worker"
        qtbot.waitUntil(lambda: bool(died_in))
        assert died_in == [threading.main_thread()]
    finally:
        collector.stop()
    assert gc.isenabled() and gc.collect.__module__ == "gc"


def test_a_run_cut_off_by_a_crash_is_offered_once(window: MainWindow, qtbot: QtBot) -> None:
    make_run(runs_folder() / "20260101-000000-finished").close()
    make_run(runs_folder() / "20260101-000001-cut", finish=False).close()
    window.start(model=None)
    settle(qtbot)
    assert any("cut off" in text for text in notices(window))
    (notice,) = window.notices.notices
    from PySide6.QtWidgets import QPushButton

    (button,) = notice.findChildren(QPushButton)
    press(qtbot, button)
    settle(qtbot)
    assert window.workspace.run is not None and not window.workspace.run.finished
    assert window.workspace.reading is not None
    assert notices(window) == []
    window.start(model=None)
    assert notices(window) == []


def test_a_cache_that_cannot_be_written_is_told_at_the_start(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.start(model=None)
    assert notices(window) == []
    assert cached() == [], "asking left something"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VAR_STUDIO_HOME", str(tmp_path / "file"))
    window.start(model=None)
    settle(qtbot)
    (said,) = notices(window)
    assert "No answer can be recorded" in said and "VAR_STUDIO_HOME" in said
    window.workspace.add_run(make_run(tmp_path / "elsewhere"))
    settle(qtbot)
    assert window.workspace.reading is not None  # what was recorded before can be looked at


def test_first_start_shows_a_question_ready_to_run(window: MainWindow, qtbot: QtBot) -> None:
    window.start(model=None)
    question = window.workspace.question
    assert question.image is not None and question.prompt in question.suggestions
    assert window.setup.prompt.toPlainText() == question.prompt
    for panel in window.panels():
        if panel.isVisible() and panel.name != "setup":
            assert panel._stack.currentWidget() is panel._empty
            assert panel._empty.text().endswith(".")
    # The pictures unlike the training scenes say so.
    from var_studio.gui.models.question import shipped_samples

    notes = [sample.note for sample in shipped_samples()]
    assert any(notes) and not all(notes)
    strange = next(sample for sample in shipped_samples() if sample.note)
    window.intake.take_sample(strange)
    assert (
        window.setup.image_section.sample_note.isVisible()
        and strange.note in window.setup.image_section.sample_note.text()
    )


def test_help_of_every_panel_says_something(window: MainWindow, qtbot: QtBot) -> None:
    for panel in window.panels():
        assert len(panel.help_text) > 80
        assert panel.header.help_button.accessibleName()
    card = window.help_card
    press(qtbot, window.setup.header.help_button)
    assert card.isVisible() and card.text() == window.setup.help_text
    assert window.rect().contains(card.geometry())
    qtbot.keyClick(card, QtCore.Qt.Key.Key_Escape)
    assert not card.isVisible()
    window.transcript.answer.setFocus()
    qtbot.keyClick(window, QtCore.Qt.Key.Key_F1)
    assert card.isVisible() and len(card.text()) > 80
    press(qtbot, card.close_button)
    assert not card.isVisible()


def test_every_control_has_a_name_and_every_setting_its_section(
    window: MainWindow, qtbot: QtBot
) -> None:
    window.start(model=None)
    for section in window.setup.findChildren(Section):
        section.unfold.setChecked(True)
    settle(qtbot)
    kinds = (
        QtWidgets.QAbstractButton,
        QtWidgets.QComboBox,
        QtWidgets.QAbstractSpinBox,
        QtWidgets.QAbstractSlider,
        QtWidgets.QPlainTextEdit,
    )
    nameless = [
        f"{type(control).__name__} {control.objectName()} in {control.parent()}"
        for panel in window.panels()
        for owner in (panel, panel.header)
        for control in owner.findChildren(QtWidgets.QWidget)
        if isinstance(control, kinds)
        and control.focusPolicy() != QtCore.Qt.FocusPolicy.NoFocus
        and not isinstance(control, QtWidgets.QScrollBar)
        and not (control.accessibleName() or getattr(control, "text", str)())
    ]
    assert nameless == []
    forms = (window.setup.method_form, window.setup.method.more_form)
    tips = {name: c.toolTip() for form in forms for name, c in form.controls.items()}
    for name in ("tau", "rho", "p", "mass_min", "last_layer"):
        assert "Sec." in tips[name]
    assert all(tips.values())


def test_a_clicked_button_does_not_take_the_space_bar(window: MainWindow, qtbot: QtBot) -> None:
    press(qtbot, window.setup.run_button)
    assert len(notices(window)) == 1
    window.notices.clear()
    qtbot.keyClick(window, QtCore.Qt.Key.Key_Space)
    assert window.workspace.view.current.shown == "after"
    assert notices(window) == []


def test_without_a_screen_a_sentence_instead_of_an_abort(tmp_path: Path) -> None:
    gone = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    script = (
        "from var_studio.errors import VarStudioError\n"
        "from var_studio.gui.app import main\n"
        "try: main()\n"
        "except VarStudioError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={k: v for k, v in os.environ.items() if k not in gone}
        | {"VAR_STUDIO_HOME": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert "no screen" in done.stdout and "var-studio record" in done.stdout


@pytest.mark.parametrize("damaged", [False, True])
def test_main_opens_a_file_and_leaves_nothing_behind(
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damaged: bool,
) -> None:
    path = save_session(tmp_path / "one.vars", runs=[make_run(tmp_path / "run")])
    if damaged:
        path.write_bytes(b"PK")
    monkeypatch.setattr(RunController, "load", lambda *_, **__: False)
    seen: list[tuple[int, list[str]]] = []
    hooks, collect = sys.excepthook, gc.collect

    def look_and_close() -> None:
        (shown,) = [w for w in QtWidgets.QApplication.topLevelWidgets() if w.isVisible()]
        assert isinstance(shown, MainWindow)
        seen.append((len(shown.workspace.runs), notices(shown)))
        shown.close()

    take = QuestionIntake.take_files

    def take_and_look(self: QuestionIntake, paths: list[Path]) -> None:
        take(self, paths)
        QtCore.QTimer.singleShot(0, look_and_close)

    monkeypatch.setattr(QuestionIntake, "take_files", take_and_look)
    assert app.main([path]) == 0
    ((runs, said),) = seen
    assert (runs, len(said)) == ((0, 1) if damaged else (1, 0))
    assert sys.excepthook is hooks and gc.collect is collect and gc.isenabled()
    kinds = {type(widget) for widget in QtWidgets.QApplication.allWidgets()}
    assert MainWindow not in kinds


def test_a_change_in_the_last_moment_does_not_open_the_file_again(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_session(tmp_path / "one.vars", runs=[make_run(tmp_path / "run")])
    assert window.files.open(path)
    settle(qtbot)
    window.workspace.selection.select_token(window.workspace.selection.positions[-1])
    window.close()
    read: list[str] = []
    monkeypatch.setattr(ZipFiles, "read", lambda _, name, offset=0: read.append(name))
    qtbot.wait(50)
    assert read == []


def test_a_note_takes_the_place_of_the_last_note_but_of_no_problem(window: MainWindow) -> None:
    bar = window.notices
    bar.show_notice("note", "Exported a.pdf")
    bar.show_notice("error", "The disk is full.")
    asking = QtWidgets.QPushButton("Open it")
    bar.show_notice("note", "The last run was cut off.", action=asking)
    bar.show_notice("note", "Exported b.pdf")
    bar.show_notice("note", "Exported c.pdf")
    # A note that asks something stays until it is answered or closed.
    assert notices(window) == ["Exported c.pdf", "The last run was cut off.", "The disk is full."]


_KILLED = """
import time
from PySide6 import QtCore, QtWidgets
from var_studio.engine import generation
from var_studio.gui.main_window import MainWindow

real, tokens = generation.record, []

def record(*args, on_event, **kwargs):
    def tell(event):
        on_event(event)
        if type(event).__name__ == "TokenProduced":
            tokens.append(event)
            if len(tokens) == 4:
                print("under way", flush=True)
                time.sleep(600)
    return real(*args, on_event=tell, **kwargs)

generation.record = record
app = QtWidgets.QApplication([])
window = MainWindow()
window.show()
window.start()
run = lambda *_: QtCore.QTimer.singleShot(0, window.setup.run_button.click)
window.controller.model_loaded.connect(run)
app.exec()
"""


@pytest.mark.torch
@pytest.mark.skipif(os.name == "nt", reason="no signal that kills, no locks")
def test_what_a_killed_program_recorded_is_offered_at_the_next_start(
    window: MainWindow, qtbot: QtBot, private_home: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        # While that program lives the run is its own, however unfinished it looks.
        window.start(model=None)
        settle(qtbot)
        assert notices(window) == []
    finally:
        process.kill()
        process.communicate()
    window.start(model=None)
    settle(qtbot)
    (said,) = notices(window)
    assert "ended before this was saved: 1 run, last changed " in said
    assert QtWidgets.QApplication.activeModalWidget() is None
    button, _ = window.notices.notices[0].findChildren(QtWidgets.QPushButton)
    assert button.text() == "Open it"
    press(qtbot, button)
    settle(qtbot)
    run = window.workspace.run
    assert run is not None and not run.finished and notices(window) == []
    assert len(run.generated_positions) >= 3 and len(run.query_positions) >= 3
    for query in range(len(run.query_positions)):
        np.testing.assert_allclose(run.attention(query).sum(-1), 1, atol=2e-3)
    assert window.transcript.answer.tokens.rowCount() == len(run.generated_positions)
    assert window.workspace.reading is not None
