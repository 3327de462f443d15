"""The contribution α·‖v Wₒ‖ as what the Image panel and its figure show, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from var_studio.figures.build import build_map
from var_studio.gui.panels.image import ImagePanel
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)


@pytest.mark.parametrize("heads", [((2, 1),), ((1, 0), (3, 2))])
@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_the_map_shows_contributions(
    qtbot: QtBot, run: Recording, heads: tuple[tuple[int, int], ...], aggregate: str
) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.method.set(heads="all", mass_min=0.0)
    workspace.view.set(quantity="contribution", shown="all", aggregate=aggregate)
    workspace.selection.select_heads(heads)
    settle()
    query, norm = workspace.query, run.value_norm()
    assert query is not None and panel._maps is not None
    settings = workspace.method.current

    def loop(row_of) -> np.ndarray:
        out = np.zeros(run.layout.count)
        for k, position in enumerate(run.layout.positions):
            each = [
                float(row_of(layer, head)[position]) * float(norm[layer, head, position])
                for layer, head in heads
            ]
            out[k] = sum(each) / len(each) if aggregate == "mean" else max(each)
        return out

    before = loop(lambda layer, head: run.attention(query, layer, head))
    after = loop(lambda layer, head: run.redistributed(query, settings, layer, head))
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(panel._maps.before, before, rtol=2e-5)
    np.testing.assert_allclose(panel._maps.after, after, rtol=2e-5, atol=1e-9)
    reading = workspace.reading
    assert reading is not None
    assert not np.allclose(panel._maps.before, reading.map_before, rtol=0.05)
    # Said in words wherever it is shown.
    assert "contribution α·‖v Wₒ‖" in panel.bar.accessibleDescription()
    assert "change of α·‖v Wₒ‖" in panel.difference_bar.accessibleDescription()
    panel._hover(17)
    rank = 1 + int((before > before[17]).sum())
    text = panel.hover.text()
    assert "α·‖v Wₒ‖ " in text and f"rank {rank} of 80" in text and " · α " in text
    # And drawn in the figure, with its own unit.
    figure = build_map(reading, options=panel.map_options(reading))
    shown = figure.rows[0][1]
    assert shown.scale.label.startswith("contribution") and not shown.scale.percent
    np.testing.assert_allclose(shown.heats[0].values.ravel(), before, rtol=2e-5)
    np.testing.assert_allclose(figure.table["before"], before, rtol=2e-5)
    assert figure.metadata["quantity"] == "contribution"
    assert not any("%" in note for note in figure.notes if "beyond" in note)


@pytest.mark.parametrize("scale", ["map", "token", "shared"])
def test_its_scale_is_its_own(qtbot: QtBot, run: Recording, scale: str) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(scale=scale, robust=False)
    workspace.selection.select_head(2, 1)
    settle()
    attention = panel.bar._limits[1]
    workspace.view.set(quantity="contribution")
    settle()
    found, query = panel.bar._limits[1], workspace.query
    assert query is not None and found != attention
    if scale == "token":
        seen = run.layout.positions
        most = (run.attention(query) * run.value_norm())[..., seen].max()
        assert found == pytest.approx(float(most), rel=1e-5)
    workspace.view.set(quantity="attention")
    settle()
    assert panel.bar._limits[1] == pytest.approx(attention)
