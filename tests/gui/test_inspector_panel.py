"""The token map: every row against the layout and the row of attention; linked both ways."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6 import QtCore, QtGui
from pytestqt.qtbot import QtBot

from tests.gui.layouts import two_pictures
from tests.gui.panel_stage import COLS, mean_row, settle, stage
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.inspector import InspectorPanel
from var_studio.gui.widgets.token_table import ALPHA, CELL, HEADINGS, KIND, PHI, RANK, SINK
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton


def staged(qtbot: QtBot, *runs: Recording) -> tuple[InspectorPanel, Workspace]:
    panel = InspectorPanel()
    return panel, stage(qtbot, panel, *runs, size=(860, 360))


def row_of(panel: InspectorPanel, row: int) -> list[str]:
    model = panel.table.model()
    return [str(model.index(row, column).data()) for column in range(len(HEADINGS))]


def tokens(panel: InspectorPanel) -> list[int]:
    return [int(row_of(panel, row)[0]) for row in range(panel.model.rowCount())]


def test_every_row_says_what_the_layout_and_the_row_say(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    query, layer = workspace.query, workspace.selection.layer
    assert query is not None and panel.model.rowCount() == 80
    alpha, phi = mean_row(run, query), run.phi(layer)
    for k in range(80):
        texts, position = row_of(panel, k), int(run.layout.positions[k])
        row, col = divmod(k, COLS)
        assert texts[:7] == [
            *(str(k), str(position), "patch", "crop", f"({row}, {col})"),
            f"{120 + 50 * col}–{170 + 50 * col}",
            f"{40 * row}–{40 * row + 40}",
        ]
        assert float(texts[ALPHA]) == pytest.approx(alpha[k], abs=5.1e-7, rel=0)
        assert int(texts[RANK]) == 1 + int((alpha > alpha[k] + 1e-9).sum())
        assert float(texts[PHI]) == pytest.approx(float(phi[position]), abs=5.1e-4, rel=0)
        assert texts[SINK] == ("sink" if phi[position] >= run.tau_default else "")
    assert panel.unseen.text() == "Never seen, in pixels: 0–120 × 0–400, 520–640 × 0–400"
    assert panel.summary.text() == "80 patches · 1 view · positions 6–85"


def test_rows_and_picked_cells_are_one_selection(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    table = panel.table
    changes: list[int] = []
    workspace.selection.changed.connect(lambda: changes.append(1))
    place = table.visualRect(panel.model.index(3, 1)).center()
    qtbot.mouseClick(table.viewport(), LEFT, pos=place)
    assert workspace.selection.cells == {3} and len(changes) == 1
    qtbot.keyClick(table, QtCore.Qt.Key.Key_Down, QtCore.Qt.KeyboardModifier.ShiftModifier)
    assert workspace.selection.cells == {3, 4}
    workspace.selection.select_cells({60, 61, 70})
    settle()
    chosen = sorted(index.row() for index in table.selectionModel().selectedRows())
    assert chosen == [60, 61, 70]
    assert table.visualRect(panel.model.index(60, 0)).intersects(table.viewport().rect())
    workspace.undo_stack.undo()
    settle()
    assert workspace.selection.cells != {60, 61, 70}


def test_sorting_and_filters(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    workspace.selection.select_cells({5, 50})
    settle()
    query = workspace.query
    assert query is not None
    panel.table.sortByColumn(ALPHA, QtCore.Qt.SortOrder.DescendingOrder)
    alpha = mean_row(run, query)
    shown = tokens(panel)
    assert (np.diff(alpha[shown]) <= 1e-8).all() and sorted(shown) == list(range(80))
    chosen = {shown[index.row()] for index in panel.table.selectionModel().selectedRows()}
    assert chosen == {5, 50} == workspace.selection.cells, "sorting picks nothing else"
    phi = run.phi(workspace.selection.layer)[run.layout.positions]
    qtbot.mouseClick(panel.keep.button("sinks"), LEFT)
    assert set(tokens(panel)) == set(np.flatnonzero(phi >= workspace.method.tau))
    assert workspace.selection.cells == {5, 50}, "what is filtered out stays picked"
    workspace.method.set(tau=1e6)
    settle()
    assert panel.model.rowCount() == 0 and panel.nothing.isVisible()
    assert "no visual sink" in panel.nothing.text()
    qtbot.mouseClick(panel.keep.button("picked"), LEFT)
    assert set(tokens(panel)) == {5, 50} and panel.table.isVisible()
    workspace.selection.select_cells(())
    settle()
    assert panel.nothing.isVisible() and "click one" in panel.nothing.text()


def test_newlines_and_several_pictures_are_told(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = two_pictures()
    monkeypatch.setattr(Recording, "layout", property(lambda run: layout))
    panel, workspace = staged(qtbot)
    workspace.add_run(run)
    settle()
    newline = row_of(panel, 2)
    assert newline[KIND] == "newline" and newline[CELL] == "–" and newline[3] == "–"
    assert row_of(panel, 6)[3] == "image 2 tile" and row_of(panel, 6)[CELL] == "(0, 0)"
    assert panel.summary.text().startswith("17 patches · 2 newlines · 3 views of 2 images")
    qtbot.mouseClick(panel.keep.button("others"), LEFT)
    assert tokens(panel) == [2, 5]


def test_numbers_follow_the_selected_token(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    workspace.selection.select_head(2, 1)
    settle()
    before = row_of(panel, 10)
    workspace.selection.step_token(1)
    settle()
    query = workspace.query
    assert query is not None
    alpha = float(run.attention(query, 2, 1)[run.layout.positions[10]])
    assert row_of(panel, 10) != before
    assert float(row_of(panel, 10)[ALPHA]) == pytest.approx(alpha, rel=6e-3)


def test_arrows_walk_the_table_though_the_window_has_them_too(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    steps: list[int] = []
    shortcut = QtGui.QShortcut(QtGui.QKeySequence("Down"), panel.window())
    shortcut.activated.connect(lambda: steps.append(1))
    panel.window().activateWindow()
    panel.table.setFocus()
    qtbot.waitUntil(panel.table.hasFocus)
    qtbot.mouseClick(
        panel.table.viewport(), LEFT, pos=panel.table.visualRect(panel.model.index(3, 1)).center()
    )
    qtbot.keyClick(panel.table, QtCore.Qt.Key.Key_Down)
    assert workspace.selection.cells == {4} and not steps


def test_a_cell_picked_while_the_table_was_hidden_is_in_view(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    panel.hide()
    workspace.selection.select_cells({70})
    settle()
    panel.show()
    settle()
    place = panel.table.visualRect(panel.model.index(70, 0))
    assert panel.table.viewport().rect().contains(place)


def test_the_columns_fill_the_table_and_are_never_cut(qtbot: QtBot, run: Recording) -> None:
    panel = InspectorPanel()
    stage(qtbot, panel, run, size=(1500, 400))
    header, table = panel.table.horizontalHeader(), panel.table
    assert header.length() == table.viewport().width()
    shares = [header.sectionSize(c) - panel._widths[c] for c in range(header.count())]
    assert max(shares) - min(shares) <= 1 < min(shares)
    panel._window.resize(420, 400)
    settle()
    assert header.length() > table.viewport().width(), "it scrolls then"
    assert [header.sectionSize(c) for c in range(header.count())] == list(panel._widths.values())
    panel._window.resize(1200, 400)
    settle()
    assert header.length() == table.viewport().width()
