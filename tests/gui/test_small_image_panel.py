"""The Image panel where there is little room, and on a screen with two pixels for one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6 import QtCore, QtGui
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.widgets import inks
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton


def test_a_low_panel_gives_its_room_to_the_picture(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run, size=(480, 310))
    assert panel.height() < 320 and panel.fold.folded and panel.fold.isVisible()
    assert panel.views["before"].height() > 0.55 * panel.height()
    assert not panel.controls.isVisible()
    qtbot.mouseClick(panel.fold, LEFT)
    settle()
    assert panel.controls.isVisible() and panel.fold.popup.isVisible()
    for control in (panel.controls.sinks, panel.controls.colours, panel.controls.opacity):
        assert control.isVisible() and control.width() >= control.minimumSizeHint().width()
    qtbot.mouseClick(panel.controls.smooth, LEFT)
    assert workspace.view.current.smooth
    panel.fold.popup.close()
    # Which comparison it is stands first, where the line's end may be cut.
    workspace.view.set(shown="after")
    settle()
    assert panel.subject.text().startswith("LOCAL · ") and not panel.note.isVisible()
    panel._window.resize(620, 620)
    settle()
    assert not panel.fold.isVisible() and panel.controls.isVisible()
    assert panel.controls.parentWidget() is panel.body
    assert panel.note.isVisible() and panel.note.text().startswith("LOCAL – ")
    assert not panel.subject.text().startswith("LOCAL")
    panel._window.resize(480, 310)
    settle()
    assert panel.fold.isVisible() and not panel.controls.isVisible()


_AT_TWO = """
import sys
from pathlib import Path
import numpy as np
import pytest
from PySide6 import QtCore, QtTest, QtWidgets
from tests.gui.panel_stage import COLS, cropped_run, settle
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.widgets import inks
from var_studio.gui.panels.heads import HeadsPanel
from var_studio.gui.widgets.colour_bar import ColourBar

app = QtWidgets.QApplication([])
with pytest.MonkeyPatch.context() as patch:
    run = cropped_run(Path(sys.argv[1]), patch)
window = QtWidgets.QWidget()
workspace = Workspace(window)
row = QtWidgets.QHBoxLayout(window)
panels = [ImagePanel(), HeadsPanel()]
for panel in panels:
    row.addWidget(panel, 1)
    panel.set_workspace(workspace)
window.resize(1000, 560)
window.show()
workspace.add_run(run)
workspace.view.set(sinks_boxed=False, opacity=1.0)
for _ in range(20):
    settle()
assert window.devicePixelRatioF() == 2.0
view = panels[0].views["before"]
image = view.grab().toImage()
assert image.width() == 2 * view.width()

# Cells end between two device pixels: an odd one holds no mixture, nor a copy of its neighbour's.
def device(x, y):
    place = view.transform().map(QtCore.QPointF(x, y)) * 2
    return place.x(), place.y()

def colour(x, y):
    found = image.pixelColor(int(x), int(y))
    return np.array([found.red(), found.green(), found.blue()], dtype=int)

values = workspace.reading.map_before
pair = max(
    ((r, c) for r in range(10) for c in range(COLS - 1)),
    key=lambda p: abs(values[p[0] * COLS + p[1]] - values[p[0] * COLS + p[1] + 1]),
)
x, y = device(120 + 50 * (pair[1] + 1), 40 * (pair[0] + 0.5))
left, right = colour(x - 3, y), colour(x + 3, y)
assert np.abs(left - right).max() > 60
edge = [colour(x + step, y) for step in (-1.5, -0.5, 0.5, 1.5)]
mixed = [e for e in edge if min(np.abs(e - left).max(), np.abs(e - right).max()) > 12]
assert len(mixed) <= 1, edge

# Text is drawn at twice the pixels: shades differ between the two pixels of one point.
bar = panels[0].findChildren(ColourBar)[0]
text = bar.grab().toImage()
pixels = np.array([[text.pixelColor(i, j).lightness() for i in range(0, text.width())]
                   for j in range(0, text.height())])
pixels = pixels[: pixels.shape[0] // 2 * 2, : pixels.shape[1] // 2 * 2]
assert (pixels[::2] != pixels[1::2]).sum() > 50, "doubled, not drawn sharp"
atlas = panels[1].atlas.grab().toImage() if hasattr(panels[1], "atlas") else None
if atlas is not None:
    assert atlas.width() == 2 * panels[1].atlas.width()

# Hits: the cell under a point of the widget is the one clicked.
for r, c in ((0, 0), (7, 3), (9, 7)):
    place = view.transform().map(QtCore.QPointF(120 + 50 * (c + 0.5), 40 * (r + 0.5)))
    QtTest.QTest.mouseClick(view, QtCore.Qt.MouseButton.LeftButton,
                            QtCore.Qt.KeyboardModifier.NoModifier, place.toPoint())
    settle()
    assert workspace.selection.cells == {r * COLS + c}, (r, c, workspace.selection.cells)
print("sharp")
"""


def test_two_device_pixels_for_one(tmp_path: Path) -> None:
    """Crisp cells and text, and clicks that hit, with a device pixel ratio of 2."""
    environment = os.environ | {"QT_SCALE_FACTOR": "2", "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [sys.executable, "-c", _AT_TWO, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
        timeout=120,
        check=False,
    )
    assert done.returncode == 0 and "sharp" in done.stdout, done.stderr[-2000:]


def test_all_that_is_said_of_a_cell_is_there_at_the_least_width(
    qtbot: QtBot, run: Recording
) -> None:
    panel = ImagePanel()
    stage(qtbot, panel, run, size=(477, 310))
    panel._hover(63)
    settle()
    font = panel.hover.font()
    shown = panel.hover._broken(QtGui.QFontMetrics(font))
    if not panel.hover._fits(QtGui.QFontMetrics(font)):
        shown = panel.hover._broken(QtGui.QFontMetrics(inks.small_font(font)))
    assert len(shown) == 2 and not any("…" in line for line in shown)
    text = " · ".join(shown)
    for said in (
        "token 63",
        "cell (7, 7)",
        "pixels 470–520 × 280–320",
        "α ",
        "rank ",
        "φ ",
        "sink",
    ):
        assert said in text
    assert panel.hover.toolTip() == panel.hover.text() == text
