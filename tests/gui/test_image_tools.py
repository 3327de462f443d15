"""Picking and painting in the picture, by mouse and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6 import QtCore, QtGui, QtWidgets
from pytestqt.qtbot import QtBot

from tests import synthetic
from tests.gui.panel_stage import COLS, middle, on_widget, picked, region_tokens, settle, stage
from tests.gui.pointer import drag, move_mouse, turn_wheel
from var_studio.gui.panels.heads import HeadsPanel
from var_studio.gui.panels.image import ImagePanel
from var_studio.gui.panels.image_maps import LOCAL
from var_studio.gui.panels.regions import RegionsPanel
from var_studio.gui.panels.transcript import TranscriptPanel
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton
PLAIN = QtCore.Qt.KeyboardModifier.NoModifier
CONTROL = QtCore.Qt.KeyboardModifier.ControlModifier
SHIFT = QtCore.Qt.KeyboardModifier.ShiftModifier
KEY = QtCore.Qt.Key


def cells(*places: tuple[int, int]) -> set[int]:
    return {row * COLS + col for row, col in places}


# ------------------------------------------------------------------------------- picking
def test_clicks_pick_add_and_let_go_and_the_words_follow(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(colour_by="visual_mass")
    view = panel.views["before"]

    def click(row: int, col: int, modifier: QtCore.Qt.KeyboardModifier = PLAIN) -> None:
        qtbot.mouseClick(view, LEFT, modifier, middle(view, row, col).toPoint())

    click(2, 3)
    assert picked(panel) == cells((2, 3)) and workspace.view.current.colour_by == "reverse"
    click(5, 1, modifier=CONTROL)
    assert picked(panel) == cells((2, 3), (5, 1))
    query = workspace.query
    assert query is not None
    settle()
    row = run.attention(query)
    alpha = sum(row[..., run.layout.positions[k]] for k in picked(panel))
    text = panel.hover.text()
    if panel._hovered < 0:
        assert text.startswith("2 cells picked · α ")
        best = np.unravel_index(np.argmax(alpha), alpha.shape)
        assert f"most α from layer {best[0]} head {best[1]}" in text
    click(5, 1, modifier=CONTROL)
    click(2, 3)
    assert picked(panel) == set()
    assert workspace.view.current.colour_by == "visual_mass", "the words have their colours back"


def test_a_picked_cell_turns_words_and_heads_round_and_back(qtbot: QtBot, run: Recording) -> None:
    """Whoever picked, and however the cells are let go."""
    panel, heads, words = ImagePanel(), HeadsPanel(), TranscriptPanel()
    workspace = stage(qtbot, panel, run)
    for other in (heads, words):
        other.set_workspace(workspace)
        qtbot.addWidget(other)
        other.show()
    workspace.regions.paint((4, 5))
    regions = RegionsPanel()
    regions.set_workspace(workspace)
    qtbot.addWidget(regions)

    def seen() -> tuple[str, str, bool]:
        view = workspace.view.current
        return view.colour_by, view.head_value, view.thumbnails

    begins = (lambda: panel.pick(9), lambda: regions.pick.click())
    ends = (
        lambda: panel.pick(-1),
        lambda: workspace.selection.select_cells(()),
        lambda: qtbot.mouseClick(heads.let_go, LEFT),
        lambda: qtbot.mouseClick(words.let_go, LEFT),
    )
    regions.show()
    for before in (("visual_mass", "entropy", False), ("probability", "visual_mass", True)):
        for begin in begins:
            for end in ends:
                colour, value, maps = before
                workspace.view.set(colour_by=colour, head_value=value, thumbnails=maps)
                settle()
                assert not heads.let_go.isVisible() and not words.let_go.isVisible()
                begin()
                settle()
                assert (
                    seen() == ("reverse", "cells", False) and heads.value.currentData() == "cells"
                )
                row = workspace.reading
                assert row is not None
                np.testing.assert_allclose(
                    heads._values, row.on_cells(workspace.selection.cells), rtol=1e-6
                )
                assert heads.let_go.isVisible() and words.let_go.isVisible()
                end()
                settle()
                assert not workspace.selection.cells and seen() == before
                assert heads.value.currentData() == ("thumbnails" if maps else value)


def test_a_choice_made_while_cells_are_picked_stays(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    panel.pick(9)
    workspace.view.set(head_value="entropy")
    panel.pick(-1)
    view = workspace.view.current
    assert (view.colour_by, view.head_value) == ("probability", "entropy")
    panel.pick(9)
    workspace.view.set(head_value="cells_all")
    panel.pick(10)
    assert workspace.view.current.head_value == "cells_all"
    panel.pick(10)
    assert workspace.view.current.head_value == "entropy"


def test_another_run_with_fewer_cells_is_no_trouble(
    qtbot: QtBot, run: Recording, tmp_path: Path
) -> None:
    """An undo brings the run and its cells back, one after the other."""
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    panel.pick(79)
    settle()
    small = synthetic.make_run(tmp_path / "small", layers=5, heads=4, rows=3, cols=3, queries=9)
    workspace.add_run(small)
    settle()
    assert picked(panel) == set() and len(panel.views["before"]._scene.tokens) == 9
    workspace.look_at(run)
    workspace.selection.select_cells({78})
    settle()
    assert panel.hover.text().startswith("visual token 78 ")


def test_picking_can_be_undone(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    panel.pick(9)
    assert workspace.view.current.head_value == "cells"
    workspace.undo_stack.undo()
    assert picked(panel) == set()
    assert workspace.view.current.head_value == "non_sink_ratio"
    workspace.undo_stack.redo()
    assert picked(panel) == {9}


def test_cells_picked_elsewhere_are_outlined(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.selection.select_cells({1, 2})
    settle()
    assert panel.views["before"]._cells == {1, 2}
    assert workspace.view.current.colour_by == "probability", "only a click here recolours"


# ------------------------------------------------------------------------------ painting
def test_a_brush_stroke_paints_all_it_passes_and_is_one_undo_step(
    qtbot: QtBot, run: Recording
) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(tool="brush")
    view = panel.views["before"]
    # The mouse jumps from column 1 to column 5: the cells between are painted too.
    drag(qtbot, view, middle(view, 4, 1), middle(view, 4, 5), middle(view, 6, 5))
    assert region_tokens(panel) == cells(
        *((4, col) for col in range(1, 6)), *((row, 5) for row in (5, 6))
    )
    assert panel.zoom.factor == 1.0 and picked(panel) == set()
    settle()
    assert view._overlays[0].tokens == workspace.regions.current[0].tokens
    workspace.view.set(tool="erase")
    drag(qtbot, view, middle(view, 4, 4), middle(view, 4, 5))
    assert region_tokens(panel) == cells((4, 1), (4, 2), (4, 3), (5, 5), (6, 5))
    workspace.undo_stack.undo()
    assert len(region_tokens(panel)) == 7
    workspace.undo_stack.undo()
    assert workspace.regions.current == ()


def test_a_rectangle_takes_cells_half_inside_and_control_takes_them_away(
    qtbot: QtBot, run: Recording
) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(tool="rectangle")
    view = panel.views["before"]
    # From x = 200 (0.4 of column 1 inside) to 300 (0.6 of column 3), y = 45 (0.875 of row 1
    # inside) to 130 (0.25 of row 3): columns 2 and 3, rows 1 and 2.
    drag(qtbot, view, on_widget(view, 200, 45), on_widget(view, 300, 130))
    assert region_tokens(panel) == cells((1, 2), (1, 3), (2, 2), (2, 3))
    drag(qtbot, view, on_widget(view, 230, 10), on_widget(view, 262, 400), held=CONTROL)
    assert region_tokens(panel) == cells((1, 3), (2, 3))
    # A click is the cell under it.
    qtbot.mouseClick(view, LEFT, pos=middle(view, 7, 7).toPoint())
    assert region_tokens(panel) == cells((1, 3), (2, 3), (7, 7))


def test_words_say_where_the_budget_goes(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    workspace.view.set(shown="after")
    workspace.method.set(rho=0.0, mass_min=0.0, target="region", region=(3, 4, 5))
    settle()
    assert panel.note.text() == f"{LOCAL} · to a region of 3 tokens"


def test_the_buttons_choose_the_tool(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    for tool, button in panel.tools.buttons.items():
        qtbot.mouseClick(button, LEFT)
        assert workspace.view.current.tool == tool
    workspace.view.set(tool="select")
    assert panel.tools.buttons["select"].isChecked()


# ------------------------------------------------------------------------------ keyboard
def test_the_keyboard_picks_and_paints(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    view = panel.views["before"]
    view.setFocus(QtCore.Qt.FocusReason.TabFocusReason)
    for key in (KEY.Key_Down, KEY.Key_Down, KEY.Key_Right):
        qtbot.keyClick(view, key)
    assert "cell (1, 1)" in panel.hover.text(), "the first key only shows the cursor"
    qtbot.keyClick(view, KEY.Key_Return)
    qtbot.keyClick(view, KEY.Key_Right)
    qtbot.keyClick(view, KEY.Key_Return, SHIFT)
    assert picked(panel) == cells((1, 1), (1, 2))
    workspace.view.set(tool="rectangle")
    settle()
    qtbot.keyClick(view, KEY.Key_Return)
    qtbot.keyClick(view, KEY.Key_Down)
    qtbot.keyClick(view, KEY.Key_Right)
    qtbot.keyClick(view, KEY.Key_Return)
    assert region_tokens(panel) == cells((1, 2), (1, 3), (2, 2), (2, 3))
    workspace.view.set(tool="erase")
    settle()
    qtbot.keyClick(view, KEY.Key_Return)
    assert region_tokens(panel) == cells((1, 2), (1, 3), (2, 2))


@pytest.mark.parametrize("reason", ["TabFocusReason", "MouseFocusReason"])
def test_after_a_click_the_arrows_still_belong_to_the_window(
    qtbot: QtBot, run: Recording, reason: str
) -> None:
    panel = ImagePanel()
    stage(qtbot, panel, run)
    view = panel.views["before"]
    window = panel.window()
    steps: list[int] = []
    shortcut = QtGui.QShortcut(QtGui.QKeySequence("Right"), window)
    shortcut.activated.connect(lambda: steps.append(1))
    qtbot.waitExposed(window)
    window.activateWindow()
    view.setFocus(getattr(QtCore.Qt.FocusReason, reason))
    qtbot.waitUntil(view.hasFocus)
    qtbot.keyClick(view, KEY.Key_Right)
    assert (len(steps), panel._hovered >= 0) == ((0, True) if "Tab" in reason else (1, False))


def test_the_cursor_says_the_tool(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    shapes = set()
    for tool in ("select", "brush"):
        workspace.view.set(tool=tool)
        settle()
        shapes.add(panel.views["before"].cursor().shape())
    assert len(shapes) == 2 and QtWidgets.QApplication.overrideCursor() is None


# --------------------------------------------------------------------------- the brush's size
def test_a_wide_brush_paints_what_it_covers(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    view = panel.views["before"]
    workspace.view.set(tool="brush", brush=3)
    settle()
    drag(qtbot, view, middle(view, 4, 2), middle(view, 4, 5))
    # Middles within 1.5 cells of the stroke from (4, 2) to (4, 5): by a loop over fine steps.
    covered = {
        (row, col)
        for row in range(10)
        for col in range(COLS)
        for step in range(301)
        if (row - 4) ** 2 + (col - 2 - step / 100) ** 2 <= 1.5**2 - 0.02
    }
    assert region_tokens(panel) == cells(*covered)
    assert len(covered) > 12
    workspace.view.set(tool="erase", brush=1)
    settle()
    drag(qtbot, view, middle(view, 4, 3))
    assert region_tokens(panel) == cells(*covered) - cells((4, 3))


def test_keys_and_wheel_size_the_brush(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    view = panel.views["before"]
    view.setFocus(QtCore.Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(view, KEY.Key_Period)
    assert workspace.view.current.brush == 1, "no brush in hand"
    workspace.view.set(tool="brush")
    settle()
    assert panel.tools.across.isVisible()
    for _ in range(2):
        qtbot.keyClick(view, KEY.Key_Period)
    assert workspace.view.current.brush == 3 and panel.tools.across.text() == "⌀3"
    qtbot.keyClick(view, KEY.Key_Comma)
    assert workspace.view.current.brush == 2
    place, zoom = middle(view, 4, 4), panel.zoom.factor
    turn_wheel(view, 120, place, SHIFT)
    assert workspace.view.current.brush == 3 and panel.zoom.factor == zoom
    for _ in range(30):
        qtbot.keyClick(view, KEY.Key_Comma)
    assert workspace.view.current.brush == 1, "never less than one cell"
    # The keyboard's cursor paints as wide as the brush.
    workspace.view.set(brush=3)
    settle()
    view.set_hovered(4 * COLS + 4)
    qtbot.keyClick(view, KEY.Key_Return)
    around = {(r, c) for r in (3, 4, 5) for c in (3, 4, 5)}
    assert region_tokens(panel) == cells(*around)


def test_the_brush_is_outlined_where_it_is(qtbot: QtBot, run: Recording) -> None:
    panel = ImagePanel()
    workspace = stage(qtbot, panel, run)
    view = panel.views["before"]
    workspace.view.set(tool="brush", brush=5, sinks_boxed=False, opacity=0.0)
    settle()
    bare = view.grab().toImage()
    move_mouse(view, middle(view, 5, 4))
    settle()
    shown = view.grab().toImage()
    edge = on_widget(view, 120 + 4.5 * 50 + 2.5 * 50, 5.5 * 40).toPoint()
    inside = on_widget(view, 120 + 4.5 * 50 + 1.2 * 50, 5.5 * 40).toPoint()

    def changed(point: QtCore.QPoint) -> bool:
        return any(
            bare.pixelColor(point.x() + dx, point.y())
            != shown.pixelColor(point.x() + dx, point.y())
            for dx in (-1, 0, 1)
        )

    assert changed(edge) and not changed(inside)
