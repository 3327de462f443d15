"""A pointer that rests on a plot while the keys walk on: what is said of that place stays true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.gui.pointer import move_mouse
from tests.synthetic import make_run
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.head_scatter import HeadScatterPanel
from var_studio.gui.panels.hidden_state import HiddenStatePanel
from var_studio.gui.panels.layers import LayersPanel
from var_studio.gui.panels.phi_alpha import PhiAlphaPanel
from var_studio.gui.panels.phi_histogram import PhiHistogramPanel
from var_studio.gui.panels.shares import SharesPanel
from var_studio.recording.recording import Recording

Places = list[tuple[QtWidgets.QWidget, QtCore.QPointF]]


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=4, heads=3, rows=6, cols=6, precision="float32")


def places(panel: Panel, run: Recording) -> Places:
    """Where something is drawn in the panel's plots."""
    if isinstance(panel, PhiHistogramPanel):
        view = panel.histogram
        assert view is not None
        height = view.plot_rect().center().y()
        edges = np.histogram(run.phi(2), bins=64)[1]
        return [(view.viewport(), QtCore.QPointF(view.x_of(float(x)), height)) for x in edges[::6]]
    if isinstance(panel, HeadScatterPanel | PhiAlphaPanel):
        found = zip(*panel.scatter.places(), strict=True)
        return [(panel.scatter, QtCore.QPointF(x, y)) for x, y in list(found)[::4]]
    charts = {
        LayersPanel: lambda p: [p.phi, p.counts],
        SharesPanel: lambda p: [p.chart],
        HiddenStatePanel: lambda p: [c for c in p.charts if c.isVisible()],
    }[type(panel)](panel)
    shares = np.linspace(0.05, 0.95, 6)
    return [
        (c, c.plot_rect().topLeft() + QtCore.QPointF(s * c.plot_rect().width(), 20))
        for c in charts
        for s in shares
    ]


def all_read(qtbot: QtBot, panel: Panel) -> None:
    """Let what changed be shown; shares read their rows in between."""
    settle()
    if isinstance(panel, SharesPanel):
        qtbot.waitUntil(lambda: panel._masses is not None and panel._masses.complete)
        settle()


@pytest.mark.parametrize(
    "panel_class",
    [
        HeadScatterPanel,
        HiddenStatePanel,
        LayersPanel,
        PhiAlphaPanel,
        PhiHistogramPanel,
        SharesPanel,
    ],
)
def test_what_is_said_of_a_place_follows(
    qtbot: QtBot, run: Recording, panel_class: type[Panel]
) -> None:
    panel = panel_class()
    workspace = stage(qtbot, panel, run)
    workspace.selection.set_layer(2)
    all_read(qtbot, panel)
    hover, changed = panel.hover, 0  # type: ignore[attr-defined]
    for view, point in places(panel, run):
        workspace.selection.select_token(workspace.selection.positions[-1])
        workspace.selection.set_layer(2)
        workspace.method.set(tau=None, mass_min=0.2)
        all_read(qtbot, panel)
        move_mouse(view, point)
        before = hover.text()
        workspace.selection.step_token(-1)
        workspace.selection.set_layer(1)
        workspace.method.set(tau=0.8, mass_min=0.05)
        all_read(qtbot, panel)
        rested = hover.text()
        left = panel.histogram if isinstance(panel, PhiHistogramPanel) else view
        QtWidgets.QApplication.sendEvent(left, QtCore.QEvent(QtCore.QEvent.Type.Leave))
        assert not hover.text()
        move_mouse(view, point)
        assert rested == hover.text()
        changed += before != rested
    assert changed, "nothing that is said changes: stale words would pass"
