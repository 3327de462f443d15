"""Unsaved work: kept, offered back, deleted only after a question."""

from __future__ import annotations

import datetime
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import (
    IGNORE_QT,
    PATIENCE,
    Answer,
    AnswerBoxes,
    cached,
    notices,
    press,
    settle,
    wait_saved,
)
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.recovery import LeftOverDialog, _what
from var_studio.recording.content import Content
from var_studio.recording.paths import runs_folder
from var_studio.recording.session import Session, open_session, save_session
from var_studio.recording.unsaved import LeftOver, UnsavedFolder, left_over, windows_folder

pytestmark = IGNORE_QT


def left_by_a_killed_window(n_runs: int = 2, **described: object) -> UnsavedFolder:
    """What a window with unsaved runs leaves when it is killed."""
    folder = UnsavedFolder()
    runs = [make_run(folder.new_run(), seed=i, queries=16) for i in range(n_runs)]
    folder.write(folder.describe(Session(runs, **described)))  # type: ignore[arg-type]
    folder.release()
    return folder


def buttons(shown: MainWindow) -> dict[str, QtWidgets.QPushButton]:
    """The buttons of the newest notice, by their words."""
    notice = shown.notices.notices[0]
    return {b.text(): b for b in notice.findChildren(QtWidgets.QPushButton)}


@pytest.mark.parametrize(("days", "said"), [(0, "today at"), (400, r"\d+ [A-Z][a-z]+ \d{4} at")])
def test_when_it_was_last_changed(tmp_path: Path, days: int, said: str) -> None:
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)
    told = _what(LeftOver(tmp_path, 2, then, "what is it?", tmp_path / "a.vars"))
    assert re.fullmatch(rf"2 runs of a\.vars, last changed {said} \d\d:\d\d", told)


# ------------------------------------------------------------------------------------- autosave
def test_the_session_is_kept_while_it_is_modified_and_no_longer(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace, autosave = window.workspace, window.files.autosave
    workspace.add_run(make_run(autosave.new_run(), queries=16))
    workspace.notes = "mine"
    workspace.regions.add([1, 2], "cup")
    workspace.selection.set_layer(3)
    document = autosave.folder.folder / "session.json"
    qtbot.waitUntil(document.exists, timeout=PATIENCE)
    qtbot.waitUntil(lambda: autosave._task is None, timeout=PATIENCE)
    assert left_over() == [], "a living window's session is offered"
    before = document.read_bytes()
    workspace.selection.set_layer(4)
    qtbot.waitUntil(lambda: document.read_bytes() != before, timeout=PATIENCE)
    # Reading it as the next start would, were this window killed now.
    autosave.folder.release()
    (left,) = left_over()
    taken = UnsavedFolder.take(left.folder)
    assert taken is not None
    session = taken.recover().session
    assert (session.notes, session.view["layer"], len(session.runs)) == ("mine", 4, 1)
    assert [r.name for kept in session.regions.values() for r in kept] == ["cup"]
    autosave._folder = taken
    assert window.files.save_to(tmp_path / "a.vars")
    wait_saved(qtbot, window)
    assert not window.workspace.modified and not taken.folder.exists()
    assert len(open_session(tmp_path / "a.vars").runs) == 1


def test_a_full_disk_under_the_autosave_is_said_once(
    window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    from var_studio.recording import unsaved

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    autosave = window.files.autosave
    window.workspace.add_run(make_run(autosave.new_run(), queries=16))
    with monkeypatch.context() as patch:
        patch.setattr(unsaved.os, "replace", full)
        for layer in (2, 3):
            window.workspace.selection.set_layer(layer)
            autosave.write()
            qtbot.waitUntil(lambda: autosave._task is None, timeout=PATIENCE)
            settle(qtbot)
            (said,) = notices(window)
            assert "Keeping the session" in said and "disk is full" in said
            if layer == 2:
                window.notices.clear()
                window.notices.show_notice("warning", "Keeping the session: disk is full, as said")
    autosave.write()
    qtbot.waitUntil((autosave.folder.folder / "session.json").exists, timeout=PATIENCE)
    qtbot.waitUntil(lambda: autosave._task is None, timeout=PATIENCE)


# ------------------------------------------------------------------------------------- recovery
def test_a_killed_window_s_session_comes_back_whole(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, answer_boxes: AnswerBoxes
) -> None:
    """Runs of a file, new ones, one opened from elsewhere, regions, notes, what was looked at."""
    workspace, autosave = window.workspace, window.files.autosave
    path = save_session(tmp_path / "a.vars", [make_run(tmp_path / "first", queries=16)])
    assert window.files.open(path)
    workspace.add_run(make_run(autosave.new_run(), seed=1, queries=16, name="second"))
    workspace.add_run(make_run(tmp_path / "third", seed=2, queries=16, name="third"))
    workspace.look_at(workspace.runs[1])
    workspace.regions.add([3, 4], "door")
    workspace.notes = "notes"
    workspace.selection.set_layer(2)
    workspace.selection.select_heads([(2, 1)])
    token = workspace.selection.positions[3]
    workspace.selection.select_token(token)
    workspace.method.set(rho=0.3)
    ids = [run.id for run in workspace.runs]
    autosave._timer.stop()
    autosave.write()
    qtbot.waitUntil(lambda: autosave._task is None, timeout=PATIENCE)
    # The window dies: the system drops its locks.
    old, autosave._folder = autosave.folder, UnsavedFolder()
    old.release()
    window.files._file.let_go(type(window.files._file)())
    window.files._file = type(window.files._file)()
    workspace.replace_all([])
    workspace.notes, workspace.session_path = "", None

    window.start(model=None)
    (said,) = notices(window)
    assert "1 run of a.vars, last changed " in said
    press(qtbot, buttons(window)["Open it"])
    settle(qtbot)
    assert notices(window) == []
    assert [run.id for run in workspace.runs] == ids
    assert workspace.run is workspace.runs[1] and workspace.notes == "notes"
    assert [region.name for region in workspace.regions.current] == ["door"]
    assert (workspace.selection.layer, workspace.selection.position) == (2, token)
    assert workspace.selection.heads == {(2, 1)} and workspace.method.stored.rho == 0.3
    assert workspace.modified and workspace.session_path == path
    assert left_over() == [], "what this window shows is offered to others"
    # Save: all of it in the file, this window's copies gone, the other's folder as it was.
    window.save_session()
    wait_saved(qtbot, window)
    assert [run.id for run in open_session(path).runs] == ids
    assert not old.folder.exists() and (tmp_path / "third" / "zarr.json").exists()


def test_several_killed_windows_make_a_list(
    window: MainWindow, qtbot: QtBot, answer_boxes: AnswerBoxes
) -> None:
    first, second, third = (left_by_a_killed_window(n) for n in (1, 2, 3))
    window.start(model=None)
    (said,) = notices(window)
    assert "3 sessions" in said
    press(qtbot, buttons(window)["Show them…"])
    dialog = window.recovery.dialog
    assert isinstance(dialog, LeftOverDialog)
    told = [dialog.entries.item(i).text() for i in range(dialog.entries.count())]
    assert [text[:6] for text in told] == ["3 runs", "2 runs", "1 run,"]
    dialog.entries.setCurrentRow(1)
    asked = answer_boxes(Answer.Cancel)
    press(qtbot, dialog.discard_button)
    assert "2 runs" in asked[0] and "cannot be undone" in asked[0]
    assert second.folder.exists() and dialog.entries.count() == 3
    answer_boxes(Answer.Yes)
    press(qtbot, dialog.discard_button)
    assert not second.folder.exists() and dialog.entries.count() == 2
    dialog.entries.setCurrentRow(1)
    press(qtbot, dialog.open_button)
    settle(qtbot)
    assert len(window.workspace.runs) == 1 and window.recovery.dialog is None
    # The other one is still offered, by itself.
    (said,) = notices(window)
    assert "3 runs" in said
    # Opening it asks about the one that is open now.
    asked.clear()
    answer_boxes(Answer.Cancel)
    press(qtbot, buttons(window)["Open it"])
    assert "1 run that is in no file" in asked[0] and len(window.workspace.runs) == 1
    answer_boxes(Answer.Discard)
    press(qtbot, buttons(window)["Open it"])
    settle(qtbot)
    assert len(window.workspace.runs) == 3 and not first.folder.exists()
    assert third.folder.exists() and notices(window) == []


def test_what_another_window_has_is_neither_offered_nor_deleted(
    window: MainWindow, qtbot: QtBot, answer_boxes: AnswerBoxes
) -> None:
    theirs = left_by_a_killed_window()
    window.start(model=None)
    answer_boxes(Answer.Yes)
    taken = UnsavedFolder.take(theirs.folder)  # another window was faster
    assert taken is not None
    press(qtbot, buttons(window)["Open it"])
    assert "another window has opened it" in notices(window)[0]
    assert window.workspace.runs == [] and theirs.folder.exists()
    assert left_over() == []
    window.close()
    assert theirs.folder.exists()
    taken.discard()


def test_a_damaged_document_loses_the_order_and_no_run(private_home: Path) -> None:
    folder = left_by_a_killed_window(2)
    for content in (b"", b"[1]", b'{"schema": 99}', b'{"schema": 1, "runs": [{"path": 3}]}'):
        (folder.folder / "session.json").write_bytes(content)
        (left,) = left_over()
        assert left.n_runs == 2
        taken = UnsavedFolder.take(left.folder)
        assert taken is not None and len(taken.recover().session.runs) == 2
        taken.release()


# ----------------------------------------------------------------------------------- clean exit
def test_recordings_of_scripts_stay_whatever_the_window_does(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, answer_boxes: AnswerBoxes
) -> None:
    kept = [runs_folder() / "20260101-000000-script", tmp_path / "mine"]
    for number, folder in enumerate(kept):
        make_run(folder, seed=number, queries=16).close()
        window.files.open_run_folder(folder)
    assert window.files.save_to(tmp_path / "a.vars")
    wait_saved(qtbot, window)
    window.files.open_run_folder(kept[0])
    asked = answer_boxes(Answer.Discard)
    assert window.close()
    assert len(asked) == 1
    assert all((folder / "zarr.json").exists() for folder in kept)
    assert not windows_folder().exists()


def test_what_a_part_left_out_is_not_deleted_unasked(
    window: MainWindow,
    qtbot: QtBot,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer_boxes: AnswerBoxes,
) -> None:
    run = make_run(window.files.autosave.new_run(), queries=16)
    window.workspace.add_run(run)
    rows = [run.attention(query).copy() for query in range(len(run.query_positions))]
    assert window.files.save_to(tmp_path / "part.vars", Content(maps=True))
    wait_saved(qtbot, window)
    assert window.workspace.modified and run.in_directory
    asked = answer_boxes(Answer.Cancel)
    assert not window.close()
    assert "part.vars holds a part of it. The rest, of 1 run, will be deleted" in asked[0]
    answer_boxes(Answer.Save)
    monkeypatch.setattr(
        QtWidgets.QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "all.vars"), "")
    )
    assert window.close()
    with open_session(tmp_path / "all.vars") as session:
        for query, row in enumerate(rows):
            np.testing.assert_array_equal(session.runs[0].attention(query), row)
    assert cached() == []


def test_the_question_names_only_what_is_there(
    window: MainWindow, qtbot: QtBot, tmp_path: Path, answer_boxes: AnswerBoxes
) -> None:
    workspace, autosave = window.workspace, window.files.autosave
    asked = answer_boxes(Answer.Cancel)

    def question() -> str:
        assert not window.close()
        return asked[-1].removesuffix(" will be deleted for good if you do not save.")

    workspace.add_run(make_run(tmp_path / "mine", queries=16))
    assert question() == "Save the runs of this session? The list of runs"
    workspace.add_run(make_run(autosave.new_run(), seed=1, queries=16))
    assert question() == "Save the runs of this session? 1 run that is in no file"
    workspace.regions.add([1], "cup")
    assert question() == (
        "Save the runs and regions of this session? 1 run that is in no file, with the regions,"
    )
    assert window.files.save_to(tmp_path / "a.vars")
    wait_saved(qtbot, window)
    workspace.remove_run(workspace.runs[0])
    assert question() == "Save the changes in a.vars? The changes since it was saved"
    workspace.add_run(make_run(autosave.new_run(), seed=2, queries=16))
    new = "Save the changes in a.vars? What is new, 1 run that is in no file,"
    assert question() == new
    workspace.regions.add([2], "door")
    assert question() == f"{new} and all changes of the regions,"
    # What a killed window left is compared with its file, and not with what it had itself.
    autosave.write()
    qtbot.waitUntil(lambda: not autosave.busy, timeout=PATIENCE)
    found = autosave.folder.recover()
    assert [r.name for kept in found.saved_regions.values() for r in kept] == ["cup"]
    assert [r.name for kept in found.session.regions.values() for r in kept] == ["cup", "door"]
    found.session.close()
    answer_boxes(Answer.Discard)
    assert window.close()


_REAL = """
import sys
from pathlib import Path
from PySide6 import QtCore, QtWidgets
from PySide6.QtTest import QTest
from var_studio.gui import app

how, file = sys.argv[1], Path(sys.argv[2])
qt = app.application()

def until(so):
    while not so():
        QTest.qWait(10)

def answer():
    box = QtWidgets.QApplication.activeModalWidget()
    if not isinstance(box, QtWidgets.QMessageBox):
        QtCore.QTimer.singleShot(20, answer)
        return
    assert box.defaultButton() is box.button(box.StandardButton.Save)
    print(box.informativeText(), flush=True)
    box.button(box.StandardButton.Discard).click()

def drive():
    (window,) = [w for w in qt.topLevelWidgets() if hasattr(w, "workspace")]
    if window.controller.model is None:
        QtCore.QTimer.singleShot(20, drive)
        return
    window.setup.run_button.click()
    until(lambda: window.controller.idle and len(window.workspace.runs) == 1)
    window.setup.run_button.click()
    until(lambda: window.controller.idle and len(window.workspace.runs) == 2)
    window.workspace.regions.add([1], "cup")
    document = window.files.autosave.folder.folder / "session.json"
    until(lambda: document.exists() and b'"cup"' in document.read_bytes())
    ids = [run.id for run in window.workspace.runs]
    if how == "kill":
        print("ready", *ids, flush=True)
        return
    if how == "save":
        window.files.save_to(file)
        window.files.wait()
    else:
        QtCore.QTimer.singleShot(20, answer)
    window.actions_by_name["close"].trigger()

QtCore.QTimer.singleShot(0, drive)
sys.exit(app.main())
"""


def start_program(how: str, file: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _REAL, how, str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.parametrize("how", ["save", "discard"])
def test_the_program_leaves_nothing_behind(how: str, tmp_path: Path) -> None:
    program = start_program(how, tmp_path / "a.vars")
    out, err = program.communicate(timeout=300)
    assert program.returncode == 0, err
    if how == "discard":
        assert "2 runs that are in no file, with the regions, will be deleted for good" in out
    else:
        session = open_session(tmp_path / "a.vars")
        assert len(session.runs) == 2 and len(session.regions) == 1
    assert cached() == []


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no signal that kills")
def test_a_killed_program_s_runs_are_offered_as_one_session(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    program = start_program("kill", tmp_path / "a.vars")
    assert program.stdout is not None
    word, *ids = program.stdout.readline().split()
    assert word == "ready" and len(ids) == 2
    program.send_signal(signal.SIGKILL)
    program.communicate()
    window.start(model=None)
    (said,) = notices(window)
    assert "2 runs, last changed" in said
    press(qtbot, buttons(window)["Open it"])
    settle(qtbot)
    runs = window.workspace.runs
    assert [run.id for run in runs] == ids and all(run.finished for run in runs)
    for run in runs:
        for query in range(len(run.query_positions)):
            np.testing.assert_allclose(run.attention(query).sum(-1), 1, atol=2e-3)
    assert [region.name for region in window.workspace.regions.current] == ["cup"]
