"""The φ histogram: true counts, and τ as a line that a real mouse can drag."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import move_mouse, settle, stage
from tests.synthetic import make_run
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.phi_histogram import PhiHistogramPanel
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=5, heads=4, precision="float32")


def drag(qtbot: QtBot, panel: PhiHistogramPanel, taus: list[float]) -> None:
    """Press on the line, move it through places for `taus`, let it go."""
    view = panel.histogram
    middle = view.plot().center().y()
    start = QtCore.QPointF(view.x_of(view.tau), middle)
    qtbot.mousePress(view, LEFT, pos=start.toPoint())
    for tau in taus:
        move_mouse(view, QtCore.QPointF(view.x_of(tau), middle), buttons=True)
        settle()
    end = QtCore.QPointF(view.x_of(taus[-1]), middle)
    qtbot.mouseRelease(view, LEFT, pos=end.toPoint())
    settle()


def sinks_at(run: Recording, layer: int, tau: float) -> tuple[int, int]:
    """Visual and text sinks of a layer, counted one token at a time."""
    visual = text = 0
    for position, phi in enumerate(run.phi(layer)):
        if phi >= tau:
            visual += bool(run.visual[position])
            text += not run.visual[position]
    return visual, text


def test_a_drag_is_one_step_of_undo(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    before = workspace.method.tau
    drag(qtbot, panel, [3.0, 2.0, 1.0, 1.5])
    assert workspace.method.tau == pytest.approx(1.5, abs=0.006)
    assert panel.histogram.tau == workspace.method.tau
    assert workspace.undo_stack.count() == 1
    drag(qtbot, panel, [2.5, 3.5])
    assert workspace.undo_stack.count() == 2
    workspace.undo_stack.undo()
    settle()
    assert workspace.method.tau == pytest.approx(1.5, abs=0.006)
    workspace.undo_stack.undo()
    settle()
    assert workspace.method.tau == before
    assert panel.histogram.tau == before


def test_everything_follows_while_dragging(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    view, layer = panel.histogram, workspace.selection.layer
    middle = view.plot().center().y()
    qtbot.mousePress(view, LEFT, pos=QtCore.QPointF(view.x_of(view.tau), middle).toPoint())
    seen = set()
    for tau in (8.0, 1.0, 0.2):
        move_mouse(view, QtCore.QPointF(view.x_of(tau), middle), buttons=True)
        settle()
        visual, text = sinks_at(run, layer, workspace.method.tau)
        assert panel.histogram._caption.endswith(f"sinks: {visual} visual, {text} text")
        seen.add((visual, text))
    qtbot.mouseRelease(view, LEFT)
    assert len(seen) == 3, "τ must have made a difference"


def test_a_press_beside_the_line_changes_nothing(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    view, before = panel.histogram, workspace.method.tau
    middle = view.plot().center().y()
    point = QtCore.QPointF(view.x_of(before) + 30, middle)
    qtbot.mousePress(view, LEFT, pos=point.toPoint())
    move_mouse(view, QtCore.QPointF(view.x_of(1.0), middle), buttons=True)
    qtbot.mouseRelease(view, LEFT)
    settle()
    assert workspace.method.tau == before
    assert workspace.undo_stack.count() == 0


def test_tau_cannot_leave_the_range_of_phi(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    view = panel.histogram
    middle = view.plot().center().y()
    for beyond, expected in ((-500.0, 0.0), (5000.0, math.sqrt(run.hidden_size))):
        start = QtCore.QPointF(min(view.x_of(view.tau), view.plot().right()), middle)
        qtbot.mousePress(view, LEFT, pos=start.toPoint())
        move_mouse(view, QtCore.QPointF(beyond, middle), buttons=True)
        settle()
        qtbot.mouseRelease(view, LEFT)
        assert workspace.method.tau == pytest.approx(expected, abs=0.01)


def test_counts_and_bound_are_those_of_the_layer(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    totals = []
    for layer in (1, 4):
        workspace.selection.set_layer(layer)
        settle()
        counts = panel.histogram._counts
        assert counts is not None
        phi = run.phi(layer)
        known = np.isfinite(phi)
        others = known & ~run.visual
        others[0] = False
        assert counts.visual.sum() == (known & run.visual).sum()
        assert counts.text.sum() == others.sum()
        assert counts.bos.sum() == 1
        edges = counts.edges
        bos = int(np.flatnonzero(counts.bos)[0])
        assert edges[bos] <= phi[0] <= edges[bos + 1]
        totals.append(counts.visual.tolist())
        assert panel.layer.value() == layer
    assert totals[0] != totals[1], "layers differ"
    assert panel.histogram._bound == pytest.approx(math.sqrt(run.hidden_size))


def test_the_layer_box_moves_the_selection(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    panel.layer.setValue(4)
    assert workspace.selection.layer == 4


def test_keys_move_tau(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace = stage(qtbot, panel, run)
    before, bound = workspace.method.tau, math.sqrt(run.hidden_size)
    qtbot.keyClick(panel.histogram, QtCore.Qt.Key.Key_PageUp)
    settle()
    assert workspace.method.tau == pytest.approx(before + bound / 100, abs=0.006)
    assert workspace.undo_stack.count() == 1


def test_hover_reads_a_bar(qtbot: QtBot, run: Recording) -> None:
    panel = PhiHistogramPanel()
    workspace: Workspace = stage(qtbot, panel, run)
    counts = panel.histogram._counts
    assert counts is not None
    fullest = int(np.argmax(counts.visual))
    middle = float(counts.edges[fullest : fullest + 2].mean())
    plot = panel.histogram.plot()
    move_mouse(panel.histogram, QtCore.QPointF(panel.histogram.x_of(middle), plot.bottom() - 3))
    phi = run.phi(workspace.selection.layer)[run.visual]
    low, high = counts.edges[fullest : fullest + 2]
    number = int(((phi >= low) & (phi < high)).sum())
    assert f"{number} visual" in panel.hover.text()


def test_empty_state_is_a_sentence(qtbot: QtBot) -> None:
    panel = PhiHistogramPanel()
    stage(qtbot, panel)
    assert panel._stack.currentWidget() is panel._empty
    assert panel._empty.text().endswith(".")
