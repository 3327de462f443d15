"""The Hidden state panel: recorded dimensions where they are, nothing made up for the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtGui
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.gui.pointer import move_mouse
from tests.synthetic import make_run
from var_studio.gui.panels.hidden_state import HiddenStatePanel
from var_studio.gui.widgets.profile_chart import ProfileChart
from var_studio.recording.recording import Recording

SINK = QtGui.QColor("#d6336c")


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=6, heads=4, hidden=256, precision="float32")


def is_sink_ink(chart: ProfileChart, dim: float, size: float) -> bool:
    point = QtCore.QPointF(chart.x_of(dim + 0.5), chart.y_of(size)).toPoint()
    picture = chart.grab().toImage()
    near = [picture.pixelColor(point + QtCore.QPoint(step, 0)) for step in (-1, 0, 1)]
    return any(
        abs(c.red() - SINK.red()) + abs(c.green() - SINK.green()) + abs(c.blue() - SINK.blue()) < 90
        for c in near
    )


def test_sink_dimensions_stand_out_at_their_values(qtbot: QtBot, run: Recording) -> None:
    panel = HiddenStatePanel()
    workspace = stage(qtbot, panel, run, size=(1000, 400))
    workspace.selection.set_layer(3)
    settle()
    first, sink, ordinary = panel.charts
    phi = run.phi(3)[run.layout.positions]
    top_sink = int(np.argmax(phi))
    assert first.heading == "BOS" and sink.heading == f"visual sink {top_sink}"
    positions = [0, int(run.layout.positions[top_sink])]
    for chart, position in zip((first, sink), positions, strict=True):
        for index, dim in enumerate(run.sink_dims):
            size = abs(float(run.signed_values[3, position, index]))
            assert is_sink_ink(chart, dim, 0.9 * size)
            assert not is_sink_ink(chart, dim, 1.1 * size + 0.3)
            assert not is_sink_ink(chart, dim + 15, 0.9 * size)
    assert not is_sink_ink(ordinary, run.sink_dims[0], 6.0)


def test_what_lies_below_is_hatched_up_to_the_16th(qtbot: QtBot, run: Recording) -> None:
    panel = HiddenStatePanel()
    workspace = stage(qtbot, panel, run, size=(1000, 400))
    told = panel.charts[0]
    layer = workspace.selection.layer
    floor = float(np.sort(np.abs(run.top_dims()[1][layer, 0]))[-16])
    room = told.plot_rect()
    move_mouse(told, room.center())
    assert "all others below" in panel.hover.text()
    assert told._shown is not None and told._shown.floor == pytest.approx(floor)


def test_selected_cells_are_shown_beside(qtbot: QtBot, run: Recording) -> None:
    panel = HiddenStatePanel()
    workspace = stage(qtbot, panel, run, size=(1300, 400))
    others = [k for k in range(100) if f" {k}" not in "".join(c.heading for c in panel.charts)]
    workspace.selection.select_cells(others[:2])
    settle()
    shown = [chart.heading for chart in panel.charts if chart.isVisible()]
    assert shown[3:] == [f"selected {k}" for k in others[:2]]
    workspace.selection.select_cells([])
    settle()
    assert len([chart for chart in panel.charts if chart.isVisible()]) == 3


def test_found_dimensions_can_be_used(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    dims, values = (array.copy() for array in run.top_dims())
    dims[:, 0, :3], values[:, 0, :3] = (7, 9, 11), (12.0, 9.0, 0.4)
    monkeypatch.setattr(type(run), "top_dims", lambda self: (dims, values))
    panel = HiddenStatePanel()
    workspace = stage(qtbot, panel, run, size=(1000, 400))
    assert "Found: 7, 9" in panel.found.text() and "In use: 179, 51" in panel.found.text()
    assert panel.use.isVisible()
    qtbot.mouseClick(panel.use, QtCore.Qt.MouseButton.LeftButton)
    settle()
    assert workspace.method.current.sink_dims == (7, 9)
    assert "as used" in panel.found.text() and not panel.use.isVisible()
    workspace.undo_stack.undo()
    settle()
    assert workspace.method.current.sink_dims is None and panel.use.isVisible()


def test_the_models_own_dimensions_come_back(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    dims, values = (array.copy() for array in run.top_dims())
    dims[:, 0, :2], values[:, 0, :2] = run.sink_dims, (12.0, 9.0)
    monkeypatch.setattr(type(run), "top_dims", lambda self: (dims, values))
    panel = HiddenStatePanel()
    workspace = stage(qtbot, panel, run, size=(1000, 400))
    assert "as used" in panel.found.text()
    workspace.method.set(sink_dims=run.sink_dims[:1])
    settle()
    assert panel.use.isVisible()
    qtbot.mouseClick(panel.use, QtCore.Qt.MouseButton.LeftButton)
    assert workspace.method.stored.sink_dims is None


def test_nothing_massive_is_an_answer(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    dims, values = run.top_dims()
    monkeypatch.setattr(type(run), "top_dims", lambda self: (dims, np.full_like(values, 0.5)))
    panel = HiddenStatePanel()
    stage(qtbot, panel, run, size=(1000, 400))
    assert "none" in panel.found.text() and not panel.use.isVisible()
    assert "No dimension" in panel.evidence.text()


def test_a_narrow_panel_says_what_it_leaves_out(qtbot: QtBot, run: Recording) -> None:
    panel = HiddenStatePanel()
    stage(qtbot, panel, run, size=(380, 300))
    assert len([chart for chart in panel.charts if chart.isVisible()]) == 2
    assert "1 more" in panel.legend.text()
    panel.window().resize(1000, 300)
    settle()
    settle()
    assert len([chart for chart in panel.charts if chart.isVisible()]) == 3
