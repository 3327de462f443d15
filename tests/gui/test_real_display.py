"""The window on a real X server; the other tests draw offscreen.

Run with: QT_QPA_PLATFORM=xcb xvfb-run -a python -m pytest -m xvfb tests/gui
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from PySide6 import QtGui, QtWidgets

pytestmark = pytest.mark.xvfb


def test_a_widget_reaches_the_screen(qtbot) -> None:
    assert QtGui.QGuiApplication.platformName() == "xcb"
    widget = QtWidgets.QWidget()
    qtbot.addWidget(widget)
    widget.setStyleSheet("background: #205080")
    widget.resize(80, 60)
    with qtbot.waitExposed(widget):
        widget.show()

    def is_on_screen() -> None:
        # Read back from the X server: offscreen painting would not put it there.
        corner = widget.mapToGlobal(widget.rect().center())
        pixel = widget.screen().grabWindow(0, corner.x(), corner.y(), 1, 1)
        assert pixel.toImage().pixelColor(0, 0).name() == "#205080"

    qtbot.waitUntil(is_on_screen)


def test_the_program_paints_its_window_before_torch() -> None:
    command = [sys.executable, "-m", "var_studio", "gui", "--quit-after-first-paint"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["seconds_to_first_paint"] > 0
    assert report["torch_loaded"] is False
