"""The Regions panel: numbers against loops, masks, names, steering; all of it undone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6 import QtCore
from pytestqt.qtbot import QtBot

from tests.gui.layouts import two_pictures
from tests.gui.panel_stage import COLS, ROWS, SIZE, cropped_run, settle, stage
from var_studio.gui.models.workspace import Workspace
from var_studio.gui.panels.regions import RegionsPanel, _alpha
from var_studio.recording.recording import Recording

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LEFT = QtCore.Qt.MouseButton.LeftButton


def staged(qtbot: QtBot, *runs: Recording) -> tuple[RegionsPanel, Workspace]:
    panel = RegionsPanel()
    return panel, stage(qtbot, panel, *runs, size=(760, 260))


def test_numbers_equal_the_loops(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    workspace.selection.select_head(2, 1)
    layer = workspace.selection.layer
    phi = run.phi()[:, run.layout.positions]
    tau = workspace.method.tau
    sinks = [{k for k in range(ROWS * COLS) if phi[la, k] >= tau} for la in range(run.n_layers)]
    assert sinks[layer], "the synthetic run has visual sinks here"
    region = {min(sinks[layer]), 3, 40, 41}
    workspace.regions.add(region, "cup")
    settle()
    assert panel.numbers.text(1, 1) == str(len(region))
    assert panel.numbers.text(1, 2) == str(80 - len(region))
    assert panel.numbers.text(1, 3) == f"{100 * len(region) / 80:.3g} %"
    inside = len(region & sinks[layer])
    assert panel.numbers.text(2, 0) == f"Visual sinks, layer {layer}"
    assert panel.numbers.text(2, 1) == str(inside)
    assert panel.numbers.text(2, 2) == str(len(sinks[layer]) - inside)
    both = sum(len(region & each) for each in sinks), sum(len(each) for each in sinks)
    assert panel.numbers.text(3, 3) == f"{100 * both[0] / both[1]:.3g} %"
    query = workspace.query
    assert query is not None
    row = run.attention(query, 2, 1)
    alpha = sum(float(row[int(run.layout.positions[k])]) for k in region)
    assert float(panel.numbers.text(4, 1)) == pytest.approx(alpha, rel=6e-3)
    after = run.redistributed(query, workspace.method.current, 2, 1)
    later = sum(float(after[int(run.layout.positions[k])]) for k in region)
    assert float(panel.numbers.text(5, 1)) == pytest.approx(later, rel=6e-3)
    outside = 100 * (1 - inside / len(sinks[layer]))
    assert f"{outside:.3g} % of the layer's visual sinks" in panel.sentence.text()


def test_numbers_of_a_column_have_the_same_digits() -> None:
    assert _alpha("α", 0.396, 0.896) == ("α", "0.396", "0.500", "44.2 %")


def test_steering_to_a_region_that_is_gone_is_said(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    name = workspace.regions.add((4, 5, 6))
    settle()
    panel.steer.click()
    settle()
    assert "still" not in panel.sentence.text()
    workspace.regions.remove(name)
    settle()
    assert workspace.method.current.region == (4, 5, 6) and panel.steer.isEnabled()
    assert "still goes to 3 visual tokens" in panel.sentence.text()
    panel.steer.click()
    settle()
    assert workspace.method.current.target == "visual"
    assert "still" not in panel.sentence.text()


def test_without_a_region_a_sentence_says_how_to_make_one(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    assert panel.sentence.text().startswith("No region yet.") and not panel.numbers.isVisible()
    assert not panel.steer.isEnabled() and not panel.invert.isEnabled()
    workspace.selection.select_cells({4, 5})
    qtbot.mouseClick(panel.new, LEFT)
    settle()
    assert workspace.regions.active is not None and workspace.regions.active.tokens == (4, 5)
    assert panel.numbers.isVisible() and panel.list.topLevelItemCount() == 1


def test_steering_moves_the_budget_to_the_region_and_back(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    workspace.method.set(rho=0.0, mass_min=0.0, p=0.9)
    workspace.regions.add({10, 11, 12})
    workspace.selection.select_head(2, 1)
    settle()
    qtbot.mouseClick(panel.steer, LEFT)
    settle()
    reading = workspace.reading
    assert reading is not None and reading.settings.target == "region"
    assert reading.settings.region == (10, 11, 12)
    gained = reading.map_difference
    assert (gained[[10, 11, 12]] > 0).all()
    others = np.delete(gained, [10, 11, 12])
    assert (others <= 1e-9).all(), "nobody else receives"
    assert panel.steer.isChecked()
    qtbot.mouseClick(panel.steer, LEFT)
    settle()
    assert workspace.method.current.target == "visual" and not panel.steer.isChecked()
    workspace.undo_stack.undo()
    settle()
    assert workspace.method.current.region == (10, 11, 12) and panel.steer.isChecked()


def test_invert_remove_pick_and_undo(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    workspace.regions.add(range(30), "object")
    settle()
    qtbot.mouseClick(panel.invert, LEFT)
    assert workspace.regions.active is not None
    assert workspace.regions.active.tokens == tuple(range(30, 80))
    qtbot.mouseClick(panel.pick, LEFT)
    assert workspace.selection.cells == set(range(30, 80))
    qtbot.mouseClick(panel.remove, LEFT)
    assert workspace.regions.current == ()
    for _ in range(3):
        workspace.undo_stack.undo()
    assert workspace.regions.active.tokens == tuple(range(30))


def test_names_are_typed_and_taken_once(qtbot: QtBot, run: Recording) -> None:
    panel, workspace = staged(qtbot, run)
    workspace.regions.add({1}, "cup")
    workspace.regions.add({2}, "wall")
    settle()
    panel.list.topLevelItem(0).setText(0, "wall")
    settle()
    assert [region.name for region in workspace.regions.current] == ["wall 2", "wall"]
    assert [panel.list.topLevelItem(i).text(0) for i in (0, 1)] == ["wall 2", "wall"]
    panel.list.topLevelItem(1).setText(0, "  ")
    settle()
    assert panel.list.topLevelItem(1).text(0) == "wall", "an empty name is none"
    panel.list.setCurrentItem(panel.list.topLevelItem(0))
    assert workspace.regions.active is not None and workspace.regions.active.name == "wall 2"
    qtbot.keyClick(panel.list, QtCore.Qt.Key.Key_Delete)
    assert [region.name for region in workspace.regions.current] == ["wall"]


def test_a_mask_of_another_size_becomes_a_region(
    qtbot: QtBot, run: Recording, tmp_path: Path
) -> None:
    panel, workspace = staged(qtbot, run)
    # A quarter of the picture's size; the marked part is x 200–320, y 80–200 of the picture.
    mask = np.zeros((SIZE[1] // 4, SIZE[0] // 4), dtype=np.uint8)
    mask[20:50, 50:80] = 255
    path = tmp_path / "the cup.png"
    Image.fromarray(mask).save(path)
    panel.load_mask(str(path))
    settle()
    # Columns of 50 from 120 on: 220–270, 270–320 whole, 170–220 only 20 of 50. Rows of 40: 2, 3, 4.
    expected = {row * COLS + col for row in (2, 3, 4) for col in (2, 3)}
    assert [(r.name, set(r.tokens)) for r in workspace.regions.current] == [("the cup", expected)]


@pytest.mark.parametrize("kind", ["no image", "black", "beside"])
def test_a_bad_mask_is_a_notice_and_changes_nothing(
    qtbot: QtBot, run: Recording, tmp_path: Path, kind: str
) -> None:
    panel, workspace = staged(qtbot, run)
    path = tmp_path / "mask.png"
    if kind == "no image":
        path.write_text("nothing")
    else:
        mask = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
        if kind == "beside":
            mask[:, :100] = 255  # the border that the model never saw
        Image.fromarray(mask).save(path)
    said: list[object] = []
    workspace.problem.connect(said.append)
    panel.load_mask(str(path))
    assert len(said) == 1 and "mask.png" in str(said[0])
    assert workspace.regions.current == ()


def test_all_views_is_offered_where_there_are_several(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, workspace = staged(qtbot, run)
    assert not panel.spread.isVisible()
    layout = two_pictures()
    monkeypatch.setattr(Recording, "layout", property(lambda run: layout))
    workspace.replace_all([])
    workspace.add_run(run)
    settle()
    # The tile's first four cells of 20 pixels see all of the thumbnail's first one of 30, a third
    # of each of its neighbours.
    workspace.regions.add({6, 7, 9, 10})
    settle()
    qtbot.mouseClick(panel.spread, LEFT)
    assert workspace.regions.active is not None
    assert set(workspace.regions.active.tokens) == {6, 7, 9, 10, 15}


def test_a_region_too_small_for_another_grid_is_said(
    qtbot: QtBot, run: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a cell or more stays; less is left out, and the list says so."""
    coarse = cropped_run(tmp_path / "coarse", monkeypatch, rows=2, cols=2)
    panel = RegionsPanel()
    workspace = stage(qtbot, panel, run)
    regions = workspace.regions
    regions.add((0, 1), "dot")
    regions.add(range(40), "upper half")
    workspace.add_run(coarse)
    settle()

    def listed() -> list[tuple[str, str, bool]]:
        items = [panel.list.topLevelItem(i) for i in range(panel.list.topLevelItemCount())]
        enabled = QtCore.Qt.ItemFlag.ItemIsEnabled
        return [(i.text(0), i.text(1), bool(i.flags() & enabled)) for i in items if i is not None]

    assert [r.name for r in regions.current] == ["upper half"] and regions.too_small == ("dot",)
    assert listed() == [("upper half", "2 tokens", True), ("dot", "too small here", False)]
    # It is no region here: nothing to choose, and its name is free; a new one stands above it.
    regions.add((3,), "corner")
    settle()
    assert [name for name, _, _ in listed()] == ["upper half", "corner", "dot"]
    assert not panel.list.topLevelItem(1).icon(0).isNull()
    regions.add((2,), "dot")
    settle()
    assert listed()[-1] == ("dot", "1 token", True) and regions.too_small == ()
    workspace.look_at(run)
    settle()
    assert [r.name for r in regions.current] == ["dot", "upper half"] and regions.too_small == ()
    assert len(listed()) == 2
    # Alone it is said in words as well: there would be an empty list.
    regions.remove("upper half")
    for name in ("upper half", "corner", "dot"):
        workspace.look_at(coarse)
        regions.remove(name)
    settle()
    assert "“dot”" in panel.sentence.text() and regions.current == ()
