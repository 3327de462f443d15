"""The Layers panel: curves and counts of every layer, clicks that select one, τ to drag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.charts import colour, drag_guide, is_like, middle_of
from tests.gui.panel_stage import settle, stage
from tests.gui.pointer import move_mouse
from tests.synthetic import make_run
from var_studio.gui.panels.layers import LayersPanel
from var_studio.recording.recording import Recording

LEFT = QtCore.Qt.MouseButton.LeftButton


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=6, heads=4, precision="float32")


def test_curves_pass_through_the_numbers_of_each_layer(qtbot: QtBot, run: Recording) -> None:
    panel = LayersPanel()
    workspace = stage(qtbot, panel, run)
    workspace.selection.set_layer(0)
    settle()
    chart, seen = panel.phi, 0
    for layer in range(6):
        phi = run.phi(layer)
        sinks = run.sinks(layer) & run.visual
        room = chart.plot_rect()
        top = chart.y_axis.high
        for value, name in (
            (float(phi[0]), "#d9480f"),
            (float(phi[sinks].mean()) if sinks.any() else None, "#d6336c"),
            (float(phi[run.visual & ~sinks].mean()), "#2f7fd1"),
        ):
            if value is None:
                continue
            point = middle_of(chart, layer, value / top)
            assert room.contains(point)
            seen += is_like(colour(chart, point), name)
    # Two of the curves may cross in a layer.
    assert seen >= 15
    assert not is_like(colour(chart, middle_of(chart, 3, 0.99)), "#d9480f")


def test_bars_count_the_visual_sinks(qtbot: QtBot, run: Recording) -> None:
    panel = LayersPanel()
    workspace = stage(qtbot, panel, run)
    workspace.method.set(tau=2.0)
    settle()
    counts = [int((run.sinks(layer, tau=2.0) & run.visual).sum()) for layer in range(6)]
    assert len(set(counts)) > 2
    chart = panel.counts
    top = chart.y_axis.high
    for layer, count in enumerate(counts):
        inside = middle_of(chart, layer, (count - 0.5) / top)
        above = middle_of(chart, layer, (count + 0.7) / top)
        assert is_like(colour(chart, inside), "#d6336c")
        assert not is_like(colour(chart, above), "#d6336c")


def test_a_click_selects_the_layer(qtbot: QtBot, run: Recording) -> None:
    panel = LayersPanel()
    workspace = stage(qtbot, panel, run)
    for chart, layer in ((panel.phi, 1), (panel.counts, 5)):
        qtbot.mouseClick(chart, LEFT, pos=middle_of(chart, layer, 0.95).toPoint())
        settle()
        assert workspace.selection.layer == layer
        assert chart._current == layer


def test_tau_can_be_dragged_here_too(qtbot: QtBot, run: Recording) -> None:
    panel = LayersPanel()
    workspace = stage(qtbot, panel, run)
    drag_guide(qtbot, panel.phi, "tau", [1.0, 3.0])
    assert workspace.method.tau == pytest.approx(3.0, abs=0.1)
    assert workspace.undo_stack.count() == 1


def test_the_layer_under_the_pointer_is_told(qtbot: QtBot, run: Recording) -> None:
    panel = LayersPanel()
    stage(qtbot, panel, run)
    move_mouse(panel.counts, middle_of(panel.counts, 2))
    visual = int((run.sinks(2) & run.visual).sum())
    text = int((run.sinks(2) & ~run.visual).sum())
    assert panel.hover.text().startswith(f"layer 2 · {visual} visual sinks, {text} of text · φ: ")
    move_mouse(panel.counts, middle_of(panel.counts, 0))
    assert "visual sinks 0" not in panel.hover.text() and "layer 0 · 0 visual" in panel.hover.text()


def test_a_model_without_phi_of_visual_tokens_shows_the_rest(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    phi = run.phi().copy()
    phi[:, run.visual] = np.nan
    monkeypatch.setattr(type(run), "phi", lambda self, layer=None, sink_dims=None: phi)
    panel = LayersPanel()
    stage(qtbot, panel, run)
    move_mouse(panel.phi, middle_of(panel.phi, 3))
    assert "layer 3 · 0 visual sinks" in panel.hover.text()
    assert "other visual tokens" not in panel.hover.text()
