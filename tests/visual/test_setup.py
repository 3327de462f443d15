"""What Setup looks like, light and dark: as it opens, and with everything unfolded."""

from __future__ import annotations

import pytest
from PySide6 import QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.synthetic import make_image
from tests.visual.conftest import Matches
from tests.visual.pixels import unfocused
from var_studio.gui import theme
from var_studio.gui.models.model_worker import ModelSummary
from var_studio.gui.panels.setup import SetupPanel
from var_studio.gui.widgets.section import Section

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)

MODEL = ModelSummary(
    name="demo", checkpoint="demo", family="llava", device="cpu", dtype="float32", n_layers=6,
    n_heads=6, hidden_size=192, sink_dims=(37, 141), sink_dims_origin="reported", tau_default=5.0,
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("unfolded", [False, True])
def test_setup_looks_as_before(
    qtbot: QtBot,
    same_look: None,
    matches_baseline: Matches,
    unfolded: bool,
    scheme: str,
) -> None:
    QtWidgets.QApplication.setPalette(theme.palette(scheme))  # type: ignore[arg-type]
    panel = SetupPanel()
    workspace = stage(qtbot, panel, size=(320, 2074 if unfolded else 1000))
    workspace.method.set_loaded(MODEL.facts)
    panel.model_section.show_model("demo", MODEL)
    workspace.question.show(
        [make_image(seed=seed) for seed in range(2 if unfolded else 1)], "What?"
    )
    panel.show_forecast("A run takes 12 MB memory · 4.6 MB disk")
    if unfolded:
        workspace.interventions.set_acting("knockout", True)
        for section in panel.findChildren(Section):
            section.unfold.setChecked(True)
        for row in panel.interventions.rows.values():
            row.open()
    settle()
    bar = panel.scroller.verticalScrollBar()
    assert bar.maximum() == 0, f"{bar.maximum()} pixels are out of sight"
    inner = panel.scroller.widget()
    assert inner.minimumSizeHint().width() <= panel.scroller.viewport().width(), "cut off"
    matches_baseline(unfocused(panel), f"setup-{'unfolded' if unfolded else 'folded'}-{scheme}")
