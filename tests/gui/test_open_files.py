"""Files that the window is started with, that are dropped on it, or that macOS asks it to open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, notices, settle
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.recording.session import save_session

pytestmark = IGNORE_QT

_ASKED = """
import sys
from PySide6.QtCore import QCoreApplication, QTimer
from PySide6.QtGui import QFileOpenEvent
from var_studio.gui.app import application

app = application()
assert not app.windowIcon().isNull() and len(app.windowIcon().availableSizes()) >= 4
told = []
QCoreApplication.sendEvent(app, QFileOpenEvent("/tmp/before a.vars"))
app.processEvents()
print(app.take_asked_for())
app.asked_for.connect(lambda paths: told.append(list(paths)))
QCoreApplication.sendEvent(app, QFileOpenEvent("/tmp/b ü.vars"))
QCoreApplication.sendEvent(app, QFileOpenEvent("/tmp/c.vars"))
QTimer.singleShot(100, app.quit)
app.exec()
print(told)
"""


def test_files_asked_for_by_the_system_come_together_and_none_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ASKED], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    before, told = done.stdout.splitlines()
    assert before == str([Path("/tmp/before a.vars")])
    assert told == str([[Path("/tmp/b ü.vars"), Path("/tmp/c.vars")]])


def test_of_several_sessions_one_opens_and_the_others_are_named(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    files = [
        save_session(tmp_path / f"{name}.vars", runs=[make_run(tmp_path / name, name=name)])
        for name in ("one session", "two", "three")
    ]
    window.intake.take_files(files)
    settle(qtbot)
    assert [run.name for run in window.workspace.runs] == ["one session"]
    (said,) = notices(window)
    assert "one session.vars" in said
    (notice,) = window.notices.notices
    assert "two.vars, three.vars" in notice.next_step


def test_a_session_that_cannot_be_opened_does_not_say_that_it_was(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    broken, other = tmp_path / "broken.vars", tmp_path / "other.vars"
    broken.write_bytes(b"PK\3\4")
    other.write_bytes(b"")
    window.intake.take_files([broken, other])
    settle(qtbot)
    (said,) = notices(window)
    assert "broken.vars" in said and "Opened" not in said
