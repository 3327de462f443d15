"""Picking heads in the grid and in the sorted line: drags, modifiers, keys, ranks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import settle, stage
from tests.gui.pointer import drag, move_mouse, turn_wheel
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.heads import HeadsPanel
from var_studio.gui.panels.ledger import LedgerPanel
from var_studio.gui.widgets.atlas_pixels import CellShape, map_indices, profile_pixels
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton
KEY = QtCore.Qt.Key
SHIFT = QtCore.Qt.KeyboardModifier.ShiftModifier
CONTROL = QtCore.Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    """5 layers × 7 heads: rows taken for columns would be seen."""
    return make_run(tmp_path / "run", layers=5, heads=7, precision="float32")


def sorted_panel(qtbot: QtBot, run: Recording, **view: object) -> tuple[HeadsPanel, Workspace]:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    qtbot.mouseClick(panel.order.button("sorted"), LEFT)
    workspace.view.set(**view)
    settle()
    return panel, workspace


def by_hand(run: Recording, workspace: Workspace) -> list[tuple[int, int]]:
    """Heads by r, largest first, one float at a time."""
    query = workspace.query
    assert query is not None
    found = []
    for layer in range(run.n_layers):
        for head in range(run.n_heads):
            row, phi = run.attention(query, layer, head), run.phi(layer)
            mass = non_sinks = 0.0
            for j in np.flatnonzero(run.visual):
                mass += float(row[j])
                non_sinks += 0.0 if phi[j] >= run.tau_default else float(row[j])
            # float32 as shown: heads without any sink are equal, and stay in their order.
            found.append((-round(non_sinks / mass, 5), layer, head))
    return [(layer, head) for _, layer, head in sorted(found)]


def test_a_drag_takes_the_rectangle_and_follows_live(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    atlas, selection = panel.atlas, workspace.selection
    seen: list[int] = []
    selection.changed.connect(lambda: seen.append(len(selection.heads)))
    drag(qtbot, atlas, atlas.cell_rect(3, 5).center(), atlas.cell_rect(1, 2).center())
    assert selection.heads == {(la, h) for la in (1, 2, 3) for h in (2, 3, 4, 5)}
    assert selection.layer == 3, "the layer where the drag began"
    assert len(set(seen)) > 1, "the selection grows while the mouse moves"
    drag(qtbot, atlas, atlas.cell_rect(0, 0).center(), atlas.cell_rect(1, 2).center(), held=SHIFT)
    assert selection.heads >= {(0, 0), (1, 2), (3, 5)} and len(selection.heads) == 17
    before = selection.heads
    # Back to where it began: what was passed over on the way is given back.
    qtbot.mousePress(atlas, LEFT, CONTROL, atlas.cell_rect(4, 0).center().toPoint())
    move_mouse(atlas, atlas.cell_rect(2, 3).center(), buttons=True)
    assert (2, 2) not in selection.heads and (4, 1) in selection.heads
    move_mouse(atlas, atlas.cell_rect(4, 0).center(), buttons=True)
    qtbot.mouseRelease(atlas, LEFT, CONTROL, atlas.cell_rect(4, 0).center().toPoint())
    assert selection.heads == before | {(4, 0)}


def test_a_drag_along_the_numbers_takes_layers_or_columns(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    atlas = panel.atlas
    beside = QtCore.QPointF(atlas.cell_rect(0, 0).left() - 8, 0)
    start = beside + QtCore.QPointF(0, atlas.cell_rect(1, 0).center().y())
    end = beside + QtCore.QPointF(0, atlas.cell_rect(3, 0).center().y())
    drag(qtbot, atlas, start, end)
    assert workspace.selection.heads == {(la, h) for la in (1, 2, 3) for h in range(7)}
    below = QtCore.QPointF(0, atlas.cell_rect(4, 0).bottom() + 9)
    start = below + QtCore.QPointF(atlas.cell_rect(0, 6).center().x(), 0)
    end = below + QtCore.QPointF(atlas.cell_rect(0, 5).center().x(), 0)
    drag(qtbot, atlas, start, end)
    assert workspace.selection.heads == {(la, h) for la in range(5) for h in (5, 6)}


def test_keys_pick_without_the_mouse(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    atlas, selection = panel.atlas, workspace.selection
    selection.select_head(1, 1)
    settle()
    qtbot.keyClick(atlas, KEY.Key_Down, CONTROL)
    qtbot.keyClick(atlas, KEY.Key_Right, CONTROL)
    assert selection.heads == {(1, 1)}, "only the frame moves"
    qtbot.keyClick(atlas, KEY.Key_Return)
    assert selection.heads == {(1, 1), (2, 2)}
    qtbot.keyClick(atlas, KEY.Key_Return)
    assert selection.heads == {(1, 1)}
    qtbot.keyClick(atlas, KEY.Key_Space, SHIFT)
    assert selection.heads == {(2, h) for h in range(7)} and selection.layer == 2
    qtbot.keyClick(atlas, KEY.Key_Space, CONTROL)
    assert selection.heads == {(la, 2) for la in range(5)}
    qtbot.keyClick(atlas, KEY.Key_A, CONTROL)
    assert selection.heads == frozenset()


def test_the_windows_keys_do_not_take_them(
    qtbot: QtBot, window: MainWindow, run: Recording
) -> None:
    window.workspace.add_run(run)
    settle()
    panel, selection = window.area.panel("heads"), window.workspace.selection
    assert isinstance(panel, HeadsPanel)
    selection.select_head(1, 1)
    settle()
    panel.atlas.setFocus()
    qtbot.waitUntil(panel.atlas.hasFocus)
    position, shown = selection.position, window.workspace.view.current.shown
    qtbot.keyClick(panel.atlas, KEY.Key_Right, SHIFT)
    assert selection.heads == {(1, 1), (1, 2)}
    qtbot.keyClick(panel.atlas, KEY.Key_Space, SHIFT)
    assert selection.heads == {(1, h) for h in range(7)}
    assert selection.position == position and window.workspace.view.current.shown == shown
    window.workspace.modified = False


def test_the_line_is_sorted_and_a_click_takes_the_rank(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = sorted_panel(qtbot, run)
    strip, expected = panel.strip, by_hand(run, workspace)
    assert panel.pages.currentWidget() is strip
    assert [strip.head_at(rank) for rank in range(35)] == expected
    for rank in (0, 17, 34):
        box = strip.profile_rect()
        point = QtCore.QPointF(box.left() + (rank + 0.5) / 35 * box.width(), box.center().y())
        qtbot.mouseClick(strip, LEFT, pos=point.toPoint())
        assert workspace.selection.heads == {expected[rank]}
        assert workspace.selection.layer == expected[rank][0]
        move_mouse(strip, point)
        assert f" · rank {rank + 1} of 35 · " in panel.hover.text()
    box = strip.profile_rect()
    here = QtCore.QPointF(box.left() + 3.5 / 35 * box.width(), box.center().y())
    there = QtCore.QPointF(box.left() + 9.5 / 35 * box.width(), box.center().y())
    drag(qtbot, strip, here, there)
    assert workspace.selection.heads == set(expected[3:10])


def test_the_line_follows_the_token_and_rho(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = sorted_panel(qtbot, run, head_value="entropy")
    orders = []
    for _ in range(2):
        workspace.selection.step_token(5)
        settle()
        assert workspace.query is not None
        rows = run.attention(workspace.query)
        found = []
        for layer, head in np.ndindex(5, 7):
            entropy = -sum(float(a) * math.log(float(a)) for a in rows[layer, head] if a > 0)
            found.append((-entropy, (layer, head)))
        orders.append([head for _, head in sorted(found)])
        assert [panel.strip.head_at(rank) for rank in range(35)] == orders[-1]
    assert orders[0] != orders[1], "else it shows nothing"
    for rho in (0.2, 0.95):
        workspace.method.set(rho=rho)
        settle()
        assert workspace.query is not None
        expected = run.image_centric(workspace.query, workspace.method.current)
        np.testing.assert_array_equal(panel.strip._outlined, expected)


def test_thumbnails_of_the_line_are_the_maps_of_their_ranks(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = sorted_panel(qtbot, run)
    strip, expected = panel.strip, by_hand(run, workspace)
    page = strip.page()
    assert 5 < len(page) < 35 and page.start == 0
    strip.grab()
    assert strip._drawn is not None and workspace.query is not None
    heads, drawn = strip._drawn
    assert list(heads) == expected[: len(page)]
    view = run.layout.views[0]
    for index in (0, 4):
        row = run.attention(workspace.query, *expected[index])
        for r, c in ((0, 0), (2, 7), (9, 1)):
            assert drawn.maps[index, r, c] == row[run.layout.positions[view.tokens[r, c]]]
    qtbot.mouseClick(strip, LEFT, pos=strip.thumbnail_rect(4).center().toPoint())
    assert workspace.selection.heads == {expected[4]}
    # Keys walk along the ranks, and the thumbnails come along.
    for _ in range(len(page)):
        qtbot.keyClick(strip, KEY.Key_Right)
    assert workspace.selection.heads == {expected[4 + len(page)]}
    assert 4 + len(page) in strip.page()
    first = strip.page().start
    turn_wheel(strip, 120)
    assert strip.page().start < first


def test_in_a_low_panel_the_profile_has_all_the_room(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    stage(qtbot, panel, run, size=(320, 314)).view.set(head_order="sorted")
    settle()
    assert len(panel.strip.page()) == 0
    assert panel.strip.profile_rect().height() > 60
    panel.strip.grab()


@pytest.mark.parametrize("order", ["grid", "sorted"])
def test_a_smaller_model_has_no_head_of_the_larger(
    qtbot: QtBot, run: Recording, tmp_path: Path, order: str
) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(head_order=order)
    workspace.selection.select_head(4, 6)
    settle()
    shown = panel.pages.currentWidget()
    shown.hover((4, 6))
    workspace.add_run(make_run(tmp_path / "small", layers=2, heads=3))
    settle()
    assert shown._hovered == (-1, -1) and shown._cursor == (0, 0) and not shown._selected
    panel.grab()
    qtbot.keyClick(shown, KEY.Key_Down)
    assert all(layer < 2 and head < 3 for layer, head in workspace.selection.heads)


def test_the_largest_of_several_heads(qtbot: QtBot, run: Recording) -> None:
    panel, ledger = HeadsPanel(), LedgerPanel()
    workspace = stage(qtbot, panel, run)
    ledger.set_workspace(workspace)
    qtbot.addWidget(ledger)
    ledger.show()
    workspace.selection.select_heads([(1, 2), (3, 0), (3, 6)])
    settle()
    mean = workspace.reading
    assert mean is not None and workspace.query is not None
    sums = mean.ledger
    qtbot.mouseClick(panel.aggregate.button("max"), LEFT)
    settle()
    reading = workspace.reading
    assert reading is not None
    for k in (0, 17, 63):
        rows = [run.attention(workspace.query, *head) for head in ((1, 2), (3, 0), (3, 6))]
        largest = max(float(row[int(run.layout.positions[k])]) for row in rows)
        assert reading.map_before[k] == np.float32(largest)
    assert reading.ledger == sums
    assert "mean over 3 heads" in ledger.subject.text()
    assert "maxima would not sum to 1" in ledger.note.text()
    assert "maximum over 3 heads" in panel.atlas.accessibleDescription()


def test_attention_on_selected_cells(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(head_value="cells")
    settle()
    assert np.isnan(panel.atlas._values).all()
    assert panel.note.text().startswith("No cells are selected")
    workspace.selection.select_cells([4, 50])
    settle()
    positions = [int(run.layout.positions[k]) for k in (4, 50)]
    assert workspace.query is not None
    row = run.attention(workspace.query)
    expected = row[..., positions[0]] + row[..., positions[1]]
    np.testing.assert_allclose(panel.atlas._values, expected, rtol=1e-5)
    assert panel.note.text() == "2 cells selected"
    workspace.view.set(head_value="cells_all")
    rows = len(run.query_positions)
    qtbot.waitUntil(lambda: panel._reverse is not None and panel._reverse.complete)
    settle()
    total = np.zeros((5, 7))
    for query in range(rows):
        for position in positions:
            total += run.attention(query)[..., position]
    np.testing.assert_allclose(panel.atlas._values, total / rows, rtol=1e-5)
    move_mouse(panel.atlas, panel.atlas.cell_rect(2, 3).center())
    assert "on the cells, all tokens" in panel.hover.text()


def test_contribution_of_the_image(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    index = panel.value.findData("contribution")
    panel.value.setCurrentIndex(index)
    panel.value.activated.emit(index)
    settle()
    assert workspace.query is not None
    added = run.contribution(workspace.query, 3, 2)
    values = panel.atlas._values
    assert values is not None
    expected = added[run.visual].sum() / added.sum()
    assert values[3, 2] == pytest.approx(float(expected), rel=1e-4)


def test_thumbnails_of_the_difference_are_centred_on_0(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(thumbnails=True, shown="difference")
    settle()
    reading, atlas = workspace.reading, panel.atlas
    assert reading is not None
    np.testing.assert_array_equal(atlas._values, reading.head_maps(0, "difference"))
    layer, head = (int(i) for i in np.argwhere(reading.changed)[0])
    assert atlas._values is not None and atlas._values[layer, head].min() < 0
    assert panel.bar._limits == (-1.0, 1.0)
    assert "local" in panel.bar.accessibleDescription()
    entries = map_indices(np.array([[[[-2.0, 0.0, 2.0, 9.0]]]]), 2.0, CellShape(1, 4), signed=True)
    assert entries.ravel().tolist() == [1, 128, 255, 255]


def test_the_profile_draws_each_value_as_high_as_it_is() -> None:
    pixels = profile_pixels(
        np.array([1.0, 0.5, np.nan]),
        (0.0, 1.0),
        np.array([False, True, False]),
        CellShape(20, 30),
        "viridis",
        ground="#ffffff",
        mark="#00ff00",
        thick=2,
    )
    filled = (pixels != 0xFFFFFFFF).sum(axis=0)
    assert (filled[:10] == 20).all() and (filled[10:20] == 10).all() and not filled[20:].any()
    assert (pixels[-2:, 10:20] == 0xFF00FF00).all() and (pixels == 0xFF00FF00).sum() == 20
    assert pixels[0, 0] == 0xFFFDE725, "the top of the map"
