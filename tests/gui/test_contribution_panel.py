"""The Contribution panel shows the numbers of App. D.3 for the selection, and follows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.synthetic import make_run
from var_studio.gui.panels.contribution import ContributionPanel
from var_studio.gui.widgets.ticks import number_text
from var_studio.recording.recording import Recording


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", layers=5, heads=4, precision="float32")


def test_lines_are_those_of_the_selected_head(qtbot: QtBot, run: Recording) -> None:
    panel = ContributionPanel()
    workspace = stage(qtbot, panel, run)
    for head in ((3, 1), (0, 2)):
        workspace.selection.select_heads([head])
        settle()
        alpha = run.attention(workspace.query, *head)
        norm, sinks, visual = run.value_norm(*head), run.sinks(head[0]), run.visual
        seen = np.arange(run.length) <= run.query_positions[workspace.query]
        added = np.where(seen, alpha * norm, 0.0)
        lines = panel.ledger.lines()
        for line, mask in ((lines[2], sinks & visual), (lines[3], ~sinks & visual)):
            assert line.before == pytest.approx(float(alpha[mask].sum()), abs=1e-5)
            assert line.after == pytest.approx(float(added[mask].sum() / added.sum()), abs=1e-5)
            if mask.any():
                assert line.third == number_text(float(added[mask].mean()))
            else:
                assert line.third == "–"
        assert lines[3].name == f"Visual non-sinks ({number_text((~sinks & visual).sum())})"
        for side in ("before", "after"):
            assert sum(getattr(line, side) for line in lines[:5]) == pytest.approx(1, abs=1e-4)
            assert getattr(lines[5], side) == pytest.approx(1, abs=1e-4)
        assert lines[5].third == number_text(float(added[seen].mean()))


def test_it_follows_tau_and_the_word(qtbot: QtBot, run: Recording) -> None:
    panel = ContributionPanel()
    workspace = stage(qtbot, panel, run)
    seen = {panel.ledger.lines()}
    workspace.method.set(tau=1.0)
    settle()
    seen.add(panel.ledger.lines())
    workspace.selection.step_token(3)
    settle()
    seen.add(panel.ledger.lines())
    workspace.selection.select_heads([(2, 2)])
    settle()
    seen.add(panel.ledger.lines())
    assert len(seen) == 4
    assert "×" in panel.note.text()


def test_norms_not_recorded_are_said(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    norm = np.full_like(run.value_norm(), np.nan)
    monkeypatch.setattr(type(run), "value_norm", lambda self: norm)
    panel = ContributionPanel()
    stage(qtbot, panel, run)
    assert not panel.body.isVisible()
