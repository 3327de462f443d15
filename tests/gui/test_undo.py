"""One undo stack: settings, what is looked at, regions; and the regions of the window."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT, notices, press, settle, wait_idle, wait_saved
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.history import MERGE_WITHIN
from var_studio.gui.models.view import ViewModel
from var_studio.gui.models.workspace import Workspace
from var_studio.recording.regions import Region, picture_key
from var_studio.recording.settings import Redistribution


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float = MERGE_WITHIN * 2) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workspace(tmp_path: Path, qtbot: QtBot, clock: Clock) -> Iterator[Workspace]:
    made = Workspace()
    made.history._clock = clock
    made.add_run(make_run(tmp_path / "baseline"))
    settle(qtbot)
    yield made
    made._timer.stop()


# ----------------------------------------------------------------------------- what is looked at
def test_what_the_program_selects_is_no_step(workspace: Workspace, tmp_path: Path) -> None:
    assert workspace.selection.position is not None
    workspace.add_run(make_run(tmp_path / "other", seed=4, rows=6))
    workspace.remove_run(workspace.runs[-1])
    workspace.finish_run()
    assert workspace.undo_stack.count() == 0


def test_steps_of_selection_settings_and_regions_are_undone_in_turn(
    workspace: Workspace, clock: Clock
) -> None:
    selection, stack = workspace.selection, workspace.undo_stack
    first = selection.position
    selection.step_token(2)
    clock.wait()
    selection.select_head(1, 2)
    workspace.method.set(rho=0.3)
    workspace.regions.add((1, 2), "cup")
    clock.wait()
    selection.select_cells({3, 4})
    second = selection.position
    assert second != first and stack.count() == 5
    stack.undo()
    assert selection.cells == frozenset() and workspace.regions.current
    stack.undo()
    assert workspace.regions.current == ()
    stack.undo()
    assert workspace.method.stored == Redistribution() and selection.heads == {(1, 2)}
    stack.undo()
    assert selection.heads == frozenset() and selection.position == second
    stack.undo()
    assert selection.position == first and not stack.canUndo()
    while stack.canRedo():
        stack.redo()
    assert (selection.position, selection.heads, selection.cells) == (second, {(1, 2)}, {3, 4})
    assert workspace.method.stored.rho == 0.3
    assert workspace.regions.current == (Region("cup", (1, 2)),)


def test_rapid_steps_of_a_kind_are_one(workspace: Workspace, clock: Clock) -> None:
    selection, stack = workspace.selection, workspace.undo_stack
    first, layer = selection.position, selection.layer
    for _ in range(5):
        clock.wait(MERGE_WITHIN / 2)
        selection.step_token(1)
    assert stack.count() == 1
    for _ in range(2):
        selection.step_layer(1)
    assert stack.count() == 2, "another kind of step is a step of its own"
    clock.wait()
    selection.step_layer(-2)
    assert stack.count() == 3 and selection.layer == layer
    for _ in range(3):
        stack.undo()
    assert (selection.position, selection.layer) == (first, layer)


def test_there_and_back_at_once_is_no_step(workspace: Workspace) -> None:
    workspace.selection.step_layer(1)
    workspace.selection.step_layer(-1)
    assert workspace.undo_stack.count() == 0 and not workspace.undo_stack.canUndo()


def test_a_click_into_another_run_is_one_step(
    workspace: Workspace, tmp_path: Path, clock: Clock, qtbot: QtBot
) -> None:
    baseline = workspace.run
    assert baseline is not None
    at, cells = workspace.selection.position, frozenset({2, 3})
    workspace.selection.select_cells(cells)
    other = make_run(tmp_path / "other", seed=4, rows=6, cols=6)
    workspace.add_run(other)
    assert workspace.run is other and workspace.selection.cells == frozenset()
    workspace.look_at(baseline)
    clock.wait()
    count = workspace.undo_stack.count()
    position = int(other.generated_positions[4])
    workspace.look_at(other, position)
    assert workspace.undo_stack.count() == count + 1
    readings: list[object] = []
    workspace.reading_changed.connect(readings.append)
    settle(qtbot)
    readings.clear()
    workspace.undo_stack.undo()
    settle(qtbot)
    assert workspace.run is baseline and len(readings) == 1, "one undo is one repaint"
    workspace.undo_stack.redo()
    assert workspace.run is other and workspace.selection.position == position
    workspace.remove_run(other)
    workspace.undo_stack.undo()
    workspace.undo_stack.redo()
    assert workspace.run is baseline, "a run that is gone came back"
    assert at in workspace.selection.positions


def test_undo_of_the_row_restores_its_token(workspace: Workspace, clock: Clock) -> None:
    selection = workspace.selection
    last = selection.positions[-1]
    selection.select_token(last)
    clock.wait()
    selection.set_row_of("produced")
    clock.wait()
    selection.select_token(selection.positions[0])
    workspace.undo_stack.undo()
    workspace.undo_stack.undo()
    assert (selection.row_of, selection.position) == ("query", last)


# ---------------------------------------------------------------------------------------- cells
def test_cells_are_those_of_the_picture(workspace: Workspace, qtbot: QtBot) -> None:
    run = workspace.run
    assert run is not None
    count = run.layout.count
    with qtbot.waitSignal(workspace.reading_changed):
        workspace.selection.select_cells([0, count - 1, count, -1])
    assert workspace.selection.cells == {0, count - 1}
    with qtbot.assertNotEmitted(workspace.selection.changed):
        workspace.selection.select_cells({0, count - 1})


# -------------------------------------------------------------------------------------- regions
def test_strokes_merge_and_make_a_region_if_there_is_none(workspace: Workspace) -> None:
    regions, stack = workspace.regions, workspace.undo_stack
    regions.paint((1,), erase=True)
    assert stack.count() == 0
    for token in (1, 2, 3):
        regions.paint((token,), drag=True)
    regions.end_stroke()
    regions.paint((2,), erase=True, drag=True)
    assert regions.active == Region("region 1", (1, 3)) and stack.count() == 2
    stack.undo()
    assert regions.active == Region("region 1", (1, 2, 3))
    stack.undo()
    assert regions.current == () and regions.active is None
    stack.redo()
    assert regions.active == Region("region 1", (1, 2, 3)) and regions.containing(3)


def test_names_are_distinct_and_follow_undo(workspace: Workspace) -> None:
    regions = workspace.regions
    assert [regions.add((1,)), regions.add((2,)), regions.add((3,), "cup")] == [
        "region 1",
        "region 2",
        "cup",
    ]
    assert regions.rename("cup", "region 1") == "region 1 2"
    assert regions.active == Region("region 1 2", (3,))
    regions.remove("region 1 2")
    assert [r.name for r in regions.current] == ["region 1", "region 2"]
    assert regions.active == Region("region 2", (2,))
    workspace.undo_stack.undo()
    workspace.undo_stack.undo()
    assert regions.active == Region("cup", (3,))
    regions.activate("region 1")
    regions.paint((9, 10_000))
    assert regions.find("region 1") == Region("region 1", (1, 9)), "a cell that does not exist"


def test_regions_belong_to_their_picture(workspace: Workspace, tmp_path: Path) -> None:
    workspace.regions.add((1, 2), "cup")
    baseline = workspace.run
    assert baseline is not None
    same = make_run(tmp_path / "same", intervention=Redistribution())
    other = make_run(tmp_path / "other", rows=6, seed=1)
    workspace.add_run(same)
    assert workspace.regions.find("cup") is not None, "another answer about the same picture"
    workspace.add_run(other)
    assert workspace.regions.current == () and workspace.regions.available
    workspace.regions.add((5,), "wall")
    workspace.look_at(baseline)
    assert workspace.regions.current == (Region("cup", (1, 2)),)
    saved = workspace.regions.to_save()
    assert saved == {
        picture_key(baseline): (Region("cup", (1, 2)),),
        picture_key(other): (Region("wall", (5,)),),
    }


def test_a_region_follows_its_picture_into_other_cells(
    workspace: Workspace, tmp_path: Path
) -> None:
    regions, fine = workspace.regions, workspace.run
    assert fine is not None and len(fine.layout.views[0].tokens) == 10
    # The upper left quarter: rows and columns 0 to 4 of 10 × 10, then of 5 × 5.
    quarter = {10 * row + col for row in range(5) for col in range(5)}
    regions.add(quarter, "corner")
    coarse = make_run(tmp_path / "coarse", rows=6, cols=4)
    workspace.add_run(coarse)
    expected = tuple(4 * row + col for row in range(3) for col in range(2))
    assert regions.current == (Region("corner", expected),) and regions.elsewhere == ()
    assert set(regions.to_save()) == {picture_key(fine)}, "what is carried over is not the user's"
    workspace.look_at(fine)
    regions.set_tokens("corner", range(100))
    workspace.look_at(coarse)
    assert regions.active == Region("corner", tuple(range(24))), "it follows until it is changed"
    regions.paint((0,), erase=True)
    workspace.look_at(fine)
    regions.remove("corner")
    workspace.look_at(coarse)
    assert regions.active == Region("corner", tuple(range(1, 24))), "from then on it is its own"
    assert set(regions.to_save()) == {picture_key(coarse)}


def test_a_region_of_another_picture_does_not_apply(workspace: Workspace, tmp_path: Path) -> None:
    method, first = workspace.method, workspace.run
    assert first is not None
    workspace.regions.add((1, 2), "cup")
    method.set_target("region")
    assert method.current.region == (1, 2)
    other = make_run(tmp_path / "other", seed=1)
    workspace.add_run(other)
    assert workspace.regions.elsewhere == ("cup",) and method.region_elsewhere
    assert method.current.target == "visual" and method.current.region == ()
    assert workspace.reading is not None and workspace.reading.settings.target == "visual"
    workspace.look_at(first)
    assert method.current.region == (1, 2) and not method.region_elsewhere
    # Control: a region that is gone from its own picture is another matter.
    workspace.regions.remove("cup")
    assert method.current.region == (1, 2) and not method.region_elsewhere


def test_painting_makes_the_session_unsaved(workspace: Workspace) -> None:
    workspace.modified = False
    workspace.selection.step_token(1)
    assert not workspace.modified
    workspace.regions.add((1,))
    assert workspace.modified
    workspace.undo_stack.undo()
    assert not workspace.modified, "it is what it was again"
    workspace.undo_stack.redo()
    assert workspace.modified
    workspace.modified = False  # saved with it: undoing it is a change now
    workspace.undo_stack.undo()
    assert workspace.modified


def test_undoing_a_region_leaves_a_run_that_is_not_saved(workspace: Workspace) -> None:
    workspace.modified = True
    workspace.regions.add((1,))
    workspace.undo_stack.undo()
    assert workspace.modified


# ----------------------------------------------------------------------------- in the window
@IGNORE_QT
def test_words_that_come_by_themselves_are_no_steps(demo: MainWindow, qtbot: QtBot) -> None:
    stack = demo.workspace.undo_stack
    before = stack.count()
    press(qtbot, demo.setup.run_button)
    wait_idle(qtbot, demo)
    run = demo.workspace.run
    assert run is not None and len(run.generated_positions) > 1
    assert stack.count() == before


@IGNORE_QT
def test_regions_and_cells_come_back_with_the_session(
    window: MainWindow, qtbot: QtBot, tmp_path: Path
) -> None:
    workspace = window.workspace
    workspace.add_run(make_run(tmp_path / "run"))
    workspace.regions.add((4, 5, 6), "cup")
    workspace.selection.select_cells({5, 7})
    settle(qtbot)
    assert window.isWindowModified()
    path = tmp_path / "a.vars"
    assert window.files.save_to(path)
    wait_saved(qtbot, window)
    assert not window.isWindowModified()
    workspace.regions.paint((9,))
    assert window.isWindowModified()
    window.undo()
    assert not window.isWindowModified()
    assert window.files.open(path)
    settle(qtbot)
    assert workspace.regions.current == (Region("cup", (4, 5, 6)),)
    assert workspace.selection.cells == {5, 7}
    assert not workspace.undo_stack.canUndo() and notices(window) == []


# ----------------------------------------------------------------------------------------- view
def test_a_view_of_another_version_is_restored_as_far_as_it_fits() -> None:
    view = ViewModel()
    view.set(colour_by="sink_mass", gamma=0.5, head_order="sorted", aggregate="max")
    kept = view.to_json()
    again = ViewModel()
    again.restore(kept | {"shown": "sideways", "gamma": "much", "tool": 3, "unheard": 1})
    assert again.current.colour_by == "sink_mass" and again.current.aggregate == "max"
    assert again.current.head_order == "sorted"
    assert (again.current.shown, again.current.gamma, again.current.tool) == (
        "before",
        1.0,
        "select",
    )


def test_undo_keeps_no_run_that_was_removed(
    workspace: Workspace, clock: Clock, tmp_path: Path, qtbot: QtBot
) -> None:
    other = make_run(tmp_path / "other", seed=4)
    workspace.add_run(other)
    workspace.look_at(other)
    for _ in range(4):
        clock.wait()
        workspace.selection.step_token(1)
        settle(qtbot)
    gone = weakref.ref(other)
    workspace.remove_run(other)
    settle(qtbot)
    del other
    gc.collect()
    assert gone() is None, "its rows would stay in memory for a thousand steps"
    assert workspace.undo_stack.canUndo()
    while workspace.undo_stack.canUndo():
        workspace.undo_stack.undo()
    settle(qtbot)
    assert workspace.run is workspace.runs[0] and workspace.reading is not None
