"""The Ledger panel: five accounts and their sum, against the recorded row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.synthetic import make_run
from var_studio.gui.panels.ledger import LedgerPanel
from var_studio.recording.recording import Recording


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=5, heads=4, precision="float32")


def accounts(run: Recording, row: np.ndarray, layer: int, tau: float) -> list[float]:
    """The row's mass on each kind of token, one token at a time."""
    sums = [0.0] * 5
    for position, (alpha, phi) in enumerate(zip(row, run.phi(layer), strict=True)):
        sink = phi >= tau
        if position == 0:
            sums[0] += float(alpha)
        elif run.visual[position]:
            sums[2 if sink else 3] += float(alpha)
        else:
            sums[1 if sink else 4] += float(alpha)
    return sums


def test_accounts_of_one_head(qtbot: QtBot, run: Recording) -> None:
    panel = LedgerPanel()
    workspace = stage(qtbot, panel, run)
    query, settings = workspace.query, workspace.method.current
    assert query is not None and settings.tau is not None
    layer, head = (int(i) for i in np.argwhere(run.image_centric(query, settings)[1:-1])[0])
    layer += 1
    workspace.selection.select_head(layer, head)
    settle()
    lines = panel.ledger.lines()
    before = accounts(run, run.attention(query, layer, head), layer, settings.tau)
    after = accounts(run, run.redistributed(query, settings, layer, head), layer, settings.tau)
    assert before[3] < after[3], "the image must have gained"
    assert [line.before for line in lines[:5]] == pytest.approx(before, abs=1e-5)
    assert [line.after for line in lines[:5]] == pytest.approx(after, abs=1e-5)
    assert lines[5].name == "Sum of the row"
    assert (lines[5].before, lines[5].after) == pytest.approx((1.0, 1.0), abs=1e-4)
    assert panel.note.text().startswith("Local: Ω = ")


def test_says_when_nothing_moves(qtbot: QtBot, run: Recording) -> None:
    panel = LedgerPanel()
    workspace = stage(qtbot, panel, run)
    workspace.selection.select_head(run.n_layers - 1, 0)
    settle()
    assert panel.note.text().startswith("Nothing moves")
    assert all(line.before == pytest.approx(line.after) for line in panel.ledger.lines())


def test_p_moves_the_accounts(qtbot: QtBot, run: Recording) -> None:
    panel = LedgerPanel()
    workspace = stage(qtbot, panel, run)
    gains = []
    for p in (0.0, 0.5, 1.0):
        workspace.method.set(p=p)
        settle()
        line = panel.ledger.lines()[3]
        gains.append(line.after - line.before)
    assert gains[0] == pytest.approx(0.0, abs=1e-7)
    assert gains[1] == pytest.approx(gains[2] / 2, rel=1e-3)
    assert gains[2] > 0.001


def test_empty_state_is_a_sentence(qtbot: QtBot) -> None:
    panel = LedgerPanel()
    stage(qtbot, panel)
    assert panel._stack.currentWidget() is panel._empty
    assert panel._empty.text().endswith(".")


@pytest.mark.parametrize("size", [(1092, 150), (700, 150), (1092, 420)])
def test_lines_never_overlap(qtbot: QtBot, run: Recording, size: tuple[int, int]) -> None:
    panel = LedgerPanel()
    stage(qtbot, panel, run)
    panel.window().resize(*size)
    settle()
    view, line = panel.ledger, panel.ledger.fontMetrics().height()
    rows = -(-len(view.lines()) // view.columns())
    assert view.height() >= (1 + rows) * line
    wide_and_low = size == (1092, 150)
    assert view.columns() == (2 if wide_and_low else 1)
    if size[1] == 420 or wide_and_low:
        assert view.visibleRegion().boundingRect().height() == view.height(), "nothing to scroll"
