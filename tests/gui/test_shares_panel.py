"""The image-centric share: every row's count, read in slices that leave the window alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.charts import colour, is_like, middle_of
from tests.gui.panel_stage import settle, stage
from tests.gui.pointer import move_mouse
from tests.synthetic import make_run
from var_studio.gui.panels import shares
from var_studio.gui.panels.shares import SharesPanel
from var_studio.recording.recording import Recording

LEFT = QtCore.Qt.MouseButton.LeftButton
COUNT = 22


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(
        tmp_path / "run",
        layers=4,
        heads=4,
        rows=6,
        cols=6,
        queries=COUNT,
        precision="float32",
        varied=True,
    )


def counts(run: Recording, rho: float = 0.8, mass_min: float = 0.2) -> list[int]:
    """Image-centric heads of each row, by the definition."""
    found = []
    for query in range(COUNT):
        row, n = run.attention(query), 0
        for layer in range(4):
            sinks = run.sinks(layer)
            for head in range(4):
                mass = float(row[layer, head][run.visual].sum())
                kept = float(row[layer, head][run.visual & ~sinks].sum())
                n += mass >= mass_min and kept / mass >= rho
        found.append(n)
    return found


def wait_complete(qtbot: QtBot, panel: SharesPanel) -> None:
    qtbot.waitUntil(lambda: panel._masses is not None and panel._masses.complete)
    settle()


def shown(panel: SharesPanel) -> list[int]:
    return np.round(panel._shares * 16).astype(int).tolist()


def test_bars_are_the_counts_of_each_row(qtbot: QtBot, run: Recording) -> None:
    panel = SharesPanel()
    workspace = stage(qtbot, panel, run)
    wait_complete(qtbot, panel)
    expected = counts(run)
    assert len(set(expected)) > 2 and shown(panel) == expected
    chart, top = panel.chart, panel.chart.y_axis.high
    workspace.selection.select_token(int(run.query_positions[0]))
    settle()
    for index in (3, COUNT - 2):
        ink = "#0b8f6f" if run.tokens[int(run.query_positions[index])].role == "generated" else None
        share = expected[index] / 16
        inside = colour(chart, middle_of(chart, index, 0.7 * share / top))
        assert is_like(inside, ink or "#8a8f99")
        above = colour(chart, middle_of(chart, index, min(share / top + 0.06, 1.0)))
        assert not is_like(above, ink or "#8a8f99")


def test_rho_and_mass_act_at_once(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = SharesPanel()
    workspace = stage(qtbot, panel, run)
    wait_complete(qtbot, panel)
    before = shown(panel)
    for changes in ({"rho": 0.2}, {"rho": 0.2, "mass_min": 0.7}):
        workspace.method.set(**changes)
        settle()
        assert not panel._timer.isActive()
        assert shown(panel) == counts(run, **changes) != before


def test_another_tau_reads_the_rows_again(qtbot: QtBot, run: Recording) -> None:
    panel = SharesPanel()
    workspace = stage(qtbot, panel, run)
    wait_complete(qtbot, panel)
    before = shown(panel)
    workspace.method.set(tau=1.0)
    settle()
    assert np.isnan(panel._shares).all() and "reading row 0" in panel.legend.text()
    wait_complete(qtbot, panel)
    assert shown(panel) != before
    workspace.undo_stack.undo()
    settle()
    assert shown(panel) == before and not panel._timer.isActive()


def test_the_row_looked_at_is_read_first(qtbot: QtBot, run: Recording) -> None:
    panel = SharesPanel()
    workspace = stage(qtbot, panel, run)
    assert panel._masses is not None
    workspace.selection.select_token(int(run.query_positions[15]))
    settle()
    panel._timer.stop()
    panel._masses.advance(0.0, panel._reading.focus.query)
    assert panel._masses.done[15]


def test_a_click_selects_the_word(qtbot: QtBot, run: Recording) -> None:
    panel = SharesPanel()
    workspace = stage(qtbot, panel, run)
    wait_complete(qtbot, panel)
    for row_of, shift in (("query", 0), ("produced", 1)):
        workspace.selection.set_row_of(row_of)
        settle()
        point = middle_of(panel.chart, 12)
        qtbot.mouseClick(panel.chart, LEFT, pos=point.toPoint())
        settle()
        assert workspace.selection.position == int(run.query_positions[12]) + shift
        assert panel.chart._current == 12
        move_mouse(panel.chart, middle_of(panel.chart, 11))
        move_mouse(panel.chart, point)
        assert f"(position {workspace.selection.position})" in panel.hover.text()
        assert f"{counts(run)[12]} of 16 heads" in panel.hover.text()


def test_a_hidden_panel_reads_nothing(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = SharesPanel()
    with monkeypatch.context() as patch:
        for pause in ("PAUSE", "REST"):
            patch.setattr(shares, pause, 60_000)  # a slow machine would have read all by now
        stage(qtbot, panel, run)
        assert panel._timer.isActive()
        panel.hide()
    assert not panel._timer.isActive()
    qtbot.wait(30)
    assert panel._masses is not None and not panel._masses.done.any()
    panel.show()
    wait_complete(qtbot, panel)
    assert shown(panel) == counts(run)
