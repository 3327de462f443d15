"""Rows beside the one on screen are read ahead, and nothing of it outlives the window."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from tests.gui.fixtures import IGNORE_QT
from tests.synthetic import make_run
from var_studio.gui.main_window import MainWindow
from var_studio.gui.models.rows_ahead import RowsAhead
from var_studio.gui.models.workspace import Workspace
from var_studio.recording.failures import RecordingError
from var_studio.recording.recording import Recording
from var_studio.recording.settings import Redistribution

pytestmark = IGNORE_QT


@pytest.fixture
def run(tmp_path: Path) -> Recording:
    return make_run(tmp_path / "run", precision="float32")


def read(run: Recording) -> set[int]:
    return set(run._rows)


def test_neighbours_are_read_and_equal_what_is_on_disk(qtbot: QtBot, run: Recording) -> None:
    workspace = Workspace()
    ahead = RowsAhead(workspace)
    workspace.add_run(run)
    positions = workspace.selection.positions
    workspace.selection.select_token(positions[12])
    qtbot.waitUntil(lambda: read(run) >= {11, 12, 13, 14})
    qtbot.waitUntil(lambda: not ahead.busy)
    for query in (11, 13, 14):
        fresh = Recording.open(run.path).attention(query)
        np.testing.assert_array_equal(run._rows[query], fresh)
    # A step back: those before it come first, and one more of them.
    workspace.selection.step_token(-1)
    qtbot.waitUntil(lambda: read(run) >= {9, 10, 11, 12})
    assert 15 not in read(run)
    workspace.selection.select_token(positions[0])
    qtbot.waitUntil(lambda: read(run) >= {0, 1})
    ahead.end()
    before = read(run)
    workspace.selection.select_token(positions[20])
    qtbot.wait(80)
    assert read(run) - before == {20}, "after the end only what is looked at is read"


def test_the_same_words_of_the_other_run_are_read_while_both_are_compared(
    qtbot: QtBot, run: Recording, tmp_path: Path
) -> None:
    other = make_run(tmp_path / "other", name="var", intervention=Redistribution())
    workspace = Workspace()
    ahead = RowsAhead(workspace)
    workspace.add_run(run)
    workspace.add_run(other, look=False)
    assert (workspace.baseline, workspace.paired) == (run, other)
    positions = workspace.selection.positions
    workspace.selection.select_token(positions[12])
    qtbot.waitUntil(lambda: read(run) >= {11, 12, 13, 14})
    qtbot.waitUntil(lambda: not ahead.busy)
    assert read(other) == set(), "nobody looks at it"
    workspace.view.set(compare="run")
    qtbot.waitUntil(lambda: read(other) >= {11, 13, 14})
    qtbot.waitUntil(lambda: not ahead.busy)
    assert read(other) == {11, 13, 14}
    # From the second run's side the baseline is the other one.
    workspace.look_at(other, positions[20])
    qtbot.waitUntil(lambda: read(run) >= {19, 21, 22} and read(other) >= {19, 20, 21, 22})
    ahead.end()


def test_a_damaged_neighbour_is_no_problem_yet(
    qtbot: QtBot, run: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, asked = run._reader.row, []

    def damaged(query: int) -> np.ndarray:
        asked.append(query)
        if query != 12:
            raise RecordingError("The recording is damaged.", "Record it again.")
        return row(query)

    monkeypatch.setattr(run._reader, "row", damaged)
    workspace = Workspace()
    ahead = RowsAhead(workspace)
    told: list[object] = []
    workspace.problem.connect(told.append)
    workspace.add_run(run)
    told.clear()
    workspace.selection.select_token(workspace.selection.positions[12])
    qtbot.waitUntil(lambda: set(asked) >= {11, 12, 13, 14})
    qtbot.waitUntil(lambda: not ahead.busy)
    assert not told
    ahead.end()


def test_a_row_read_while_the_run_grew_is_not_kept(run: Recording) -> None:
    row = run._reader.row
    run._reader.row = lambda query: row(query)[..., :-1]  # type: ignore[method-assign]
    assert run.attention(3).shape[-1] == run.length - 1
    assert read(run) == set()


def test_the_window_ends_it(qtbot: QtBot, window: MainWindow, run: Recording) -> None:
    window.workspace.add_run(run)
    window.workspace.selection.step_token(1)
    qtbot.waitUntil(lambda: window.rows_ahead._thread is not None or len(read(run)) > 2)
    window.workspace.modified = False
    window.close()
    assert not window.rows_ahead.busy
    assert "rows ahead" not in {thread.name for thread in threading.enumerate()}
