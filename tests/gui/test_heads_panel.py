"""The Heads panel: a click on a cell selects the head whose number is drawn there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

from tests.gui.panel_stage import pixels_of, settle, stage
from tests.gui.pointer import move_mouse
from tests.synthetic import make_run
from var_studio.gui import theme
from var_studio.gui.panels.head_values import head_limits, summary
from var_studio.gui.panels.heads import HeadsPanel
from var_studio.gui.widgets.atlas_pixels import CellShape, map_indices
from var_studio.gui.widgets.atlas_view import AtlasView
from var_studio.gui.widgets.ticks import index_step
from var_studio.recording.layout import View
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton
NO_KEY = QtCore.Qt.KeyboardModifier.NoModifier


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    """5 layers × 7 heads: a transposed click would be seen."""
    return make_run(tmp_path / "run", layers=5, heads=7, precision="float32")


def where_bright(widget: QtWidgets.QWidget, colour: tuple[int, int, int]) -> QtCore.QPoint:
    """Middle of the pixels that have a colour."""
    rows, cols = np.nonzero((np.abs(pixels_of(widget).astype(int) - colour) <= 2).all(axis=-1))
    assert len(rows), f"{colour} is nowhere"
    return QtCore.QPoint(int(np.median(cols)), int(np.median(rows)))


@pytest.mark.parametrize("shape", [(5, 7), (6, 6), (32, 32), (40, 40)])
def test_a_click_where_a_value_is_drawn_selects_its_head(
    qtbot: QtBot, shape: tuple[int, int]
) -> None:
    atlas = AtlasView()
    atlas.setPalette(theme.palette("light"))
    qtbot.addWidget(atlas)
    atlas.resize(457, 431)
    atlas.show()
    layer, head = shape[0] - 2, 3
    values = np.zeros(shape)
    values[layer, head] = 1.0
    atlas.set_values(values, 0.0, 1.0, "viridis")
    settle()
    # Yellow, the top of the map, is drawn for that head alone.
    point = where_bright(atlas, (253, 231, 37))
    with qtbot.waitSignal(atlas.picked) as clicked:
        qtbot.mouseClick(atlas, LEFT, pos=point)
    assert clicked.args == [{(layer, head)}, layer]


def test_clicks_select_heads_layers_and_columns(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    atlas, selection = panel.atlas, workspace.selection
    qtbot.mouseClick(atlas, LEFT, pos=atlas.cell_rect(3, 2).center().toPoint())
    assert (selection.heads, selection.layer) == ({(3, 2)}, 3)
    control = QtCore.Qt.KeyboardModifier.ControlModifier
    shift = QtCore.Qt.KeyboardModifier.ShiftModifier
    qtbot.mouseClick(atlas, LEFT, control, pos=atlas.cell_rect(1, 6).center().toPoint())
    assert selection.heads == {(3, 2), (1, 6)}
    qtbot.mouseClick(atlas, LEFT, shift, pos=atlas.cell_rect(0, 0).center().toPoint())
    assert selection.heads == {(3, 2), (1, 6), (0, 0)}
    qtbot.mouseClick(atlas, LEFT, control, pos=atlas.cell_rect(1, 6).center().toPoint())
    assert selection.heads == {(3, 2), (0, 0)}
    qtbot.mouseClick(atlas, LEFT, shift, pos=atlas.cell_rect(0, 0).center().toPoint())
    assert selection.heads == {(3, 2), (0, 0)}, "Shift adds, it never takes out"
    # On a layer's number, left of the cells; on a head's number, below them.
    row, column = atlas.cell_rect(2, 0), atlas.cell_rect(4, 5)
    number = QtCore.QPointF(row.left() - 8, row.center().y()).toPoint()
    qtbot.mouseClick(atlas, LEFT, pos=number)
    assert selection.heads == {(2, head) for head in range(7)}
    number = QtCore.QPointF(column.center().x(), column.bottom() + 9).toPoint()
    qtbot.mouseClick(atlas, LEFT, pos=number)
    assert selection.heads == {(layer, 5) for layer in range(5)}
    qtbot.mouseClick(panel.all_heads, LEFT)
    settle()
    assert selection.heads == frozenset()
    assert panel.all_heads.isChecked()


def test_arrow_keys_move_from_head_to_head(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    workspace.selection.select_head(1, 1)
    settle()
    qtbot.keyClick(panel.atlas, QtCore.Qt.Key.Key_Down)
    qtbot.keyClick(panel.atlas, QtCore.Qt.Key.Key_Right)
    assert workspace.selection.heads == {(2, 2)}
    shift = QtCore.Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(panel.atlas, QtCore.Qt.Key.Key_Right, shift)
    assert workspace.selection.heads == {(2, 2), (2, 3)}


def test_hover_reads_the_head_under_the_pointer(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    query = workspace.query
    assert query is not None
    layer, head = 3, 2
    row = run.attention(query, layer, head)
    visual = run.visual
    sinks = run.phi(layer) >= run.tau_default
    mass = row[visual].sum()
    ratio = row[visual & ~sinks].sum() / mass
    entropy = -sum(float(a) * np.log(float(a)) for a in row if a > 0)
    move_mouse(panel.atlas, panel.atlas.cell_rect(layer, head).center())
    parts = panel.hover.text().split(" · ")
    assert parts[:2] == ["layer 3", "head 2"]
    assert parts.pop(2).endswith(f"(position {workspace.selection.position})")
    assert parts[5].endswith(" nats")
    parts[5] = parts[5].removesuffix(" nats")
    shown = {p.rsplit(" ", 1)[0]: float(p.rsplit(" ", 1)[1]) for p in parts[2:6]}
    assert shown["r"] == pytest.approx(ratio, rel=6e-3, abs=1e-3)
    assert shown["visual mass"] == pytest.approx(mass, rel=6e-3)
    assert shown["sink mass"] == pytest.approx(row[sinks].sum(), rel=6e-3)
    assert shown["entropy"] == pytest.approx(entropy, rel=6e-3)
    settings = workspace.method.current
    assert ("image-centric" in parts) == bool(run.image_centric(query, settings)[layer, head])


def test_outlines_follow_rho(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    query = workspace.query
    assert query is not None
    counts = []
    for rho in (0.1, 0.8, 1.0):
        workspace.method.set(rho=rho)
        settle()
        expected = run.image_centric(query, workspace.method.current)
        np.testing.assert_array_equal(panel.atlas._outlined, expected)
        assert panel.summary.text().startswith(f"{int(expected.sum())} of 35 image-centric")
        counts.append(int(expected.sum()))
    assert counts[0] > counts[-1], "ρ must have made a difference"


def test_outlined_heads_look_different(qtbot: QtBot) -> None:
    atlas = AtlasView()
    atlas.setPalette(theme.palette("light"))
    qtbot.addWidget(atlas)
    atlas.resize(400, 400)
    atlas.show()
    atlas.set_values(np.full((4, 4), 0.5), 0.0, 1.0, "viridis")
    settle()
    plain = pixels_of(atlas)
    outlined = np.zeros((4, 4), dtype=bool)
    outlined[1, 2] = True
    atlas.set_outlined(outlined)
    settle()
    rows, cols = np.nonzero((pixels_of(atlas) != plain).any(axis=-1))
    box = atlas.cell_rect(1, 2)
    assert box.top() <= rows.min() and rows.max() <= box.bottom()
    assert box.left() <= cols.min() and cols.max() <= box.right()


def test_thumbnails_show_each_map_upright(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    index = panel.value.findData("thumbnails")
    panel.value.setCurrentIndex(index)
    panel.value.activated.emit(index)
    settle()
    assert workspace.view.current.thumbnails
    maps = panel.atlas._values
    query = workspace.query
    assert maps is not None and query is not None
    # Row 2, column 7 of the picture is visual token 27 of a raster of ten columns.
    position = int(run.layout.positions[27])
    assert maps[4, 1, 2, 7] == run.attention(query, 4, 1)[position]


def test_thumbnails_of_an_unknown_geometry_are_strips_and_say_so(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = replace(run.layout, known=False, views=(), _cell_of={})
    monkeypatch.setattr(Recording, "layout", property(lambda run: strange))
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    index = panel.value.findData("thumbnails")
    panel.value.setCurrentIndex(index)
    panel.value.activated.emit(index)
    settle()
    maps, query = panel.atlas._values, workspace.query
    assert maps is not None and query is not None
    # 80 tokens in rows of 48: token 50 is the third of the second row.
    assert maps[4, 1, 1, 2] == run.attention(query, 4, 1)[int(strange.positions[50])]
    assert panel.note.isVisible()
    assert panel.note.text().startswith("Geometry unknown: shown as a strip")
    panel.value.setCurrentIndex(0)
    panel.value.activated.emit(0)
    settle()
    assert not panel.note.isVisible(), "numbers of heads have no place to be wrong about"


def test_thumbnail_pixels_average_and_keep_orientation() -> None:
    maps = np.zeros((1, 1, 4, 4), dtype=np.float32)
    maps[0, 0, 0, 3] = 1.0
    cell = map_indices(maps, 1.0, CellShape(8, 8))[0, 0]
    assert cell.shape == (7, 7)
    assert cell[0, 6] == 255 and cell[6, 0] == 1
    halves = map_indices(maps, 1.0, CellShape(2, 2))[0, 0]
    # One of the four samples that each pixel stands for: a quarter of the scale.
    assert halves.tolist() == [[1, 1 + round(254 / 4)], [1, 1]]


def test_head_scale_leaves_sinks_out() -> None:
    maps = np.full((2, 1, 2, 2), 0.1, dtype=np.float32)
    maps[0, 0, 1, 1] = 5.0
    maps[1, 0] = 0.0
    maps[1, 0, 0, 0] = 3.0
    sinks = np.zeros((2, 2, 2), dtype=bool)
    sinks[0, 1, 1] = sinks[1, 0, 0] = True
    np.testing.assert_allclose(head_limits(maps, sinks[:, None]), [[0.1], [3.0]])


def test_summary_names_the_rule_of_the_convention(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    assert workspace.reading is not None
    assert "r ≥ 0.8" in summary(workspace.reading)
    workspace.method.set(convention="released-code")
    settle()
    assert workspace.reading is not None
    assert "sink share ≤ 0.8" in summary(workspace.reading)


@pytest.mark.parametrize("count", [6, 32, 40, 80])
@pytest.mark.parametrize("pixels_each", [4.0, 9.0, 14.0, 60.0])
def test_numbers_keep_apart(count: int, pixels_each: float) -> None:
    assert index_step(count, pixels_each, 18.0) * pixels_each >= min(18.0, count * pixels_each)


def test_empty_state_is_a_sentence(qtbot: QtBot) -> None:
    panel = HeadsPanel()
    stage(qtbot, panel)
    assert panel._stack.currentWidget() is panel._empty
    assert panel._empty.text().endswith(".")


@pytest.mark.parametrize("side", [190, 560, 900])
def test_outlines_hide_nothing_of_a_map(qtbot: QtBot, side: int) -> None:
    """A bright border stays seen all around, outlined, selected or neither."""
    atlas = AtlasView()
    atlas.setPalette(theme.palette("dark"))
    qtbot.addWidget(atlas)
    atlas.resize(side, side)
    atlas.show()
    maps = np.zeros((12, 12, 10, 10), dtype=np.float32)
    maps[..., 0, :] = maps[..., -1, :] = maps[..., :, 0] = maps[..., :, -1] = 1.0
    atlas.set_maps(maps, 1.0, "gray")
    settle()
    origin, cell = atlas.grid()
    inside = np.zeros((side, side), dtype=bool)
    height, width = cell.inner
    for layer, head in np.ndindex(12, 12):
        top, left = origin.y() + layer * cell.height, origin.x() + head * cell.width
        top, left = top + cell.margin, left + cell.margin
        inside[top : top + height, left : left + width] = True
    assert inside.sum() > 0.6 * (144 * cell.height * cell.width)
    before = pixels_of(atlas)[inside]
    atlas.set_outlined(np.ones((12, 12), dtype=bool))
    if side >= 560:  # smaller cells have no room for two outlines
        atlas.set_selected(frozenset({(2, 3)}))
    settle()
    assert np.array_equal(pixels_of(atlas)[inside], before)


def test_the_panel_names_the_word_whose_heads_it_shows(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run, size=(900, 560))
    position = workspace.selection.position
    word = run.tokens[position].text.strip()
    assert panel.subject.text().startswith(f"‘{word}’ (position {position}) · mean over all")
    assert panel.subject.text().endswith(("as query", "step that produced it"))
    panel.atlas.head_hovered.emit(1, 2)
    assert f"‘{word}’ (position {position})" in panel.hover.text()


def test_thumbnails_follow_the_part_of_the_picture_chosen_in_image(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four tiles beside each other are one map; a thumbnail is another."""
    grid = np.arange(16).reshape(4, 4)
    views = [View("thumbnail", 0, (0.0, 0.0, 80.0, 80.0), 64 + np.arange(4).reshape(2, 2))]
    for row, col in np.ndindex(2, 2):
        box = (40.0 * col, 40.0 * row, 40.0 * col + 40, 40.0 * row + 40)
        views.append(View(f"tile {row},{col}", 0, box, 16 * (2 * row + col) + grid))
    strange = replace(run.layout, views=tuple(views), _cell_of={})
    monkeypatch.setattr(Recording, "layout", property(lambda run: strange))
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(thumbnails=True)
    settle()
    assert panel.atlas._values.shape[2:] == (2, 2)
    assert "thumbnail" in panel.note.text()
    workspace.view.show_part((1, 2, 3, 4))
    settle()
    row = run.attention(workspace.query, 4, 1)[strange.positions]
    by_hand = np.zeros((8, 8), dtype=row.dtype)
    for y, x in np.ndindex(8, 8):
        by_hand[y, x] = row[16 * (2 * (y // 4) + x // 4) + 4 * (y % 4) + x % 4]
    assert np.array_equal(panel.atlas._values[4, 1], by_hand)
    assert "tile 0,0 to tile 1,1" in panel.note.text()
    workspace.view.show_part((7,))
    settle()
    assert panel.atlas._values.shape[2:] == (2, 2), "of another run: as by default"


def test_the_way_back_stays_where_it_is_without_a_note(qtbot: QtBot, run: Recording) -> None:
    panel = HeadsPanel()
    workspace = stage(qtbot, panel, run)
    workspace.selection.select_cells({3})
    workspace.view.reverse()
    settle()
    assert panel.note.isVisible() and panel.let_go.isVisible()
    place = panel.let_go.geometry()
    workspace.view.set(head_value="visual_mass")
    settle()
    assert not panel.note.isVisible() and panel.let_go.isVisible()
    assert panel.let_go.geometry() == place
