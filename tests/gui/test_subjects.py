"""Each panel that follows the selection says of what it is, in the words of the Image panel."""

from __future__ import annotations

import pytest
from PySide6 import QtCore, QtGui
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from var_studio.gui.panels.base import Panel
from var_studio.gui.panels.contribution import ContributionPanel
from var_studio.gui.panels.head_scatter import HeadScatterPanel
from var_studio.gui.panels.hidden_state import HiddenStatePanel
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.panels.inspector import InspectorPanel
from var_studio.gui.panels.layers import LayersPanel
from var_studio.gui.panels.ledger import LedgerPanel
from var_studio.gui.panels.phi_alpha import PhiAlphaPanel
from var_studio.gui.panels.phi_histogram import PhiHistogramPanel
from var_studio.gui.panels.regions import RegionsPanel
from var_studio.gui.panels.shares import SharesPanel
from var_studio.gui.widgets.chart_axes import Axis
from var_studio.gui.widgets.plot_frame import LOW
from var_studio.gui.widgets.scatter_view import ScatterView
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)


def said(panel: Panel) -> str:
    if isinstance(panel, RegionsPanel):
        return panel.sentence.text()
    line = getattr(panel, "subject", None) or panel.frame.subject  # type: ignore[attr-defined]
    return str(line.text())


@pytest.mark.parametrize(
    "kind",
    [
        PhiAlphaPanel,
        HiddenStatePanel,
        LedgerPanel,
        ContributionPanel,
        HeadScatterPanel,
        InspectorPanel,
        RegionsPanel,
    ],
)
def test_word_layer_and_heads_are_those_of_the_image(
    qtbot: QtBot, run: Recording, kind: type[Panel]
) -> None:
    panel, image = kind(), ImagePanel()
    workspace = stage(qtbot, panel, run)
    image.set_workspace(workspace)
    qtbot.addWidget(image)
    image.show()
    workspace.regions.add((3, 4), "cup")
    workspace.view.toggle_sinks()  # no note on the boxes
    for heads, row_of in (((), "query"), (((2, 1),), "query"), (((1, 0), (1, 3)), "produced")):
        workspace.selection.select_heads(heads, 2)
        workspace.selection.set_row_of(row_of)
        workspace.selection.step_token(1)
        settle()
        for part in image.subject.text().split(" · "):
            if kind is HeadScatterPanel and ("head" in part or "layer" in part):
                continue  # all heads are points
            assert part in said(panel)
        if kind in (PhiAlphaPanel, HiddenStatePanel):
            assert "layer 2" in said(panel), "φ and x are of this layer, whatever the heads"


def test_what_plays_no_part_is_said(qtbot: QtBot, run: Recording) -> None:
    for kind in (PhiHistogramPanel, LayersPanel):
        panel = kind()
        workspace = stage(qtbot, panel, run)
        workspace.selection.set_layer(1)
        settle()
        assert "same for every word and head" in said(panel)
        assert "layer 1" in said(panel) or "1 selected" in said(panel)
    panel = SharesPanel()
    workspace = stage(qtbot, panel, run)
    workspace.method.set(rho=0.65)
    settle()
    assert said(panel).startswith("Every word") and "0.65" in said(panel)
    assert "all 20 heads" in said(panel)


def test_a_low_plot_says_it_beside_the_legend(qtbot: QtBot, run: Recording) -> None:
    panel = PhiAlphaPanel()
    stage(qtbot, panel, run, size=(900, 170))
    frame, hover = panel.frame, panel.hover
    assert frame.height() < LOW and not frame.subject.isVisible()
    alone = hover.grab().toImage()
    hover.set_standing("")
    assert hover.grab().toImage() != alone, "it must have said what is shown"
    frame.say_subject(frame.subject.text())
    assert hover.grab().toImage() == alone
    hover.set_text("φ 3")
    assert hover.grab().toImage() != alone
    panel.window().resize(900, 500)
    settle()
    assert frame.subject.isVisible()


@pytest.mark.parametrize("size", [(620, 90), (620, 130), (620, 240), (180, 72)])
def test_names_of_axes_lie_outside_the_plot(qtbot: QtBot, size: tuple[int, int]) -> None:
    """Inside it stand marks alone: other names change nothing there."""
    inside = []
    for across, up in (("visual non-sink ratio r", "visual mass"), ("x", "y")):
        view = ScatterView("a plot")
        qtbot.addWidget(view)
        view.resize(*size)
        view.set_axes(Axis(-0.02, 1.02, across), Axis(-0.02, 1.02, up))
        room = view.plot_rect().toAlignedRect()
        # A number at the axis may be centred on its end.
        inside.append((room, view.grab().toImage().copy(room.adjusted(0, 0, 0, -2))))
    assert inside[0] == inside[1]


def test_the_selected_layer_is_seen_over_its_bar(qtbot: QtBot, run: Recording) -> None:
    panel = LayersPanel()
    workspace = stage(qtbot, panel, run, size=(760, 300))
    layer = max(range(run.n_layers), key=lambda at: int((run.sinks(at) & run.visual).sum()))
    chart = panel.counts
    pictures = []
    for selected in (layer, run.n_layers - 1):
        workspace.selection.set_layer(selected)
        settle()
        room = chart.plot_rect()
        step = room.width() / chart.count
        foot = QtCore.QRect(round(room.left() + layer * step), round(room.bottom()) - 12, 4, 8)
        pictures.append(chart.grab().toImage().copy(foot))  # of the bar, not of the gap beside it
    assert isinstance(pictures[0], QtGui.QImage)
    assert pictures[0] != pictures[1], "the foot of the bar looks the same, selected or not"
