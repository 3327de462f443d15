"""Every panel, and all that is computed for it, on runs that have no row yet, or just one."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.synthetic import make_run
from var_studio.analysis.choice import read
from var_studio.analysis.reading import Reading
from var_studio.analysis.reverse import CellAttention
from var_studio.analysis.shares import RowMasses
from var_studio.analysis.token_values import log_probabilities, logprob_changes, of_rows
from var_studio.figures.build import FIGURES, build
from var_studio.gui.models.view import ColourBy
from var_studio.gui.panels import PANELS
from var_studio.gui.panels.head_values import QUANTITIES
from var_studio.gui.panels.transcript import TranscriptPanel
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)


@pytest.fixture
def whole(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "whole", layers=3, heads=2, rows=4, cols=5, queries=9)


def begun(folder: Path, rows: int) -> Recording:
    """As a run looks whose question has been read, with so many rows on disk."""
    run = make_run(
        folder / str(rows),
        layers=3,
        heads=2,
        rows=4,
        cols=5,
        queries=9,
        recorded=rows,
        finish=False,
    )
    assert len(run.query_positions) == rows
    return run


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("name", [entry.name for entry in PANELS])
def test_each_panel(qtbot: QtBot, tmp_path: Path, whole: Recording, name: str, rows: int) -> None:
    """Cells are picked and every way to colour is gone through; what fails in a slot fails here."""
    (entry,) = (each for each in PANELS if each.name == name)
    panel = entry.kind()()
    workspace = stage(qtbot, panel, whole)
    panel.prepare()
    workspace.selection.select_cells({3, 4})
    workspace.selection.select_heads([(1, 0), (2, 1)])
    workspace.view.reverse()
    settle()
    run = begun(tmp_path, rows)
    workspace.add_run(run)
    workspace.growing = run
    settle()
    assert workspace.run is run and (workspace.reading is None) == (rows == 0)
    for kind in get_args(ColourBy):
        workspace.view.set(colour_by=kind)
        settle()
    for quantity in QUANTITIES:
        workspace.view.set(head_value=quantity.key)
        settle()
    for order in ("sorted", "grid"):
        workspace.view.set(head_order=order, thumbnails=True)
        settle()
    for aggregate in ("max", "mean"):
        workspace.view.set(aggregate=aggregate)
        settle()
    workspace.grow()
    workspace.selection.set_row_of("produced")
    workspace.selection.select_cells(())
    settle()
    assert panel.grab().width() > 0


def test_words_of_a_run_without_rows_are_shown(
    qtbot: QtBot, tmp_path: Path, whole: Recording
) -> None:
    panel = TranscriptPanel()
    workspace = stage(qtbot, panel, whole)
    workspace.selection.select_cells({3})
    workspace.view.reverse()
    workspace.add_run(begun(tmp_path, 0))
    settle()
    assert panel.colours is not None and panel.colours.kind == "reverse"
    assert "of 0 rows" not in panel.colour_line.text()


@pytest.mark.parametrize("rows", [0, 1])
def test_what_is_computed_of_every_row(tmp_path: Path, whole: Recording, rows: int) -> None:
    run = begun(tmp_path, rows)
    cells, masses = CellAttention(run, (3, 4)), RowMasses(run, Redistribution())
    for done in (False, True):
        if done:
            assert cells.advance() and masses.advance()
        for heads in ((), ((1, 0), (2, 1))):
            for aggregate in ("mean", "max"):
                assert cells.of_tokens(heads, aggregate).shape == (rows,)  # type: ignore[arg-type]
        assert cells.of_heads().shape == (3, 2)
        assert np.isnan(cells.of_heads()).all() == (rows == 0 or not done)
        for values in (
            masses.visual_mass(),
            masses.sink_mass(),
            masses.image_centric_share(Redistribution()),
        ):
            assert values.shape == (rows,) and np.isfinite(values).sum() == rows * done
            for row_of in ("query", "produced"):
                assert len(of_rows(run, values, row_of)) == rows * done
    assert log_probabilities(run.tokens) == {}
    assert logprob_changes(run, whole, None) == ({}, {})


def test_every_figure_of_one_row(tmp_path: Path) -> None:
    run = begun(tmp_path, 1)
    reading = read(run)
    assert isinstance(reading, Reading)
    for name in FIGURES:
        assert build(name, reading).rows
