"""Help › About this machine: the doctor's words, from a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PySide6 import QtCore, QtGui
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, press
from var_studio.gui.machine import MachineReport
from var_studio.gui.main_window import MainWindow

pytestmark = IGNORE_QT
ROOT = Path(__file__).parents[2]


@pytest.fixture
def slow_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A torch and a matplotlib that break at once, unless a file says that they hang."""
    hangs = tmp_path / "hangs"
    for module in ("torch", "matplotlib"):
        (tmp_path / f"{module}.py").write_text(
            f"import os, time\nif os.path.exists({str(hangs)!r}):\n"
            f"    open({str(tmp_path / module)!r} + '.pid', 'w').write(str(os.getpid()))\n"
            "    time.sleep(600)\n"
            "raise ImportError('broken ρ')"
        )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))
    return hangs


def test_it_says_what_the_doctor_says_and_can_be_copied(
    window: MainWindow, qtbot: QtBot, slow_torch: Path
) -> None:
    window.actions_by_name["about_machine"].trigger()
    (report,) = window.findChildren(MachineReport)
    assert not report.copy_button.isEnabled() and report.busy.isVisible()
    qtbot.waitUntil(report.copy_button.isEnabled)
    said = report.text.toPlainText()
    assert "VAR Studio" in said and "broken ρ" in said and "-> pip install" in said
    assert not report.busy.isVisible() and report.text.isReadOnly()
    press(qtbot, report.copy_button)
    assert QtGui.QGuiApplication.clipboard().text() == said
    report.close()


def test_closing_it_ends_all_its_processes(qtbot: QtBot, slow_torch: Path) -> None:
    slow_torch.touch()
    report = MachineReport()
    report.show()
    process = report.findChild(QtCore.QProcess)
    pids = [slow_torch.with_name(f"{module}.pid") for module in ("torch", "matplotlib")]
    qtbot.waitUntil(lambda: all(pid.exists() and pid.read_text() for pid in pids))
    qtbot.waitUntil(lambda: process.state() == QtCore.QProcess.ProcessState.Running)
    ended = []
    process.stateChanged.connect(lambda state: ended.append(state))
    report.close()
    assert ended == [QtCore.QProcess.ProcessState.NotRunning]
    qtbot.wait(200)
    for pid in pids:
        state = Path(f"/proc/{pid.read_text()}/stat")
        assert not state.exists() or state.read_text().split()[2] == "Z"
