"""An answer cut short, stopped or left by a killed program, beside a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6 import QtGui
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.gui.transcript_stage import shown
from tests.synthetic import make_run
from var_studio.gui import theme
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.panels.image_maps import NOT_YET
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

ROWS, RECORDED = 16, 12


def both(folder: Path, short: str) -> tuple[Recording, Recording]:
    """A baseline and a run with VAR; the one named has fewer words and no end."""
    made = []
    for name, acts in (("baseline", None), ("other", Redistribution(tau=5.0))):
        cut = {"recorded": RECORDED, "finish": False} if name == short else {}
        run = make_run(
            folder / name, layers=3, heads=2, rows=4, cols=4, queries=ROWS, intervention=acts, **cut
        )
        made.append(run)
    return made[0], made[1]


@pytest.mark.parametrize("short", ["baseline", "other"])
def test_it_is_not_said_to_be_written_where_nothing_writes_it(
    qtbot: QtBot, tmp_path: Path, short: str
) -> None:
    baseline, other = both(tmp_path, short)
    panel, workspace = shown(qtbot, baseline, other)
    assert "cut short" in panel.parting.text()
    workspace.growing = baseline if short == "baseline" else other
    workspace.runs_changed.emit()
    settle()
    ordinal = "first" if short == "baseline" else "second"
    assert panel.parting.text().endswith(f"the {ordinal} answer is being written.")
    workspace.growing = None
    workspace.finish_run()
    settle()
    assert "cut short" in panel.parting.text()


@pytest.mark.parametrize("finished", [True, False])
def test_a_word_beyond_its_end_is_not_said_to_differ(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    baseline, other = both(tmp_path, "other")
    if finished:  # stopped: it has its end, and is no shorter for that
        monkeypatch.setattr(Recording, "finished", property(lambda run: True))
        ends = {baseline: "end", other: "cancelled"}
        monkeypatch.setattr(Recording, "reason", property(lambda run: ends[run]))
    panel = ImagePanel()
    workspace = stage(qtbot, panel, baseline, other)
    workspace.view.set(compare="run", shown="after")
    workspace.selection.select_token(int(baseline.generated_positions[0]))
    settle()
    assert panel._maps is not None and panel._maps.after is not None
    workspace.selection.select_token(int(baseline.generated_positions[-1]))
    settle()
    assert panel._maps.after is None and panel.note.text() == NOT_YET


@pytest.mark.parametrize("cut", [True, False])
def test_its_missing_words_are_no_difference(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    baseline, other = both(tmp_path, "other")
    monkeypatch.setattr(Recording, "finished", property(lambda run: True))
    ends = {baseline: "end", other: "cancelled" if cut else "end"}
    monkeypatch.setattr(Recording, "reason", property(lambda run: ends[run]))
    panel, _ = shown(qtbot, baseline, other)
    settle()
    picture = panel.answer.grab().toImage()
    # Dots and line of the sinks' colour have soft edges: pink, which no tint of a word is.
    ink = QtGui.QColor(theme.colours().sink)
    assert ink.red() > ink.blue() > ink.green()
    seen = (
        picture.pixelColor(x, y) for x in range(picture.width()) for y in range(picture.height())
    )
    marked = sum(c.red() - 40 > c.green() < c.blue() - 10 for c in seen)
    assert marked == 0 if cut else marked > 100
