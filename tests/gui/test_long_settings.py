"""Settings in words, however long they are, leave the window as narrow as it was."""

from __future__ import annotations

from pathlib import Path

from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, settle
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.recording.settings import Contrast, Knockout, Redistribution

pytestmark = IGNORE_QT


def test_long_settings_leave_the_window_narrow(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    long = (Redistribution(heads="all", p=0.25, sink_dims=(134, 38)), Contrast())
    workspace = window.workspace
    workspace.add_run(make_run(tmp_path / "base"))
    settle(qtbot)
    least = window.minimumSizeHint().width()
    for number, acts in enumerate((long, (Knockout(sink_dims=(134, 38)),), long)):
        run = make_run(tmp_path / f"{number}", intervention=acts, name=f"changed {number}")
        workspace.add_run(run)
        settle(qtbot)
        assert window.minimumSizeHint().width() <= least
    parting = window.transcript.parting
    assert parting.choice.isVisible() and parting.choice.width() < 400
    assert "contrastive" in parting.choice.currentText(), "all of it in the list"
    assert parting.choice.currentText() in parting.choice.toolTip()
