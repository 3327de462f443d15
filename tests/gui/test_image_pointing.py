"""Pointing at the maps: what hovering says, what a click marks, and what stays in view."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import (
    COLS,
    CROP,
    mean_row,
    on_widget,
    picked,
    settle,
    stage,
)
from tests.gui.pointer import move_mouse, turn_wheel
from var_studio.errors import VarStudioError
from var_studio.gui.panels.image import ImagePanel
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton


def test_hover_reads_token_cell_pixels_and_numbers(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    query, layer = workspace.query, workspace.selection.layer
    assert query is not None
    view = panel.views["before"]
    # Row 3, column 6 of the crop: 120 + 6·50 = 420 to 470 across, 3·40 = 120 to 160 down.
    move_mouse(view, on_widget(view, 430.0, 150.0))
    token = 3 * COLS + 6
    alpha = mean_row(run, query)
    rank = 1 + int((alpha > alpha[token]).sum())
    position = int(run.layout.positions[token])
    phi = float(run.phi(layer)[position])
    text = panel.hover.text()
    parts = text.split(" · ")
    assert parts[:4] == [
        f"visual token {token}",
        f"position {position}",
        "cell (3, 6)",
        "pixels 420–470 × 120–160",
    ]
    assert f"rank {rank} of 80" in parts
    shown = float(parts[4].removeprefix("α ").split(" → ")[0])
    assert shown == pytest.approx(alpha[token], rel=6e-3)
    assert float(parts[6].removeprefix("φ ")) == pytest.approx(phi, rel=6e-3)
    assert parts[7] == ("sink" if phi >= run.tau_default else "not a sink")


def test_hover_says_sink_on_a_sink(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    phi = run.phi(workspace.selection.layer)[run.layout.positions]
    token = int(np.argmax(phi))
    assert phi[token] >= run.tau_default, "the synthetic run has a visual sink in this layer"
    left, top, right, bottom = run.layout.boxes[token]
    view = panel.views["before"]
    move_mouse(view, on_widget(view, (left + right) / 2, (top + bottom) / 2))
    assert panel.hover.text().endswith(" · sink")
    assert f"visual token {token} " in panel.hover.text() + " "


def test_click_marks_the_cell_under_it_and_no_cell_on_unseen_borders(
    qtbot: QtBot, run: Recording
) -> None:
    panel = ImagePanel()
    stage(qtbot, panel, run)
    view = panel.views["before"]
    # The same point read with rows and columns exchanged would be token 8 · 1 + 7.
    point = on_widget(view, CROP[0] + 1.5 * 50, 7.5 * 40).toPoint()
    qtbot.mouseClick(view, LEFT, pos=point)
    assert picked(panel) == {7 * COLS + 1}
    assert f"visual token {7 * COLS + 1} " in panel.hover.text()
    qtbot.mouseClick(view, LEFT, pos=on_widget(view, 60.0, 200.0).toPoint())
    assert picked(panel) == set()


def test_the_mark_stays_while_the_token_changes(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    panel.pick(20)
    before = panel.hover.text()
    workspace.selection.step_token(1)
    settle()
    assert picked(panel) == {20}
    assert panel.hover.text().startswith("visual token 20 ")
    assert panel.hover.text() != before


def test_zoom_keeps_the_point_under_the_pointer_and_links_all_maps(
    qtbot: QtBot, run: Recording
) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run, size=(1200, 560))
    workspace.view.set(shown="all")
    settle()
    assert [moment for moment, view in panel.views.items() if view.isVisible()] == [
        "before",
        "after",
        "difference",
    ]
    view, other = panel.views["before"], panel.views["after"]
    point = on_widget(view, 430.0, 150.0)
    turn_wheel(view, 480, point)
    assert panel.zoom.factor == pytest.approx(1.2**4)
    place = view.to_scene(point)
    assert (place.x(), place.y()) == pytest.approx((430.0, 150.0), abs=0.6)
    assert other.size() == view.size()
    linked = other.to_scene(point)
    assert (linked.x(), linked.y()) == pytest.approx((place.x(), place.y()), abs=1e-6)
    qtbot.mouseDClick(view, LEFT, pos=point.toPoint())
    assert panel.zoom.factor == 1.0


def test_keyboard_moves_the_mark_and_zooms(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    stage(qtbot, panel, run)
    view = panel.views["before"]
    panel.pick(2 * COLS + 3)
    shift = QtCore.Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(view, QtCore.Qt.Key.Key_Down, shift)
    assert picked(panel) == {3 * COLS + 3}
    qtbot.keyClick(view, QtCore.Qt.Key.Key_Left, shift)
    assert picked(panel) == {3 * COLS + 2}
    qtbot.keyClick(view, QtCore.Qt.Key.Key_Plus)
    assert panel.zoom.factor > 1.0
    qtbot.keyClick(view, QtCore.Qt.Key.Key_0)
    assert panel.zoom.factor == 1.0


def test_a_picture_that_cannot_be_read_leaves_the_map(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(index: int = 0) -> None:
        raise VarStudioError("The image is missing.", "Add it again.")

    monkeypatch.setattr(run, "image", missing)
    panel = ImagePanel()
    said = []
    workspace = stage(qtbot, panel)
    workspace.problem.connect(said.append)
    workspace.add_run(run)
    settle()
    workspace.selection.step_token(1)
    settle()
    assert [str(error) for error in said] == ["The image is missing. Add it again."]
    view = panel.views["before"]
    move_mouse(view, on_widget(view, 430.0, 150.0))
    assert "cell (3, 6)" in panel.hover.text()


def test_a_growing_run_keeps_zoom_and_mark(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    panel.pick(12)
    panel.zoom.around(QtCore.QPointF(0.5, 0.5), 2.0)
    again = replace(run.layout, _cell_of={})
    assert again is not run.layout
    monkeypatch.setattr(Recording, "layout", property(lambda run: again))
    workspace.selection.step_token(1)
    settle()
    assert (picked(panel), panel.zoom.factor) == ({12}, 2.0)
